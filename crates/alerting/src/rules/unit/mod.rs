//! Tests of rules in promtool's files: samples go in, alerts and results are compared.

mod file;
mod run;

pub use run::{Files, run};
