//! Query languages: parse, check, evaluate. Pure: values in, values and findings out.
//!
//! [`promql`] is the query language of Prometheus, [`logql`] that of Loki, [`traceql`] that of
//! Tempo. [`cel`] is the Common Expression Language with the libraries, the types and the budgets of
//! the Kubernetes API server; [`template`] are the text templates of Go. [`quantity`], [`calendar`],
//! [`go_duration`] and [`go_regex`] are the small grammars that they share with each other and with
//! the API's kinds.

#![warn(missing_docs)]

pub mod calendar;
pub mod cel;
pub mod go_duration;
pub mod go_regex;
pub mod logql;
pub mod promql;
pub mod quantity;
pub mod template;
pub mod traceql;
