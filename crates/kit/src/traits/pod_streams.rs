//! Byte streams of running containers: logs, exec, attach. Implemented by `node`, used by
//! `apiserver`, which does authentication, authorization and the wire protocols.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Which container of which pod; the caller has made sure that the pod's spec has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// Name of the container (also init and ephemeral ones).
    pub container: String,
}

/// What to read of a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whose log.
    pub of: ContainerRef,
    /// Go on until the container ends.
    pub follow: bool,
    /// The instance before the present one.
    pub previous: bool,
    /// An RFC 3339 time before each line.
    pub timestamps: bool,
    /// Only lines at or after this time, in seconds since 1970.
    pub since: Option<u64>,
    /// Only this many last lines.
    pub tail_lines: Option<u64>,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// What to run in (or attach to) a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Where.
    pub of: ContainerRef,
    /// Program and arguments; empty to attach to the container's own process.
    pub command: Vec<String>,
    /// Whether a standard input is wanted.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted; never with `tty`.
    pub stderr: bool,
    /// Whether it runs on a terminal.
    pub tty: bool,
}

/// Which port of which pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// The port, on the pod's own loopback interface.
    pub port: u16,
}

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The ends of a running exec or attach. Dropping them hangs up: the program sees end of input
/// and, where it was started by exec, is killed.
pub struct ExecStreams {
    /// Standard input, where asked for; shut down for end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output, where asked for; with a terminal, all output.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Standard error, where asked for.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Takes new terminal sizes, where there is a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Exit code of the program (128 + n after signal n); of an attach, that of the container.
    pub exit: BoxFuture<'static, Result<i32, PodStreamError>>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum PodStreamError {
    /// No such container, or not (or no longer) in the state that is needed.
    #[error("{0}")]
    NotFound(String),
    /// The container is not running yet, or has no such log.
    #[error("{0}")]
    BadRequest(String),
    /// The runtime failed.
    #[error("{what}: {cause}")]
    Failed {
        /// Operation with its subject.
        what: String,
        /// Cause.
        cause: String,
    },
}

/// Streams of the containers on this machine.
#[async_trait]
pub trait PodStreams: Send + Sync {
    /// The log as bytes, whole lines.
    async fn log(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, PodStreamError>;
    /// Starts a program in a container, or attaches to its own.
    async fn exec(&self, request: ExecRequest) -> Result<ExecStreams, PodStreamError>;
    /// Connects to a port as a program inside the pod would.
    async fn connect(&self, request: PortRequest) -> Result<Box<dyn Duplex>, PodStreamError>;
}
