//! What server and shim say to each other. Each conversation starts with one [`Request`].

use crate::record::Record;
use crate::spec::Process;
use serde::{Deserialize, Serialize};

/// First packet of a conversation. File descriptors travel with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Answered by [`Reply::Record`] once the container ended.
    Wait,
    /// Runs a process. Descriptors: standard input, output and error in this order, those that
    /// are named; with a terminal none. Answered by `Started` or `Refused`, then `Exited`. The
    /// process is killed when the conversation ends first.
    Exec {
        process: Box<Process>,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// Copies output to, and input from, the descriptors until the conversation ends.
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// Sends a signal to the first process, or to all. Answered by `Done` or `Refused`.
    Signal { signal: i32, all: bool },
    /// Sets the size of the container's own terminal.
    Resize { columns: u16, rows: u16 },
}

/// Answers of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The container's record.
    Record(Box<Record>),
    /// The process runs; with a terminal its master end travels along.
    Started { pid: i32 },
    /// The process ended.
    Exited { code: i32, signal: i32 },
    /// It was done.
    Done,
    /// It was not.
    Refused { program: bool, message: String },
}
