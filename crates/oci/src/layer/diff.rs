//! A directory as a layer: the same bytes every time for the same content.
//!
//! Entries are sorted by path, headers are ustar with PAX records only where a value does not
//! fit, access and change times are left out, and times later than the clamp become the clamp.
//! Hard links within the tree stay hard links, to the first name in order.

use super::{Compression, Encoder, OPAQUE, OVERLAY_OPAQUE, WHITEOUT, walk};
use crate::digest::Hashing;
use crate::{Digest, Error};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::EntryType;

/// A written layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diffed {
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Digest of what was written.
    pub digest: Digest,
    /// Bytes written.
    pub bytes: u64,
    /// Entries; zero means that nothing changed.
    pub entries: u64,
}

/// How to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Compression.
    pub compression: Compression,
    /// Latest modification time, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub clamp_mtime: Option<i64>,
}

/// Writes an overlay upper directory as a layer: the kernel's whiteouts and opaque marks become
/// `.wh.` entries. The root itself is left out. A plain directory is the case without marks.
pub fn diff(upper: &Path, out: impl Write, options: &Options) -> Result<Diffed, Error> {
    let root = open(upper)?;
    write(out, options, |layer| layer.directory(root.as_fd(), b"", 0))
}

/// Writes what turns the tree `lower` into the tree `upper`; neither holds overlay marks.
pub fn diff_trees(
    lower: &Path,
    upper: &Path,
    out: impl Write,
    options: &Options,
) -> Result<Diffed, Error> {
    let (lower, upper) = (open(lower)?, open(upper)?);
    write(out, options, |layer| {
        layer.compare(lower.as_fd(), upper.as_fd(), b"", 0)
    })
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| Error::io(format!("open {}", path.display()))(errno.into()))
}

fn write<W: Write>(
    out: W,
    options: &Options,
    fill: impl FnOnce(&mut Layer<Hashing<Encoder<Hashing<W>>>>) -> Result<(), Error>,
) -> Result<Diffed, Error> {
    let failed = || Error::io("write layer");
    let encoder = Encoder::new(Hashing::new(out), options.compression).map_err(failed())?;
    let mut layer = Layer {
        out: Hashing::new(encoder),
        clamp: options.clamp_mtime,
        links: HashMap::new(),
        entries: 0,
    };
    fill(&mut layer)?;
    layer.out.write_all(&[0; 1024]).map_err(failed())?;
    let entries = layer.entries;
    let (encoder, diff_id, _) = layer.out.finish();
    let mut written = encoder.finish().map_err(failed())?;
    written.flush().map_err(failed())?;
    let (_, digest, bytes) = written.finish();
    Ok(Diffed {
        diff_id,
        digest,
        bytes,
        entries,
    })
}

struct Layer<W> {
    out: W,
    clamp: Option<i64>,
    // First name of each file with several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
}

const DEPTH: usize = 512;

impl<W: Write> Layer<W> {
    fn directory(&mut self, dir: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::Limit(format!("{DEPTH} directories deep")));
        }
        for name in walk::names(dir).map_err(failed(path))? {
            let child = join(path, &name);
            let stat = stat(dir, &name, &child)?;
            if walk::is_whiteout(&stat) {
                self.marker(&join(path, &[WHITEOUT, &name].concat()))?;
                continue;
            }
            self.entry(dir, &name, &child, &stat)?;
            if kind(&stat) == FileType::Directory {
                let below = open_below(dir, &name, &child)?;
                if is_opaque(below.as_fd()) {
                    self.marker(&join(&child, OPAQUE))?;
                }
                self.directory(below.as_fd(), &child, depth + 1)?;
            }
        }
        Ok(())
    }

    fn compare(
        &mut self,
        lower: BorrowedFd<'_>,
        upper: BorrowedFd<'_>,
        path: &[u8],
        depth: usize,
    ) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::Limit(format!("{DEPTH} directories deep")));
        }
        let new = walk::names(upper).map_err(failed(path))?;
        for name in walk::names(lower).map_err(failed(path))? {
            if new.binary_search(&name).is_err() {
                self.marker(&join(path, &[WHITEOUT, &name].concat()))?;
            }
        }
        for name in new {
            let child = join(path, &name);
            let now = stat(upper, &name, &child)?;
            let before = rustix::fs::statat(lower, &name[..], AtFlags::SYMLINK_NOFOLLOW).ok();
            let both_directories = kind(&now) == FileType::Directory
                && before
                    .as_ref()
                    .is_some_and(|b| kind(b) == FileType::Directory);
            let same = match &before {
                Some(before) => {
                    is_same((lower, before), (upper, &now), &name).map_err(failed(&child))?
                }
                None => false,
            };
            if !same {
                self.entry(upper, &name, &child, &now)?;
            }
            if both_directories {
                let (a, b) = (
                    open_below(lower, &name, &child)?,
                    open_below(upper, &name, &child)?,
                );
                self.compare(a.as_fd(), b.as_fd(), &child, depth + 1)?;
            } else if kind(&now) == FileType::Directory {
                self.directory(open_below(upper, &name, &child)?.as_fd(), &child, depth + 1)?;
            }
        }
        Ok(())
    }

    fn marker(&mut self, path: &[u8]) -> Result<(), Error> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_mtime(self.clamp.unwrap_or(0).max(0) as u64);
        self.head(header, path, b"", Vec::new())
            .map_err(failed(path))
    }

    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), Error> {
        let mut header = tar::Header::new_ustar();
        let mut records = Vec::new();
        self.numbers(&mut header, &mut records, stat);
        let fail = failed(path);
        let file_kind = kind(stat);
        if file_kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key).cloned() {
                header.set_entry_type(EntryType::Link);
                return self.head(header, path, &first, records).map_err(fail);
            }
            self.links.insert(key, path.to_vec());
        }
        self.xattrs(dir, name, &mut records).map_err(failed(path))?;
        match file_kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(dir, name, flags, Mode::empty())
                    .map_err(|e| failed(path)(e.into()))?;
                self.file(File::from(fd), header, path, stat.st_size as u64, records)
                    .map_err(fail)
            }
            FileType::Directory => {
                header.set_entry_type(EntryType::Directory);
                self.head(header, &[path, b"/"].concat(), b"", records)
                    .map_err(fail)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(|e| failed(path)(e.into()))?;
                header.set_entry_type(EntryType::Symlink);
                self.head(header, path, target.to_bytes(), records)
                    .map_err(fail)
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let block = file_kind == FileType::BlockDevice;
                header.set_entry_type(if block {
                    EntryType::Block
                } else {
                    EntryType::Char
                });
                header
                    .set_device_major(rustix::fs::major(stat.st_rdev))
                    .map_err(failed(path))?;
                header
                    .set_device_minor(rustix::fs::minor(stat.st_rdev))
                    .map_err(failed(path))?;
                self.head(header, path, b"", records).map_err(fail)
            }
            FileType::Fifo => {
                header.set_entry_type(EntryType::Fifo);
                self.head(header, path, b"", records).map_err(fail)
            }
            // A socket means nothing without the process that bound it.
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        file: File,
        mut header: tar::Header,
        path: &[u8],
        size: u64,
        mut records: Records,
    ) -> io::Result<()> {
        header.set_entry_type(EntryType::Regular);
        if size >= 1 << 33 {
            records.push(("size".into(), size.to_string().into_bytes()));
        } else {
            header.set_size(size);
        }
        self.head(header, path, b"", records)?;
        let copied = io::copy(&mut file.take(size), &mut self.out)?;
        if copied < size {
            return Err(io::Error::other("file became shorter while it was read"));
        }
        self.pad(size)
    }

    fn numbers(&self, header: &mut tar::Header, records: &mut Records, stat: &Stat) {
        header.set_mode(stat.st_mode & 0o7777);
        header.set_size(0);
        for (key, id) in [("uid", stat.st_uid), ("gid", stat.st_gid)] {
            let fits = id < 1 << 21;
            let value = if fits { u64::from(id) } else { 0 };
            if key == "uid" {
                header.set_uid(value)
            } else {
                header.set_gid(value)
            }
            if !fits {
                records.push((key.into(), id.to_string().into_bytes()));
            }
        }
        let mtime = stat.st_mtime.min(self.clamp.unwrap_or(i64::MAX));
        // Whole seconds, as every builder writes them.
        if (0..1 << 33).contains(&mtime) {
            header.set_mtime(mtime as u64);
        } else {
            header.set_mtime(0);
            records.push(("mtime".into(), mtime.to_string().into_bytes()));
        }
    }

    fn xattrs(&self, dir: BorrowedFd<'_>, name: &[u8], records: &mut Records) -> io::Result<()> {
        // The parent by descriptor, the last component not followed.
        let path = [
            format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(),
            name,
        ]
        .concat();
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        let Ok(names) = xattr::list(path) else {
            return Ok(());
        };
        let mut kept: Vec<String> = names
            .filter_map(|name| name.into_string().ok())
            .filter(|n| is_kept(n))
            .collect();
        kept.sort_unstable();
        for name in kept {
            if let Some(value) = xattr::get(path, &name)? {
                records.push((format!("SCHILY.xattr.{name}"), value));
            }
        }
        Ok(())
    }

    // The header block, after a PAX header where something does not fit.
    fn head(
        &mut self,
        mut header: tar::Header,
        path: &[u8],
        link: &[u8],
        mut records: Records,
    ) -> io::Result<()> {
        let ustar = header
            .as_ustar_mut()
            .ok_or_else(|| io::Error::other("not a ustar header"))?;
        if !put_path(ustar, path) {
            records.push(("path".into(), path.to_vec()));
            put(&mut ustar.name, &path[..path.len().min(100)]);
        }
        if !put(&mut ustar.linkname, link) {
            records.push(("linkpath".into(), link.to_vec()));
            put(&mut ustar.linkname, &link[..100]);
        }
        if !records.is_empty() {
            let mut data = Vec::new();
            for (key, value) in &records {
                pax_record(&mut data, key.as_bytes(), value);
            }
            let mut pax = tar::Header::new_ustar();
            pax.set_entry_type(EntryType::XHeader);
            put(&mut pax.as_old_mut().name, b"PaxHeader");
            pax.set_mode(0o644);
            pax.set_size(data.len() as u64);
            pax.set_cksum();
            self.out.write_all(pax.as_bytes())?;
            self.out.write_all(&data)?;
            self.pad(data.len() as u64)?;
        }
        header.set_cksum();
        self.entries += 1;
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (512 - size % 512) % 512;
        self.out.write_all(&[0; 512][..rest as usize])
    }
}

type Records = Vec<(String, Vec<u8>)>;

fn put(field: &mut [u8], value: &[u8]) -> bool {
    if value.len() > field.len() || value.contains(&0) {
        return false;
    }
    field.fill(0);
    field[..value.len()].copy_from_slice(value);
    true
}

// The name field, or prefix and name split at a slash. Names that are not ASCII go to PAX.
fn put_path(ustar: &mut tar::UstarHeader, path: &[u8]) -> bool {
    if !path.is_ascii() {
        return false;
    }
    if put(&mut ustar.name, path) {
        return true;
    }
    let inner = &path[..path.len() - usize::from(path.ends_with(b"/"))];
    let fits = |at: &usize| path.len() - at - 1 <= 100 && *at <= 155;
    match (0..inner.len()).filter(|at| path[*at] == b'/').find(fits) {
        Some(at) => put(&mut ustar.prefix, &path[..at]) && put(&mut ustar.name, &path[at + 1..]),
        None => false,
    }
}

// The length counts its own digits.
fn pax_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = 3 + key.len() + value.len();
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn is_kept(name: &str) -> bool {
    (name.starts_with("user.") && !name.starts_with("user.overlay."))
        || name == "security.capability"
        || name.starts_with("system.posix_acl_")
}

fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let mut value = [0u8; 4];
    matches!(rustix::fs::fgetxattr(dir, OVERLAY_OPAQUE, &mut value), Ok(1) if value[0] == b'y')
}

fn is_same(
    lower: (BorrowedFd<'_>, &Stat),
    upper: (BorrowedFd<'_>, &Stat),
    name: &[u8],
) -> io::Result<bool> {
    let (a, b) = (lower.1, upper.1);
    if a.st_mode != b.st_mode
        || a.st_uid != b.st_uid
        || a.st_gid != b.st_gid
        || a.st_rdev != b.st_rdev
    {
        return Ok(false);
    }
    match kind(a) {
        FileType::Directory => Ok(true),
        FileType::RegularFile => {
            if a.st_size != b.st_size || a.st_mtime != b.st_mtime {
                return Ok(false);
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = |dir| rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from);
            same_bytes(open(lower.0)?, open(upper.0)?)
        }
        FileType::Symlink => {
            let read = |dir| rustix::fs::readlinkat(dir, name, Vec::new());
            Ok(read(lower.0)? == read(upper.0)?)
        }
        _ => Ok(true),
    }
}

fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(b.read(&mut right[..1])? == 0);
        }
        if b.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

fn stat(dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Stat, Error> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed(path)(errno.into()))
}

fn open_below(dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<OwnedFd, Error> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|errno| failed(path)(errno.into()))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> Error + use<> {
    Error::io(format!("pack {}", String::from_utf8_lossy(path)))
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}
