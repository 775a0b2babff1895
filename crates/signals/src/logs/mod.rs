//! Durable log lines.
//!
//! Lines of a stream gather in the head, are packed into blocks by columns, and blocks of all
//! streams are written together as immutable segments. Until then the log on the disk has them.
//! A segment knows the times, the stream and the words of each block, so that a query opens few.

mod block;
mod bloom;
mod column;
mod deletion;
mod head;
mod maintain;
mod record;
mod registry;
mod scan;
mod segment;
mod store;
mod template;
mod tokens;

pub use deletion::Deletion;
pub use maintain::Maintained;
pub use store::{
    Health, Line, LogStore, Options, PushError, Pushed, RefusedLine, StoreError, Stream, Volume,
};
pub use template::template;
