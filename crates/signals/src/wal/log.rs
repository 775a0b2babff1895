//! Writing the log: a bounded buffer and a thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::frame::{MAX_RECORD, frame};
use super::{MAGIC, numbers, path};

/// A group is synced when this much has gathered, in bytes.
const GROUP: usize = 1 << 20;
/// Or when its first record is this old.
const AGE: Duration = Duration::from_millis(50);
/// The most that may wait to be written, in bytes.
const QUEUE: usize = 16 << 20;
/// How long an append waits for room in the buffer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Buffers that are empty keep no more than this, in bytes: a quiet log takes no memory.
const KEPT: usize = 128 << 10;
/// A file is closed when it is this long, in bytes. A replay holds one as a whole.
const FILE: u64 = 8 << 20;
/// How often a full disk is tried again. Nothing tells when room is made.
const AGAIN: Duration = Duration::from_secs(1);

/// One file of the log that is written.
pub(crate) trait Sink: Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts what was written behind `length`.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// Makes files of the log. Tests have one that fails where they say.
pub(crate) trait Files: Send + Sync {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;
}

/// The disk itself.
pub(crate) struct Disk;

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        use std::io::Seek;
        self.set_len(length)?;
        self.seek(io::SeekFrom::Start(length)).map(drop)
    }
}

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(MAGIC)?;
        file.sync_all()?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Box::new(file))
    }
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// A sync has failed, or the log is closed: never again.
    Failed(Arc<str>),
    /// There is no room on the disk, or the disk does not keep up; later perhaps.
    Full(Arc<str>),
}

#[derive(Default)]
struct Queue {
    pending: Vec<u8>,
    since: Option<Instant>,
    /// Bytes taken since the start.
    taken: u64,
    /// Somebody waits for a sync.
    hurry: bool,
    rotate: bool,
    stop: bool,
    full: Option<Arc<str>>,
    failed: Option<Arc<str>>,
    /// The file that is written.
    number: u64,
    rotations: u64,
}

/// How far the log is durable.
#[derive(Clone, Debug, Default)]
struct Progress {
    durable: u64,
    failed: Option<Arc<str>>,
    full: Option<Arc<str>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Tells the thread that there is work.
    work: Condvar,
    /// Tells who waits for room or for a rotation.
    done: Condvar,
    progress: watch::Sender<Progress>,
}

/// A log that is written.
pub(crate) struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Begins a new file behind those in the directory, none below `least`. On a full disk it opens
    /// and takes nothing until there is room.
    pub(crate) fn open(dir: &Path, least: u64, files: Arc<dyn Files>) -> io::Result<Self> {
        let number = numbers(dir)?.last().map_or(1, |last| last + 1).max(least);
        let (sink, full) = match files.create(&path(dir, number)) {
            Ok(sink) => (Some(sink), None),
            Err(why) if is_full(&why) => {
                // A file half made would be in the way of the next try.
                let _ = std::fs::remove_file(path(dir, number));
                (None, Some(full_disk(&why)))
            }
            Err(why) => return Err(why),
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                number,
                full,
                ..Queue::default()
            }),
            work: Condvar::new(),
            done: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            dir: dir.to_path_buf(),
            files,
            number: number - u64::from(sink.is_none()),
            sink,
            length: MAGIC.len() as u64,
            buffer: Vec::new(),
            durable: 0,
        };
        let thread = std::thread::Builder::new()
            .name("signals-log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes a record; it is durable some time later. Waits a moment if the buffer is full.
    pub(crate) fn push(&self, record: &[u8]) -> Result<(), NotTaken> {
        if record.len() > MAX_RECORD {
            return Err(NotTaken::Full(Arc::from("record is too long for the log")));
        }
        let mut queue = self.shared.queue.lock();
        let deadline = clock() + PATIENCE;
        loop {
            check(&queue)?;
            if queue.pending.is_empty() || queue.pending.len() + record.len() <= QUEUE {
                break;
            }
            if self
                .shared
                .done
                .wait_until(&mut queue, deadline)
                .timed_out()
            {
                check(&queue)?;
                return Err(NotTaken::Full(Arc::from(
                    "the disk does not keep up with the log",
                )));
            }
        }
        let before = queue.pending.len();
        frame(&mut queue.pending, record);
        queue.taken += (queue.pending.len() - before) as u64;
        let first = queue.since.is_none();
        if first {
            queue.since = Some(clock());
        }
        let wake = first || (before < GROUP && queue.pending.len() >= GROUP);
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// Why nothing is taken now, if so.
    pub(crate) fn state(&self) -> Result<(), NotTaken> {
        check(&self.shared.queue.lock())
    }

    /// How many bytes were taken since the start.
    pub(crate) fn taken(&self) -> u64 {
        self.shared.queue.lock().taken
    }

    /// Waits until all that was taken before is durable.
    pub(crate) async fn sync(&self) -> Result<(), NotTaken> {
        let wanted = {
            let mut queue = self.shared.queue.lock();
            queue.hurry = true;
            queue.taken
        };
        self.shared.work.notify_one();
        let mut progress = self.shared.progress.subscribe();
        let reached = progress
            .wait_for(|now| now.durable >= wanted || now.failed.is_some() || now.full.is_some())
            .await;
        let Ok(now) = reached else {
            return Err(NotTaken::Failed(Arc::from("the log is closed")));
        };
        match (&now.failed, &now.full) {
            _ if now.durable >= wanted => Ok(()),
            (Some(why), _) => Err(NotTaken::Failed(Arc::clone(why))),
            (_, Some(why)) => Err(NotTaken::Full(Arc::clone(why))),
            _ => Ok(()),
        }
    }

    /// Makes what was taken durable, begins a new file and tells its number: what is taken from
    /// now on is in it or behind it.
    pub(crate) fn rotate(&self) -> Result<u64, NotTaken> {
        let mut queue = self.shared.queue.lock();
        check(&queue)?;
        let wanted = queue.rotations + 1;
        queue.rotate = true;
        self.shared.work.notify_one();
        while queue.rotations < wanted {
            check(&queue)?;
            self.shared.done.wait(&mut queue);
        }
        Ok(queue.number)
    }

    /// Makes durable what was taken and ends the thread.
    pub(crate) fn close(&self) {
        self.shared.queue.lock().stop = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been told by the hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

fn check(queue: &Queue) -> Result<(), NotTaken> {
    if let Some(why) = &queue.failed {
        return Err(NotTaken::Failed(Arc::clone(why)));
    }
    if queue.stop {
        return Err(NotTaken::Failed(Arc::from("the log is closed")));
    }
    match &queue.full {
        Some(why) => Err(NotTaken::Full(Arc::clone(why))),
        None => Ok(()),
    }
}

#[allow(clippy::disallowed_methods)] // the age of a group, never a decision about data
fn clock() -> Instant {
    Instant::now()
}

struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    files: Arc<dyn Files>,
    /// None until there is room for the first file.
    sink: Option<Box<dyn Sink>>,
    number: u64,
    length: u64,
    buffer: Vec<u8>,
    durable: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (rotate, stop) = self.gather();
            let mut done = self.group();
            if done.is_ok() && (rotate || self.length >= FILE) {
                done = self.next_file();
            }
            match done {
                Ok(()) => self.tell(None, None, rotate),
                Err(Trouble::Full(why)) => {
                    self.tell(Some(full_disk(&why)), None, false);
                    if !stop {
                        let mut queue = self.shared.queue.lock();
                        self.shared.work.wait_for(&mut queue, AGAIN);
                    }
                }
                Err(Trouble::Failed(why)) => {
                    tracing::error!(error = %why, "the log of signals takes nothing any more");
                    self.tell(None, Some(Arc::from(why.to_string())), false);
                    return;
                }
            }
            if stop {
                return;
            }
        }
    }

    /// Waits for the next group and takes it over; whether a new file and whether the end is asked
    /// for.
    fn gather(&mut self) -> (bool, bool) {
        let mut queue = self.shared.queue.lock();
        loop {
            let urgent = queue.stop || queue.rotate || queue.pending.len() >= GROUP;
            // A full disk is tried again.
            if urgent || queue.full.is_some() || (queue.hurry && !queue.pending.is_empty()) {
                break;
            }
            queue.hurry = false;
            match queue.since {
                None => self.shared.work.wait(&mut queue),
                Some(since) => {
                    let until = since + AGE;
                    if self.shared.work.wait_until(&mut queue, until).timed_out() {
                        break;
                    }
                }
            }
        }
        queue.hurry = false;
        queue.since = None;
        if self.buffer.is_empty() {
            std::mem::swap(&mut self.buffer, &mut queue.pending);
        }
        (queue.rotate, queue.stop)
    }

    /// Writes and syncs the group.
    fn group(&mut self) -> Result<(), Trouble> {
        if self.sink.is_none() {
            self.next_file()?;
        }
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(why) = sink.write(&self.buffer) {
            if is_full(&why) {
                sink.cut(self.length).map_err(Trouble::Failed)?;
                return Err(Trouble::Full(why));
            }
            return Err(Trouble::Failed(why));
        }
        sink.sync().map_err(Trouble::Failed)?;
        self.length += self.buffer.len() as u64;
        self.durable += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        Ok(())
    }

    fn next_file(&mut self) -> Result<(), Trouble> {
        let path = path(&self.dir, self.number + 1);
        match self.files.create(&path) {
            Ok(sink) => {
                self.sink = Some(sink);
                self.number += 1;
                self.length = MAGIC.len() as u64;
                Ok(())
            }
            Err(why) => {
                // A file half made would be in the way of the next try.
                let _ = std::fs::remove_file(&path);
                Err(if is_full(&why) {
                    Trouble::Full(why)
                } else {
                    Trouble::Failed(why)
                })
            }
        }
    }

    fn tell(&self, full: Option<Arc<str>>, failed: Option<Arc<str>>, rotated: bool) {
        let mut queue = self.shared.queue.lock();
        if full.is_some() != queue.full.is_some() {
            match &full {
                Some(why) => tracing::error!(error = %why, "signals are refused"),
                None => tracing::info!("signals are taken again"),
            }
        }
        queue.full.clone_from(&full);
        if failed.is_some() {
            queue.failed.clone_from(&failed);
        }
        queue.number = self.number;
        if rotated {
            queue.rotate = false;
            queue.rotations += 1;
        }
        drop(queue);
        self.shared.done.notify_all();
        self.shared.progress.send_replace(Progress {
            durable: self.durable,
            failed,
            full,
        });
    }
}

enum Trouble {
    Full(io::Error),
    Failed(io::Error),
}

fn full_disk(why: &io::Error) -> Arc<str> {
    Arc::from(format!("disk full: {why}"))
}

fn is_full(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests;
