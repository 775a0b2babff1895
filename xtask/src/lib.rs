//! What the project's own tasks are made of; the benches use some of it too. It compiles with few
//! crates, since every task waits for it.

#![allow(unreachable_pub)] // used by two programs of this repository only

pub mod codegen;
pub mod conformance;
pub mod demo;
pub mod packages;
pub mod peers;
pub mod sizes;
pub mod soak;
pub mod step;
pub mod test;
pub mod tidy;
pub mod web;
