//! Fetch and push: requests are streamed into git and its answer out of it, nothing is kept in
//! memory whole.

use super::Front;
use super::auth::{Right, not_found};
use super::body::Upload;
use crate::git::Group;
use crate::names::RepoName;
use crate::pktline::{self, MAX_BYTES};
use crate::protect::{self, Command as RefCommand, Verdict};
use crate::pushes::{USER, mail};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use towpath_kit::kinds::Repository;
use towpath_kit::traits::Principal;
use towpath_stdx::{SystemRandom, id};

const TRANSFER_LIMIT: Duration = Duration::from_secs(3600);
const COMMANDS_LIMIT: Duration = Duration::from_secs(60);
const RECORD_LIMIT: Duration = Duration::from_secs(10);
const WANTS_BYTES: u64 = 64 << 20;
const PACK_BYTES: u64 = 2 << 30;
const CHUNK_BYTES: usize = 256 << 10;
const PIPE_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    fn parse(query: Option<&str>) -> Option<Self> {
        let value = query?
            .split('&')
            .find_map(|pair| pair.strip_prefix("service="))?;
        match value {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }

    fn right(self) -> Right {
        match self {
            Self::UploadPack => Right::Read,
            Self::ReceivePack => Right::Write,
        }
    }

    fn media_type(self, form: &str) -> HeaderValue {
        let text = format!("application/x-git-{}-{form}", self.word());
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("text/plain"))
    }
}

fn failure(status: StatusCode, text: impl Into<String>) -> Response {
    (status, format!("{}\n", text.into())).into_response()
}

fn broken(what: &str, error: &io::Error) -> Response {
    tracing::warn!(%error, "{what}");
    failure(
        StatusCode::INTERNAL_SERVER_ERROR,
        "git could not be started; see the server's log",
    )
}

fn answer(media_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    headers.insert(
        header::EXPIRES,
        HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT"),
    );
    response
}

// The client's `Git-Protocol` header, if it is one: it becomes an environment variable.
fn protocol(headers: &HeaderMap) -> Option<&str> {
    let value = headers
        .get(HeaderName::from_static("git-protocol"))?
        .to_str()
        .ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":=._-".contains(&b);
    (value.len() <= 256 && value.bytes().all(plain)).then_some(value)
}

fn speak(command: &mut Command, service: Service, headers: &HeaderMap) {
    if let Some(protocol) = protocol(headers) {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.arg(service.word()).arg("--stateless-rpc");
}

/// `GET info/refs?service=…`
pub(super) async fn advertise(
    State(front): State<Arc<Front>>,
    Path((owner, file)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let name = RepoName::from_url(&owner, &file);
    let Some(service) = Service::parse(query.as_deref()) else {
        return failure(
            StatusCode::FORBIDDEN,
            "only git's smart HTTP protocol is served",
        );
    };
    if let Err(refusal) = front.admit(&headers, name.as_ref(), service.right()).await {
        return refusal;
    }
    let Some(name) = name else { return not_found() };
    let Some(dir) = front.repository(&name).await else {
        return not_found();
    };
    // git shows the words of this answer; those to the push itself it does not.
    if service == Service::ReceivePack
        && let Some(why) = crate::room::refusal(front.trees.git.root())
    {
        return failure(StatusCode::INSUFFICIENT_STORAGE, why);
    }
    let mut command = front.trees.git.command(&dir);
    speak(&mut command, service, &headers);
    command.arg("--http-backend-info-refs").arg(&dir);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return broken("git", &error),
    };
    // Protocol 2 starts without the service line (gitprotocol-http).
    let two = service == Service::UploadPack
        && protocol(&headers).is_some_and(|text| text.split(':').any(|part| part == "version=2"));
    let line = format!("# service=git-{}\n", service.word());
    let head = if two {
        String::new()
    } else {
        format!("{:04x}{line}0000", line.len() + 4)
    };
    let body = stream_out(child, Bytes::from(head), None);
    answer(service.media_type("advertisement"), body)
}

fn is_request_of(service: Service, headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE) == Some(&service.media_type("request"))
}

/// `POST git-upload-pack`
pub(super) async fn fetch(
    State(front): State<Arc<Front>>,
    Path((owner, file)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let service = Service::UploadPack;
    let name = RepoName::from_url(&owner, &file);
    if let Err(refusal) = front.admit(&headers, name.as_ref(), service.right()).await {
        return refusal;
    }
    let Some(name) = name else { return not_found() };
    let Some(dir) = front.repository(&name).await else {
        return not_found();
    };
    if !is_request_of(service, &headers) {
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not a request of git");
    }
    let Some(mut upload) = Upload::new(body, &headers, WANTS_BYTES) else {
        return failure(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown content encoding",
        );
    };
    let Ok(permit) = front.transfers.clone().acquire_owned().await else {
        return not_found();
    };
    let mut command = front.trees.git.command(&dir);
    speak(&mut command, service, &headers);
    command.arg(&dir).stdin(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return broken("git", &error),
    };
    let stdin = child.stdin.take();
    towpath_daemon::spawn("git fetch request", async move {
        if let Err(error) = pour(&mut upload, stdin).await {
            tracing::debug!(%error, "fetch request");
        }
    });
    answer(
        service.media_type("result"),
        stream_out(child, Bytes::new(), Some(permit)),
    )
}

async fn pour(upload: &mut Upload, stdin: Option<ChildStdin>) -> io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    while let Some(chunk) = upload.next().await? {
        stdin.write_all(&chunk).await?;
    }
    stdin.shutdown().await
}

// A child's standard output as a body. The child's process group ends with the body: a client
// that hangs up stops the work done for it.
fn stream_out(mut child: Child, head: Bytes, permit: Option<OwnedSemaphorePermit>) -> Body {
    let stdout = child.stdout.take();
    if let Some(stdout) = &stdout {
        // A larger pipe means fewer wake-ups per pack; refused where the user's quota is used up.
        let _ = rustix::pipe::fcntl_setpipe_size(stdout, PIPE_BYTES);
    }
    let stderr = child.stderr.take();
    towpath_daemon::spawn("git words", async move {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(16 << 10).read_to_end(&mut words).await;
        }
        if !words.is_empty() {
            tracing::debug!(words = %String::from_utf8_lossy(&words).trim(), "git");
        }
    });
    struct Flow {
        head: Option<Bytes>,
        stdout: Option<ChildStdout>,
        buffer: BytesMut,
        group: Group,
        until: tokio::time::Instant,
        _permit: Option<OwnedSemaphorePermit>,
    }
    let flow = Flow {
        head: Some(head).filter(|head| !head.is_empty()),
        stdout,
        buffer: BytesMut::new(),
        group: Group::new(child),
        until: tokio::time::Instant::now() + TRANSFER_LIMIT,
        _permit: permit,
    };
    let stream = futures::stream::unfold(flow, |mut flow| async move {
        if let Some(head) = flow.head.take() {
            return Some((Ok(head), flow));
        }
        let mut stdout = flow.stdout.take()?;
        flow.buffer.reserve(CHUNK_BYTES);
        let read = stdout.read_buf(&mut flow.buffer);
        match tokio::time::timeout_at(flow.until, read).await {
            Ok(Ok(0)) => {
                let status = flow.group.child().wait().await;
                match status {
                    Ok(status) if status.success() => None,
                    // The body ends in an error, so that the client does not take it for whole.
                    other => Some((
                        Err(io::Error::other(format!("git ended with {other:?}"))),
                        flow,
                    )),
                }
            }
            Ok(Ok(_)) => {
                flow.stdout = Some(stdout);
                Some((Ok(flow.buffer.split().freeze()), flow))
            }
            Ok(Err(error)) => Some((Err(error), flow)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), flow)),
        }
    });
    Body::from_stream(stream)
}

/// `POST git-receive-pack`
pub(super) async fn push(
    State(front): State<Arc<Front>>,
    Path((owner, file)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let service = Service::ReceivePack;
    let name = RepoName::from_url(&owner, &file);
    let principal = match front.admit(&headers, name.as_ref(), service.right()).await {
        Ok(principal) => principal,
        Err(refusal) => return refusal,
    };
    let Some(name) = name else { return not_found() };
    let Some(dir) = front.repository(&name).await else {
        return not_found();
    };
    if let Some(why) = crate::room::refusal(front.trees.git.root()) {
        return failure(StatusCode::INSUFFICIENT_STORAGE, why);
    }
    if !is_request_of(service, &headers) {
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not a request of git");
    }
    let Some(mut upload) = Upload::new(body, &headers, PACK_BYTES) else {
        return failure(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown content encoding",
        );
    };
    let (head, commands) = match tokio::time::timeout(COMMANDS_LIMIT, commands(&mut upload)).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return failure(StatusCode::BAD_REQUEST, error.to_string()),
        Err(_) => {
            return failure(
                StatusCode::REQUEST_TIMEOUT,
                "the ref updates did not arrive",
            );
        }
    };
    let verdicts = match decide(&front, &name, &principal, &commands).await {
        Ok(verdicts) => verdicts,
        Err(refusal) => return refusal,
    };
    let Ok(permit) = front.transfers.clone().acquire_owned().await else {
        return not_found();
    };
    let git = &front.trees.git;
    let mut command = match &verdicts {
        None => git.command(&dir),
        Some(file) => {
            let mut command = git.with_hooks(&dir, &git.guard_hooks());
            command.env("TOWPATH_VERDICTS", &file.0);
            command
        }
    };
    command
        .env("GIT_COMMITTER_NAME", &principal.name)
        .env("GIT_COMMITTER_EMAIL", mail(&principal.name, USER));
    speak(&mut command, service, &headers);
    command.arg(&dir).stdin(Stdio::piped());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return broken("git", &error),
    };
    let (send, receive) = mpsc::channel(4);
    let push = Push {
        front: front.clone(),
        name,
        child,
        head,
        verdicts,
        _permit: permit,
    };
    towpath_daemon::spawn("git push", push.run(upload, send));
    let stream = futures::stream::unfold(receive, |mut receive| async move {
        let chunk: io::Result<Bytes> = receive.recv().await?;
        Some((chunk, receive))
    });
    answer(service.media_type("result"), Body::from_stream(stream))
}

// The bytes up to somewhere behind the command list, and the list.
async fn commands(upload: &mut Upload) -> io::Result<(Bytes, Vec<RefCommand>)> {
    let mut head = BytesMut::new();
    loop {
        if let Some(found) = pktline::commands(&head).map_err(io::Error::other)? {
            return Ok((head.freeze(), found));
        }
        let chunk = upload.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        // The parser refuses lists over its bound, so at most one chunk more is held.
        debug_assert!(head.len() <= MAX_BYTES);
        head.extend_from_slice(&chunk);
    }
}

/// Verdicts for the update hook; the file ends with the push.
struct VerdictFile(PathBuf);

impl Drop for VerdictFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// `None` where everything is allowed whatever the objects are: no hook runs then.
async fn decide(
    front: &Front,
    name: &RepoName,
    principal: &Principal,
    commands: &[RefCommand],
) -> Result<Option<VerdictFile>, Response> {
    let api = kube::Api::<Repository>::namespaced(front.recorder.client.clone(), name.owner());
    let rules = match api.get_opt(name.name()).await {
        Ok(Some(object)) => object.spec.protected,
        Ok(None) => return Err(not_found()),
        Err(error) => {
            tracing::warn!(%error, repository = %name, "rules not read");
            let text = "the repository's rules cannot be read now; nothing was changed, try again";
            return Err(failure(StatusCode::SERVICE_UNAVAILABLE, text));
        }
    };
    let mut text = String::new();
    let mut restricted = false;
    for command in commands {
        let (word, message) = match protect::decide(command, &rules, &principal.name) {
            Verdict::Allow => ("allow", String::new()),
            Verdict::Forward(message) => ("forward", message),
            Verdict::Deny(message) => ("deny", message),
        };
        restricted |= word != "allow";
        // A name with a control character would break the lines; without a line the hook says no.
        if !command.ref_name.contains(char::is_control) {
            text.push_str(&format!("{word}\t{}\t{message}\n", command.ref_name));
        }
    }
    if !restricted {
        return Ok(None);
    }
    let path = front
        .trees
        .git
        .scratch()
        .join(format!("verdicts-{}", id::uuid(&SystemRandom)));
    let file = VerdictFile(path);
    std::fs::write(&file.0, text).map_err(|error| broken("write verdicts", &error))?;
    Ok(Some(file))
}

/// One push under way. It is not ended by a client that hangs up: without the rest of the pack
/// git gives up by itself, and once it has all of it, it should not be stopped half-way.
struct Push {
    front: Arc<Front>,
    name: RepoName,
    child: Child,
    head: Bytes,
    verdicts: Option<VerdictFile>,
    _permit: OwnedSemaphorePermit,
}

impl Push {
    async fn run(mut self, mut upload: Upload, send: mpsc::Sender<io::Result<Bytes>>) {
        let (stdin, stdout) = (self.child.stdin.take(), self.child.stdout.take());
        let stderr = self.child.stderr.take();
        let mut group = Group::new(self.child);
        let head = std::mem::take(&mut self.head);
        let request = async {
            let Some(mut stdin) = stdin else { return };
            let fed = async {
                stdin.write_all(&head).await?;
                while let Some(chunk) = upload.next().await? {
                    stdin.write_all(&chunk).await?;
                }
                stdin.shutdown().await
            };
            if let Err(error) = fed.await {
                // Closing standard input here makes git give up on the unfinished pack.
                tracing::debug!(%error, "push request");
            }
        };
        // The last chunk waits until the push is recorded: what is acknowledged has its run.
        let mut last: Option<Bytes> = None;
        let result = async {
            let Some(mut stdout) = stdout else {
                return Ok(());
            };
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(64 << 10);
                if stdout.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
                if let Some(chunk) = last.replace(buffer.split().freeze()) {
                    // A client that is gone does not stop the reading: git must not die of it.
                    let _ = send.send(Ok(chunk)).await;
                }
            }
        };
        let words = async {
            let mut words = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(16 << 10).read_to_end(&mut words).await;
            }
            words
        };
        let work = async { tokio::join!(request, result, words) };
        let ended: io::Result<()> = match tokio::time::timeout(TRANSFER_LIMIT, work).await {
            Ok(((), result, words)) => {
                if !words.is_empty() {
                    tracing::debug!(words = %String::from_utf8_lossy(&words).trim(), "git push");
                }
                result
            }
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if ended.is_ok() {
            let _ = group.child().wait().await;
        }
        drop((group, self.verdicts));
        record(&self.front, &self.name).await;
        if let Some(chunk) = last {
            let _ = send.send(Ok(chunk)).await;
        }
        if let Err(error) = ended {
            let _ = send.send(Err(error)).await;
        }
    }
}

async fn record(front: &Front, name: &RepoName) {
    let recording = front.recorder.reconcile(name);
    match tokio::time::timeout(RECORD_LIMIT, recording).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(repository = %name, error = error.chain(), "push not recorded yet");
            front.queue.add(name.key());
        }
        Err(_) => front.queue.add(name.key()),
    }
}
