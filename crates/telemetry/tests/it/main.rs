//! Tests of the crate as its users see it.

mod containers;
mod node;
mod peer;
mod scraped;
mod textparse;
mod tree;
