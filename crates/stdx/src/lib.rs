//! What every crate may need and no domain owns: clock and randomness as traits, ids, the
//! secret type, keyed hashes, texts kept once, paths that stay beneath a root, bounded reads, and the one place
//! that starts programs. Knows no domain word.

pub mod bounded;
pub mod clock;
pub mod id;
pub mod keyed;
pub mod process;
pub mod random;
pub mod root;
mod secret;
pub mod texts;

pub use clock::{Clock, SystemClock};
pub use id::base64_decode;
pub use random::{Random, SystemRandom};
pub use root::Root;
pub use secret::Secret;
