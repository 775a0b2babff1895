//! From a symptom to the change behind it: what the objects themselves say ([`analyze`]), which
//! change explains it ([`causes`]), and what to look at next ([`Step`]).
//!
//! Decisions only, over a snapshot; the same snapshot gives the same answer. Every cause carries
//! the evidence it rests on and what speaks against it, and where nothing explains a symptom
//! nothing is blamed.

mod analyze;
mod book;
pub mod case;
mod cause;
mod desk;
mod finding;
mod hearing;
mod judge;
mod look;
mod measure;
mod news;
mod present;
mod proof;
mod routes;
mod score;
mod shelf;
mod spans;
mod subject;
mod why;

pub use analyze::{Snapshot, analyze};
pub(crate) use analyze::{mounts, workload};
pub use case::Case;
pub use cause::{Cause, Culprit, Symptom, SymptomKind, causes};
pub use desk::{Settings, service};
pub use finding::{Finding, Kind, Step};
pub use hearing::{Circumstances, Hearing, Inbox, hearing};
pub use look::Looked;
pub use measure::{Felt, Figures, Measured, Wanted};
pub use news::Lines;
pub use proof::{Evidence, Proof};
pub use routes::router;
pub use shelf::Shelf;
pub use spans::Spans;
pub use why::{Explanation, Question, Why};
