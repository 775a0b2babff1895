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
mod objects;
mod options;
mod push;
mod record;
mod registry;
mod retention;
mod scan;
mod segment;
mod store;
mod tap;
mod template;
mod tokens;
mod volume;

pub use deletion::Deletion;
pub use maintain::Maintained;
pub use options::{Options, Rule};
pub use push::{Line, PushError, Pushed, RefusedLine, Stream};
pub use store::{Health, LogStore, StoreError};
pub use tap::LineTap;
pub use template::template;
pub use volume::Volume;
