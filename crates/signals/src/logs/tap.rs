//! Who is told of every line that is taken.

use super::push::Stream;

/// Is told of lines, in the call that takes them.
pub trait LineTap: Send + Sync {
    /// Whether it can be told of more.
    ///
    /// # Errors
    /// Not now, and why: nothing is taken then.
    fn room(&self) -> Result<(), String>;

    /// These were taken.
    fn taken(&self, stream: &Stream);
}
