//! A layer's tar stream onto a directory.
//!
//! Every path is resolved by the kernel with the target as its root (`openat2`,
//! `RESOLVE_IN_ROOT`): links inside the image lead somewhere inside the image, whatever they
//! say, and the last component is never followed. Budgets bound entries and bytes.

use super::archive::{Kind, Member, Reader};
use super::{Decoder, OPAQUE, OVERLAY_OPAQUE, WHITEOUT, walk};
use crate::digest::Hashing;
use crate::{Digest, Error};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What a layer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Bytes after decompression, headers included.
    pub bytes: u64,
    /// Components of one path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 500_000,
            bytes: 16 << 30,
            depth: 128,
        }
    }
}

/// What becomes of `.wh.` entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// The target holds the layers below: remove what they hide.
    #[default]
    Remove,
    /// The target is one overlay lower directory: write the kernel's markers.
    Overlay,
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Budgets.
    pub limits: Limits,
    /// Whiteouts.
    pub whiteouts: Whiteouts,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Entries.
    pub entries: u64,
    /// Uncompressed bytes.
    pub bytes: u64,
}

/// Applies a layer, compressed in any known way, to the directory `target`. Blocking. On an
/// error the target is left half done: apply into a new directory and name it afterwards.
pub fn apply(layer: impl Read, target: &Path, options: &Options) -> Result<Applied, Error> {
    let decoder = Decoder::new(layer).map_err(Error::io("read layer"))?;
    // One byte more than allowed, so that using it up tells "too large" from "just fits".
    let bounded = decoder.take(options.limits.bytes.saturating_add(1));
    let mut reader = Reader::new(Hashing::new(bounded));
    let mut target = Target::open(target, options)?;
    let result = target.apply_all(&mut reader);
    let mut rest = reader.into_inner();
    let drained = if result.is_ok() {
        io::copy(&mut rest, &mut io::sink()).map_err(Error::io("read layer"))
    } else {
        Ok(0)
    };
    if rest.count() > options.limits.bytes {
        return Err(Error::Limit(format!(
            "{} bytes uncompressed",
            options.limits.bytes
        )));
    }
    result?;
    drained?;
    target.finish()?;
    let (_, diff_id, bytes) = rest.finish();
    Ok(Applied {
        diff_id,
        entries: target.entries,
        bytes,
    })
}

struct Target<'a> {
    root: OwnedFd,
    options: &'a Options,
    entries: u64,
    // The parent of the entry before: archives list siblings together.
    parent: Option<(Vec<u8>, OwnedFd)>,
    // Paths of this layer, which its own whiteouts do not hide.
    seen: HashSet<Vec<u8>>,
    // Times of directories, set when nothing is written below them any more.
    times: Vec<(Vec<u8>, (i64, u32))>,
}

impl<'a> Target<'a> {
    fn open(path: &Path, options: &'a Options) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Error::io(format!("open {}", path.display()))(errno.into()))?;
        Ok(Self {
            root,
            options,
            entries: 0,
            parent: None,
            seen: HashSet::new(),
            times: Vec::new(),
        })
    }

    fn apply_all<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<(), Error> {
        while let Some(member) = reader.next_member()? {
            self.entries += 1;
            if self.entries > self.options.limits.entries {
                return Err(Error::Limit(format!(
                    "{} entries",
                    self.options.limits.entries
                )));
            }
            let path = clean(&member.path, self.options.limits.depth)?;
            let shown = String::from_utf8_lossy(&path).into_owned();
            self.one(&member, path, reader)
                .map_err(|error| match error {
                    Failure::Os(source) => Error::Io {
                        what: format!("unpack {shown}"),
                        source,
                    },
                    Failure::Refused(reason) => Error::entry(shown, reason),
                    Failure::Image(error) => error,
                })?;
        }
        Ok(())
    }

    fn one<R: Read>(
        &mut self,
        member: &Member,
        path: Vec<u8>,
        content: &mut Reader<R>,
    ) -> Result<(), Failure> {
        if path.is_empty() {
            if member.kind != Kind::Directory {
                return Err(Failure::Refused("the root can only be a directory".into()));
            }
            let root = self.root.try_clone()?;
            self.attributes(root.as_fd(), member)?;
            self.times.push((path, member.mtime));
            return Ok(());
        }
        let (parent_path, name) = split(&path);
        let (parent_path, name) = (parent_path.to_vec(), name.to_vec());
        let parent = self.parent(&parent_path)?;
        if name == OPAQUE {
            return self.opaque(&parent_path, parent);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            // Other `.wh..wh.` names are private marks of old storage drivers.
            return if hidden.starts_with(WHITEOUT) {
                Ok(())
            } else {
                self.whiteout(&parent_path, parent, hidden)
            };
        }
        self.make(&parent, &name, &path, member, content)?;
        if self.options.whiteouts == Whiteouts::Remove {
            self.remember(path);
        }
        Ok(())
    }

    // Remembers a path with its ancestors: what holds an entry of this layer is of this layer.
    fn remember(&mut self, mut path: Vec<u8>) {
        while !path.is_empty() && self.seen.insert(path.clone()) {
            path = split(&path).0.to_vec();
        }
    }

    fn make<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        member: &Member,
        content: &mut Reader<R>,
    ) -> Result<(), Failure> {
        let hidden_below = self.clear(parent, name, member.kind)?;
        match member.kind {
            Kind::Directory => {
                match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
                if hidden_below {
                    rustix::fs::fsetxattr(&fd, OVERLAY_OPAQUE, b"y", XattrFlags::empty())?;
                }
                self.attributes(fd.as_fd(), member)?;
                self.times.push((path.to_vec(), member.mtime));
                return Ok(());
            }
            Kind::File => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(fd);
                io::copy(content, &mut file)?;
                self.attributes(file.as_fd(), member)?;
                rustix::fs::futimens(&file, &times(member.mtime))?;
                return Ok(());
            }
            Kind::Hardlink => {
                let target =
                    clean(&member.link, self.options.limits.depth).map_err(Failure::Image)?;
                let (target_parent, target_name) = split(&target);
                let from = self
                    .open_dir(target_parent)
                    .map_err(|_| hardlink(&member.link))?;
                // Without AT_SYMLINK_FOLLOW a link to a link links the link itself.
                return match rustix::fs::linkat(&from, target_name, parent, name, AtFlags::empty())
                {
                    Err(Errno::NOENT) => Err(hardlink(&member.link)),
                    other => Ok(other?),
                };
            }
            Kind::Symlink => {
                if member.link.is_empty() || member.link.contains(&0) {
                    return Err(Failure::Refused("symbolic link without a target".into()));
                }
                rustix::fs::symlinkat(&member.link[..], parent, name)?;
            }
            Kind::Character | Kind::Block | Kind::Fifo => self.node(parent, name, member)?,
        }
        let owner = (
            Some(Uid::from_raw(member.uid)),
            Some(Gid::from_raw(member.gid)),
        );
        rustix::fs::chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        if member.kind != Kind::Symlink {
            rustix::fs::chmodat(
                parent,
                name,
                Mode::from_raw_mode(member.mode),
                AtFlags::empty(),
            )?;
        }
        rustix::fs::utimensat(
            parent,
            name,
            &times(member.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        Ok(())
    }

    fn node(&self, parent: &OwnedFd, name: &[u8], member: &Member) -> Result<(), Failure> {
        let kind = match member.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        // The kernel would read it as a whiteout, which an image says with a name.
        if kind == FileType::CharacterDevice && member.device == (0, 0) {
            return Err(Failure::Refused("character device 0:0 is reserved".into()));
        }
        let device = rustix::fs::makedev(member.device.0, member.device.1);
        Ok(rustix::fs::mknodat(
            parent,
            name,
            kind,
            Mode::from_raw_mode(0o600),
            device,
        )?)
    }

    // Removes what stands where an entry is to be made; a directory stays for a directory.
    // True where an overlay whiteout stood there: a directory made over it hides those below.
    fn clear(&mut self, parent: &OwnedFd, name: &[u8], kind: Kind) -> Result<bool, Failure> {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir && kind == Kind::Directory {
            return Ok(false);
        }
        walk::remove(parent.as_fd(), name)?;
        if is_dir {
            self.parent = None;
        }
        Ok(walk::is_whiteout(&stat))
    }

    fn whiteout(
        &mut self,
        parent_path: &[u8],
        parent: OwnedFd,
        name: &[u8],
    ) -> Result<(), Failure> {
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Failure::Refused("whiteout of nothing".into()));
        }
        match self.options.whiteouts {
            Whiteouts::Remove => {
                if !self.seen.contains(&join(parent_path, name)) {
                    walk::remove(parent.as_fd(), name)?;
                    self.parent = None;
                }
            }
            Whiteouts::Overlay => {
                let device = rustix::fs::makedev(0, 0);
                match rustix::fs::mknodat(
                    &parent,
                    name,
                    FileType::CharacterDevice,
                    Mode::empty(),
                    device,
                ) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn opaque(&mut self, path: &[u8], dir: OwnedFd) -> Result<(), Failure> {
        match self.options.whiteouts {
            Whiteouts::Overlay => {
                rustix::fs::fsetxattr(&dir, OVERLAY_OPAQUE, b"y", XattrFlags::empty())?
            }
            Whiteouts::Remove => {
                self.parent = None;
                self.empty(path, dir.as_fd(), 0)?;
            }
        }
        Ok(())
    }

    // Removes what lower layers left in a directory; what this layer made stays.
    fn empty(
        &self,
        path: &[u8],
        dir: std::os::fd::BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), Failure> {
        if depth > self.options.limits.depth {
            return Err(Failure::Refused("too deep".into()));
        }
        for name in walk::names(dir)? {
            let child = join(path, &name);
            if !self.seen.contains(&child) {
                walk::remove(dir, &name)?;
                continue;
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
            if let Ok(below) = rustix::fs::openat(dir, &name[..], flags, Mode::empty()) {
                self.empty(&child, below.as_fd(), depth + 1)?;
            }
        }
        Ok(())
    }

    // The directory that holds an entry; made where the archive left it out.
    fn parent(&mut self, path: &[u8]) -> Result<OwnedFd, Failure> {
        if let Some((cached, fd)) = &self.parent
            && cached == path
        {
            return Ok(fd.try_clone()?);
        }
        let fd = match self.open_dir(path) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(path)?,
            Err(errno) => return Err(errno.into()),
        };
        self.parent = Some((path.to_vec(), fd.try_clone()?));
        Ok(fd)
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<OwnedFd, Failure> {
        let mut fd = self.root.try_clone()?;
        let mut done = Vec::new();
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let next = join(&done, name);
            fd = match self.open_dir(&next) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    self.clear(&fd, name, Kind::Directory)?;
                    rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o755))?;
                    self.open_dir(&next)?
                }
                Err(errno) => return Err(errno.into()),
            };
            done = next;
        }
        Ok(fd)
    }

    fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let path = if path.is_empty() { &b"."[..] } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    // Owner before mode and capabilities: changing the owner clears both.
    fn attributes(&self, fd: std::os::fd::BorrowedFd<'_>, member: &Member) -> Result<(), Failure> {
        rustix::fs::fchown(
            fd,
            Some(Uid::from_raw(member.uid)),
            Some(Gid::from_raw(member.gid)),
        )?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(member.mode))?;
        for (name, value) in &member.xattrs {
            if !is_kept(name) {
                continue;
            }
            match rustix::fs::fsetxattr(fd, &name[..], value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        for (path, mtime) in self.times.drain(..).collect::<Vec<_>>().iter().rev() {
            let path = if path.is_empty() {
                &b"."[..]
            } else {
                &path[..]
            };
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
            // Gone or replaced by a later entry: then it has that entry's time.
            if let Ok(fd) = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                rustix::fs::futimens(&fd, &times(*mtime))
                    .map_err(|errno| Error::io("set directory time")(errno.into()))?;
            }
        }
        Ok(())
    }
}

enum Failure {
    Os(io::Error),
    Refused(String),
    Image(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Os(errno.into())
    }
}

fn hardlink(target: &[u8]) -> Failure {
    Failure::Refused(format!(
        "hard link to {:?}, which this layer does not hold",
        String::from_utf8_lossy(target)
    ))
}

// `trusted.overlay.*` from an image would steer the kernel's overlay, `security.selinux` the
// host's policy.
fn is_kept(name: &str) -> bool {
    (name.starts_with("user.") && !name.starts_with("user.overlay."))
        || name == "security.capability"
        || name.starts_with("system.posix_acl_")
}

// Components without `.` and empty ones; `..` is refused rather than resolved.
fn clean(path: &[u8], depth: usize) -> Result<Vec<u8>, Error> {
    let shown = || String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
    let mut parts = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::entry(shown(), "path leaves the layer")),
            part if part.contains(&0) => {
                return Err(Error::entry(shown(), "path holds a NUL byte"));
            }
            part => parts.push(part),
        }
    }
    if parts.len() > depth {
        return Err(Error::Limit(format!("{depth} path components")));
    }
    Ok(parts.join(&b'/'))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
