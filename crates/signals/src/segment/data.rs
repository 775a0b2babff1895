//! The bytes of a segment, wherever they are: in a file, or in a bucket but for their tail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::objects::Object;

/// First in a file with a tail, with the version of its format.
const MAGIC: &[u8; 8] = b"TPTAIL\0\x01";
/// Then where the tail begins, how long the segment is, and the checksum of the tail.
const HEADER: u64 = 8 + 8 + 8 + 4;
/// The longest tail.
const MAX_TAIL: u64 = 512 << 20;

/// The bytes of a segment.
pub(crate) struct Data {
    path: PathBuf,
    bytes: u64,
    place: RwLock<Place>,
    /// What the bucket has as well, while it is here.
    copy: RwLock<Option<Object>>,
    /// Whether a read found something that makes no sense, and no copy of it.
    damaged: AtomicBool,
}

#[derive(Clone)]
enum Place {
    Here(Arc<File>),
    Away(Arc<Away>),
}

/// A segment that is in a bucket.
struct Away {
    object: Object,
    /// Tells it from others in the cache.
    number: u64,
    tail: File,
}

/// Where the tail of a segment is kept.
pub(crate) fn tail_path(path: &Path) -> PathBuf {
    path.with_extension("tail")
}

/// Removes what is here of a segment, if there is something.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for path in [path, &tail_path(path)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Data {
    /// Opens a segment: its file, or else what is in the bucket.
    pub(crate) fn open(path: &Path, object: Option<Object>) -> io::Result<Self> {
        match (File::open(path), object) {
            (Ok(file), copy) => Ok(Self {
                path: path.to_path_buf(),
                bytes: file.metadata()?.len(),
                place: RwLock::new(Place::Here(Arc::new(file))),
                copy: RwLock::new(copy),
                damaged: AtomicBool::new(false),
            }),
            (Err(error), Some(object)) if error.kind() == io::ErrorKind::NotFound => {
                Self::away(path, object)
            }
            (Err(error), None) if tail_path(path).exists() => {
                let why = "the segment is in a bucket, and its settings name none it is in";
                Err(io::Error::new(error.kind(), why))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn away(path: &Path, object: Object) -> io::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            bytes: object.bytes,
            place: RwLock::new(Place::Away(Arc::new(Away::open(path, object)?))),
            copy: RwLock::default(),
            damaged: AtomicBool::new(false),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How long the segment is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all of it is on the disk.
    pub(crate) fn is_here(&self) -> bool {
        matches!(&*self.place.read(), Place::Here(_))
    }

    /// Whether a part of it was asked for that cannot be had.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Takes note of a part that cannot be had; a bucket that does not answer is no damage.
    fn note(&self, offset: u64, error: Option<&io::Error>) {
        let is = error.is_none() || self.is_here();
        if is && !self.damaged.swap(true, Ordering::Relaxed) {
            let (file, error) = (self.name(), error.map(tracing::field::display));
            tracing::error!(file, offset, error, "a segment is damaged");
        }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        match &*self.place.read() {
            Place::Here(_) => self.path.display().to_string(),
            Place::Away(away) => away.object.bucket.named(&away.object.key),
        }
    }

    /// Fills a buffer from a place in the segment.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let place = self.place.read().clone();
        match place {
            Place::Here(file) => file.read_exact_at(buffer, offset),
            Place::Away(away) => away.read_exact_at(buffer, offset),
        }
    }

    /// The bucket has it as well from now on.
    pub(crate) fn set_copy(&self, object: Object) {
        if self.is_here() && object.bytes == self.bytes {
            *self.copy.write() = Some(object);
        }
    }

    /// What `read` makes of a part of the segment. Where it cannot be read from the local file or
    /// makes no sense there, the bucket's copy is taken, if that makes sense, and then for good.
    pub(crate) fn part<T, E>(
        &self,
        offset: u64,
        length: usize,
        read: impl Fn(Vec<u8>) -> Result<T, E>,
    ) -> io::Result<Result<T, E>> {
        let mut bytes = vec![0; length];
        let found = self.read_exact_at(&mut bytes, offset).map(|()| read(bytes));
        if matches!(found, Ok(Ok(_))) {
            return found;
        }
        if let Some(other) = self.instead() {
            let mut bytes = vec![0; length];
            let copied = other.read_exact_at(&mut bytes, offset);
            if let Ok(Ok(sound)) = copied.map(|()| read(bytes)) {
                self.replace(&other);
                return Ok(Ok(sound));
            }
        }
        self.note(offset, found.as_ref().err());
        found
    }

    /// What `read` makes of the segment's tables, and the data they stand in: as in
    /// [`part`](Self::part), the bucket's copy is taken where the local file makes no sense.
    pub(crate) fn opened<T, E>(
        self: Arc<Self>,
        read: impl Fn(&Arc<Self>) -> Result<T, E>,
    ) -> Result<(Arc<Self>, T), E> {
        let error = match read(&self) {
            Ok(found) => return Ok((self, found)),
            Err(error) => error,
        };
        let Some(other) = self.instead().map(Arc::new) else {
            return Err(error);
        };
        let found = read(&other).map_err(|_| error)?;
        self.replace(&other);
        Ok((other, found))
    }

    /// What the bucket has of a segment whose local file is damaged; none where it has nothing else
    /// or does not answer.
    fn instead(&self) -> Option<Self> {
        let object = self.copy.read().clone()?;
        let key = object.key.clone();
        match Self::away(&self.path, object) {
            Ok(other) => Some(other),
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, key, %error, "a segment is damaged, its copy is out of reach");
                None
            }
        }
    }

    /// From now on the bucket's copy counts: the local file is damaged.
    fn replace(&self, other: &Self) {
        let file = self.path.display();
        tracing::warn!(%file, copy = other.name(), "a segment is damaged: its copy in the bucket is used");
        let place = other.place.read().clone();
        *self.place.write() = place;
        *self.copy.write() = None;
        self.damaged.store(false, Ordering::Relaxed);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%file, %error, "a damaged segment stays on the disk");
            }
            _ => {}
        }
    }

    /// Lets the local copy go, but for the tail, now that the bucket has the whole.
    pub(crate) fn leave(&self, object: Object) -> io::Result<()> {
        let Place::Here(file) = self.place.read().clone() else {
            return Ok(());
        };
        let length = self.bytes.saturating_sub(object.tail_at);
        if length > MAX_TAIL {
            return Err(io::Error::other("the end of the segment is too long"));
        }
        let mut tail = vec![0; length as usize];
        file.read_exact_at(&mut tail, object.tail_at)?;
        write_tail(&self.path, &object, &tail)?;
        let away = Away::open(&self.path, object)?;
        *self.place.write() = Place::Away(Arc::new(away));
        *self.copy.write() = None;
        match fs::remove_file(&self.path) {
            // It counts no longer since; a tail alone would say that it does.
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&self.path),
            other => other,
        }
    }
}

/// Makes a tail durable.
fn write_tail(path: &Path, object: &Object, tail: &[u8]) -> io::Result<()> {
    let path = tail_path(path);
    let new = path.with_extension("tail.new");
    let mut file = File::create(&new)?;
    file.write_all(MAGIC)?;
    file.write_all(&object.tail_at.to_le_bytes())?;
    file.write_all(&object.bytes.to_le_bytes())?;
    file.write_all(&crc32c::crc32c(tail).to_le_bytes())?;
    file.write_all(tail)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// The tail that is here, if it is whole.
fn read_tail(path: &Path, object: &Object) -> io::Result<Option<File>> {
    let file = match File::open(tail_path(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = object.bytes.saturating_sub(object.tail_at);
    if file.metadata()?.len() != HEADER + length || length > MAX_TAIL {
        return Ok(None);
    }
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&object.tail_at.to_le_bytes());
    header.extend_from_slice(&object.bytes.to_le_bytes());
    let mut found = vec![0; header.len()];
    file.read_exact_at(&mut found, 0)?;
    let mut tail = vec![0; length as usize];
    file.read_exact_at(&mut tail, HEADER)?;
    let mut sum = [0; 4];
    file.read_exact_at(&mut sum, HEADER - 4)?;
    let whole = found == header && u32::from_le_bytes(sum) == crc32c::crc32c(&tail);
    Ok(whole.then_some(file))
}

/// Fetches the tail of a segment that is in the bucket, where it is not here.
pub(crate) fn fetch_tail(path: &Path, object: &Object) -> io::Result<()> {
    if read_tail(path, object)?.is_some() {
        return Ok(());
    }
    let length = object.bytes.saturating_sub(object.tail_at);
    if length > MAX_TAIL {
        return Err(io::Error::other("the end of the segment is too long"));
    }
    let mut tail = vec![0; length as usize];
    let place = (object.bucket.number(), object.key.as_str(), object.bytes);
    let read = object.bucket.read(place, &mut tail, object.tail_at);
    read.map_err(io::Error::other)?;
    write_tail(path, object, &tail)
}

impl Away {
    fn open(path: &Path, object: Object) -> io::Result<Self> {
        fetch_tail(path, &object)?;
        let tail = File::open(tail_path(path))?;
        Ok(Self {
            number: object.bucket.number(),
            object,
            tail,
        })
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.object.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match offset.checked_sub(self.object.tail_at) {
            Some(at) => self.tail.read_exact_at(buffer, HEADER + at),
            None => {
                let object = (self.number, self.object.key.as_str(), self.object.bytes);
                let read = self.object.bucket.read(object, buffer, offset);
                read.map_err(io::Error::other)
            }
        }
    }
}
