//! Layers: a tar stream applied to a directory, and a directory turned into a tar stream.
//!
//! [`apply`] serves both ways of using layers: onto one directory, where a whiteout removes
//! ([`Whiteouts::Remove`]), and each layer into a directory of its own that becomes an overlay
//! lower directory, where a whiteout stays as the kernel's own marker ([`Whiteouts::Overlay`]).
//! [`diff`] goes back: from an overlay upper directory, or from two snapshots, to bytes that are
//! the same every time.

pub mod apply;
mod archive;
mod codec;
pub mod diff;
mod walk;

pub use apply::{Applied, Limits, Options, Whiteouts, apply};
pub use archive::{Kind, Member, Reader as ArchiveReader};
pub use codec::{Compression, Decoder, Encoder};
pub use diff::{Diffed, diff, diff_trees};

pub(crate) const WHITEOUT: &[u8] = b".wh.";
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
pub(crate) const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";
