//! Messages of remote write and remote read, written; and of remote read, read.

pub(crate) mod histogram;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod write;
