//! Layers against real directories and a real overlay. Needs root for owners, devices and
//! trusted attributes.

mod layers;
