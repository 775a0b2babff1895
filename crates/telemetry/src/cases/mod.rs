//! From a symptom to the change behind it: what the objects themselves say ([`analyze`]), which
//! change explains it ([`causes`]), and what to look at next ([`Step`]).
//!
//! Decisions only, over a snapshot; the same snapshot gives the same answer. Every cause carries
//! the evidence it rests on and what speaks against it, and where nothing explains a symptom
//! nothing is blamed.

mod analyze;
mod cause;
mod finding;
mod routes;
mod score;
mod why;

pub use analyze::{Snapshot, analyze};
pub use cause::{Cause, Culprit, Symptom, SymptomKind, causes};
pub use finding::{Finding, Kind, Step};
pub use routes::router;
pub use why::{Explanation, Looked, Why};
