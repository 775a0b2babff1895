//! Kubernetes' protobuf form of objects: bytes to the same object as JSON, and JSON to bytes.
//!
//! Field numbers and types come from a table made from the Go types ([`table`]). An object on the
//! wire is `k8s\0`, then an envelope (`runtime.Unknown`) that names version and kind and holds the
//! message. Both directions walk the table beside the data; nothing is known about any one kind.
//!
//! Zeros: a field that is not a pointer cannot be told from an absent one. [`decode`] leaves it
//! out when it is zero, as its JSON form would mostly have done; [`encode`] writes what the JSON
//! has, so that a zero that was there arrives.

mod decode;
mod encode;
mod fields;
mod table;
pub(crate) mod write;

pub use decode::{decode, decode_as, decode_watch_event};
pub use encode::{
    ENVELOPE_END, Writer, encode, encode_as, envelope, knows, list_head, watch_event,
};

use table::table;
use write::BYTES;

/// Media type of this form.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// First bytes of every object.
const MAGIC: &[u8] = b"k8s\0";
/// Levels of messages within messages, either way.
const DEPTH: usize = 100;

/// Why bytes cannot be read, or an object cannot be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The first bytes are not those of this form.
    #[error("not a Kubernetes protobuf message")]
    Envelope,
    /// The table has no such kind.
    #[error("no protobuf form is known for {0}")]
    Kind(String),
    /// Lengths, types or texts that cannot be.
    #[error("malformed protobuf in {0}")]
    Malformed(String),
    /// Too many levels.
    #[error("nested deeper than {DEPTH} levels")]
    Depth,
    /// JSON that does not fit the table.
    #[error("object without a protobuf form: {0}")]
    Json(String),
}
