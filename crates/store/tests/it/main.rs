//! The object store against a model, against kills, damage, and a full disk.

mod damage;
mod fault;
mod full;
mod kill;
mod model;
mod support;
