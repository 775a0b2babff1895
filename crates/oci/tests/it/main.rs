//! Layers against real directories and a real overlay. Needs root for owners, devices and
//! trusted attributes.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod layers;
