//! The reconcile kit: what every feature crate needs to watch objects and act on them.
//!
//! * [`kinds`]: our own kinds, the spine that feature crates meet in.
//! * [`traits`]: what one feature offers another, handed in by the composition root.
//! * [`client`]: a `kube::Client` without a socket (embedded) or over HTTPS (any cluster).
//! * [`cache`]: one shared, watch-fed copy per kind; [`slim`]: what is left out of some;
//!   [`copies`]: those that several components look at.
//! * [`queue`], [`controller`]: keyed work with back-off; level-triggered reconcilers.
//! * [`events`]: Kubernetes events, folded.
//! * [`anyone`]: TLS without asking who answers, for probes; [`listen`]: plain HTTP on a socket.
//!
//! Nothing here knows any one feature. Nothing here may lean on in-process luxuries: no
//! transaction over objects, no read behind the API, no assumption of zero watch delay.

pub mod anyone;
pub mod cache;
pub mod client;
pub mod controller;
pub mod copies;
pub mod events;
pub mod kinds;
pub mod listen;
pub mod queue;
pub mod slim;
pub mod traits;
