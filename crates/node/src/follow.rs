//! Reading a container's log across its rotated files, optionally on to its end.
//!
//! New lines are waited for by the kernel's word that the directory changed, never by looking
//! again.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use towpath_container::log::{self, LINE_BYTES};

/// Completes when the container has ended and its log is whole.
pub(crate) type Ended = BoxFuture<'static, ()>;

/// What to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    /// RFC 3339 with whole seconds.
    pub(crate) since: Option<String>,
    pub(crate) tail_lines: Option<u64>,
    pub(crate) limit_bytes: Option<u64>,
}

const CHUNK_BYTES: usize = 64 << 10;

/// The log as a stream of whole lines.
pub(crate) fn read(
    path: PathBuf,
    options: Options,
    ended: Ended,
) -> BoxStream<'static, io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(16);
    towpath_daemon::spawn("read log", async move {
        if let Err(error) = run(path, options, ended, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

struct Writer<'a> {
    options: &'a Options,
    left: u64,
    out: Vec<u8>,
    starts: bool,
}

impl Writer<'_> {
    // Takes one line of the file. False once the limit is reached.
    fn line(&mut self, raw: &[u8]) -> bool {
        let Some(line) = log::parse_line(raw) else {
            return true;
        };
        if self
            .options
            .since
            .as_deref()
            .is_some_and(|since| line.time[..19] < since[..19])
        {
            return true;
        }
        if self.options.timestamps && self.starts {
            self.out.extend_from_slice(line.time.as_bytes());
            self.out.push(b' ');
        }
        self.out.extend_from_slice(line.text);
        if line.full {
            self.out.push(b'\n');
        }
        self.starts = line.full;
        if self.out.len() as u64 >= self.left {
            self.out.truncate(self.left as usize);
            return false;
        }
        true
    }

    fn take(&mut self) -> Bytes {
        self.left -= self.out.len() as u64;
        Bytes::from(std::mem::take(&mut self.out))
    }
}

async fn run(
    path: PathBuf,
    options: Options,
    ended: Ended,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let watch = if options.follow {
        Some(Watch::on(&path)?)
    } else {
        None
    };
    let mut ended = ended;
    let mut over = !options.follow;
    let mut writer = Writer {
        options: &options,
        left: options.limit_bytes.unwrap_or(u64::MAX),
        out: Vec::new(),
        starts: true,
    };
    // Older files first; their numbers only rise, so "newer than the last one read" is exact.
    let mut last_number = 0;
    let mut older = log::rotated(&path);
    let mut current = Reader::open(&path)?;
    if let Some(lines) = options.tail_lines {
        let (skipped, reader) = tail(&older, &path, lines)?;
        older.drain(..skipped);
        match reader {
            Tail::Older(reader) => {
                if let Some((number, _)) = older.first().cloned() {
                    older.remove(0);
                    last_number = number;
                }
                if !drain(reader, &mut writer, sender).await? {
                    return Ok(());
                }
            }
            Tail::Current(reader) => current = Some(reader),
        }
    }
    loop {
        for (number, file) in older.drain(..) {
            last_number = number;
            if let Some(reader) = Reader::open(&file)?
                && !drain(reader, &mut writer, sender).await?
            {
                return Ok(());
            }
        }
        let Some(reader) = current.as_mut() else {
            return Ok(());
        };
        loop {
            if !drain_some(reader, &mut writer, sender).await? {
                return Ok(());
            }
            // Renamed since it was opened: what came after is in newer files.
            if reader.is_not(&path) {
                if !drain_some(reader, &mut writer, sender).await? {
                    return Ok(());
                }
                break;
            }
            if over {
                return Ok(());
            }
            let Some(watch) = &watch else { return Ok(()) };
            tokio::select! {
                () = &mut ended => over = true,
                changed = watch.changed() => changed?,
                () = sender.closed() => return Ok(()),
            }
        }
        // The file just finished is now the one numbered next; read what lies between.
        let own = last_number.max(reader.number_in(&path));
        last_number = own;
        older = log::rotated(&path)
            .into_iter()
            .filter(|(number, _)| *number > own)
            .collect();
        current = Reader::open(&path)?;
    }
}

async fn drain(
    mut reader: Reader,
    writer: &mut Writer<'_>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<bool> {
    drain_some(&mut reader, writer, sender).await
}

// Sends all whole lines there are now. False where the reader is gone or the limit reached.
async fn drain_some(
    reader: &mut Reader,
    writer: &mut Writer<'_>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<bool> {
    loop {
        let more = reader.next()?;
        let good = more.as_deref().is_none_or(|line| writer.line(line));
        let full = writer.out.len() >= CHUNK_BYTES;
        if (full || more.is_none() || !good) && !writer.out.is_empty() {
            let bytes = writer.take();
            if sender.send(Ok(bytes)).await.is_err() {
                return Ok(false);
            }
        }
        if !good {
            return Ok(false);
        }
        if more.is_none() {
            return Ok(true);
        }
    }
}

struct Reader {
    file: BufReader<File>,
    inode: u64,
    pending: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::MetadataExt;
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Self {
                    file: BufReader::new(file),
                    inode,
                    pending: Vec::new(),
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    // The next whole line without its newline; the shim writes whole lines, but a read may come
    // between two of its writes.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let limit = (LINE_BYTES + 256) as u64;
        (&mut self.file)
            .take(limit)
            .read_until(b'\n', &mut self.pending)?;
        if self.pending.last() == Some(&b'\n') {
            self.pending.pop();
            return Ok(Some(std::mem::take(&mut self.pending)));
        }
        if self.pending.len() as u64 >= limit {
            self.pending.clear();
        }
        Ok(None)
    }

    fn is_not(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).is_ok_and(|stat| stat.ino() != self.inode)
    }

    // The number this file has been renamed to; 0 where it is gone.
    fn number_in(&self, path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let same = |file: &Path| std::fs::metadata(file).is_ok_and(|stat| stat.ino() == self.inode);
        log::rotated(path)
            .into_iter()
            .find(|(_, file)| same(file))
            .map_or(0, |(number, _)| number)
    }
}

enum Tail {
    Older(Reader),
    Current(Reader),
}

// A reader placed so that `lines` lines are left to the end of the log, and how many older files
// lie wholly before it.
fn tail(older: &[(u64, PathBuf)], path: &Path, lines: u64) -> io::Result<(usize, Tail)> {
    let mut wanted = lines;
    let files: Vec<&Path> = older
        .iter()
        .map(|(_, file)| file.as_path())
        .chain([path])
        .collect();
    for (index, file) in files.iter().enumerate().rev() {
        let Some(mut reader) = Reader::open(file)? else {
            continue;
        };
        let (starts, found) = line_starts(&mut reader, wanted)?;
        let last = index == files.len() - 1;
        if found >= wanted || index == 0 {
            reader.file.seek(SeekFrom::Start(starts))?;
            reader.pending.clear();
            let placed = if last {
                Tail::Current(reader)
            } else {
                Tail::Older(reader)
            };
            return Ok((index, placed));
        }
        wanted -= found;
    }
    Err(io::ErrorKind::NotFound.into())
}

// Where the last `wanted` full lines of a file begin, and how many there are up to `wanted`.
fn line_starts(reader: &mut Reader, wanted: u64) -> io::Result<(u64, u64)> {
    let mut starts = VecDeque::new();
    let (mut offset, mut begins) = (0u64, true);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.file.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            break;
        }
        if begins {
            starts.push_back(offset);
            if starts.len() as u64 > wanted {
                starts.pop_front();
            }
        }
        offset += length;
        begins = log::parse_line(line.strip_suffix(b"\n").unwrap_or(&line))
            .is_none_or(|parsed| parsed.full);
    }
    Ok((
        starts.front().copied().unwrap_or(offset),
        starts.len() as u64,
    ))
}

// Word of changes in the log's directory.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn on(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM;
        inotify.add_watch(path.parent().unwrap_or(Path::new("/")), flags)?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and not closed before it.
        Ok(Self(unsafe { AsyncFd::register(OwnedFd::from(inotify)) }?))
    }

    async fn changed(&self) -> io::Result<()> {
        let mut buffer = [0u8; 4096];
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.as_fd(), &mut buffer)?));
            if let Ok(result) = read {
                return result.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::io::Write;

    fn lines(from: u32, to: u32) -> String {
        (from..to)
            .map(|n| format!("2026-01-02T03:04:{n:02}.000000000Z stdout F line{n}\n"))
            .collect()
    }

    async fn text(path: &Path, options: Options) -> String {
        let stream = read(path.into(), options, Box::pin(async {}));
        let parts: Vec<_> = stream
            .map(|part| part.expect("read").to_vec())
            .collect()
            .await;
        String::from_utf8(parts.concat()).expect("text")
    }

    #[tokio::test]
    async fn tails_limits_and_times_across_rotated_files() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("0.log");
        std::fs::write(dir.path().join("0.log.7"), lines(0, 5)).expect("write");
        std::fs::write(&path, lines(5, 8)).expect("write");
        let options = Options::default;
        assert_eq!(text(&path, options()).await.lines().count(), 8);
        for (tail, first) in [(1, "line7"), (3, "line5"), (4, "line4"), (99, "line0")] {
            let got = text(
                &path,
                Options {
                    tail_lines: Some(tail),
                    ..options()
                },
            )
            .await;
            assert_eq!(
                (got.lines().next(), got.lines().count()),
                (Some(first), tail.min(8) as usize)
            );
        }
        assert_eq!(
            text(
                &path,
                Options {
                    tail_lines: Some(0),
                    ..options()
                }
            )
            .await,
            ""
        );
        assert_eq!(
            text(
                &path,
                Options {
                    since: Some("2026-01-02T03:04:06Z".into()),
                    ..options()
                }
            )
            .await,
            "line6\nline7\n"
        );
        assert_eq!(
            text(
                &path,
                Options {
                    limit_bytes: Some(8),
                    ..options()
                }
            )
            .await,
            "line0\nli"
        );
        let stamped = text(
            &path,
            Options {
                timestamps: true,
                tail_lines: Some(1),
                ..options()
            },
        )
        .await;
        assert_eq!(stamped, "2026-01-02T03:04:07.000000000Z line7\n");
    }

    #[tokio::test]
    async fn following_sees_new_lines_through_rotation_to_the_end() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, lines(0, 2)).expect("write");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let mut stream = read(
            path.clone(),
            options,
            Box::pin(async move { drop(ended.await) }),
        );
        assert_eq!(
            stream.next().await.expect("part").expect("read"),
            "line0\nline1\n"
        );
        let append = |text: String| {
            std::fs::File::options()
                .append(true)
                .create(true)
                .open(&path)
                .expect("open")
                .write_all(text.as_bytes())
                .expect("write")
        };
        append(lines(2, 3));
        assert_eq!(stream.next().await.expect("part").expect("read"), "line2\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).expect("rename");
        append(lines(3, 4));
        assert_eq!(stream.next().await.expect("part").expect("read"), "line3\n");
        append(lines(4, 5));
        end.send(()).expect("end");
        let rest: Vec<_> = stream
            .map(|part| part.expect("read").to_vec())
            .collect()
            .await;
        assert_eq!(rest.concat(), b"line4\n");
    }
}
