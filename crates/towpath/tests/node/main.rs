//! The node agent against a real API server, a real pod network and the kernel. Needs root.

mod cluster;
mod images;
mod life;
mod restart;
mod volumes;
