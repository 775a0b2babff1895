//! `COPY` and `ADD`: what a source means, its digest for the cache, and the copying itself.

use crate::ignore::{self, Ignore};
use crate::tree::{self, Tree};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use towpath_oci::layer;

const DEPTH: usize = 256;
const ENTRIES: u64 = 1_000_000;

/// What to take.
pub(crate) struct Sources<'a> {
    pub(crate) tree: &'a Tree,
    /// Patterns as written, expanded.
    pub(crate) patterns: &'a [String],
    /// Rules of the context; none for another stage.
    pub(crate) ignore: Option<&'a Ignore>,
    /// `--exclude`, as rules.
    pub(crate) exclude: Ignore,
    /// Whether owners count: they do not in a context.
    pub(crate) owners: bool,
}

/// What to do with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: Option<ModeChange>,
    pub(crate) unpack: bool,
    pub(crate) parents: bool,
}

/// `--chmod`: octal, or symbolic clauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    who: u32,
    operator: char,
    bits: u32,
    /// `X`: execute only for directories and what is executable already.
    conditional: bool,
}

impl ModeChange {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a mode");
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return u32::from_str_radix(text, 8)
                .ok()
                .filter(|m| *m <= 0o7777)
                .map(Self::Octal)
                .ok_or_else(bad);
        }
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            let at = clause.find(['+', '-', '=']).ok_or_else(bad)?;
            let mut who = 0;
            for c in clause[..at].chars() {
                who |= match c {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(bad()),
                };
            }
            let (mut bits, mut conditional) = (0, false);
            for c in clause[at + 1..].chars() {
                match c {
                    'r' => bits |= 0o444,
                    'w' => bits |= 0o222,
                    'x' => bits |= 0o111,
                    'X' => conditional = true,
                    's' => bits |= 0o6000,
                    't' => bits |= 0o1000,
                    _ => return Err(bad()),
                }
            }
            let operator = clause[at..].chars().next().ok_or_else(bad)?;
            clauses.push(Clause {
                who: if who == 0 { 0o7777 } else { who },
                operator,
                bits,
                conditional,
            });
        }
        Ok(Self::Symbolic(clauses))
    }

    fn apply(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| {
                let execute = if clause.conditional && (directory || mode & 0o111 != 0) {
                    0o111
                } else {
                    0
                };
                let bits = (clause.bits | execute) & clause.who;
                match clause.operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => mode & !(clause.who & 0o7777) | bits,
                }
            }),
        }
    }
}

impl Sources<'_> {
    /// Paths that the patterns name, in order; the error names a pattern without a match.
    pub(crate) fn paths(&self) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for pattern in self.patterns {
            let clean = tree::clean(pattern);
            let mut matches = if clean.contains(['*', '?', '[']) {
                self.glob(&clean)?
            } else {
                vec![clean.clone()]
            };
            matches.retain(|path| !self.hides(path) && self.tree.stat(path).is_ok());
            if matches.is_empty() {
                let ignored = self.ignore.is_some_and(|i| i.excludes(&clean));
                let why = if ignored {
                    "; it is left out by the ignore file"
                } else {
                    ""
                };
                return Err(format!("{pattern:?} matches nothing{why}"));
            }
            found.extend(matches);
        }
        Ok(found)
    }

    // A directory that is left out may still hold something that is not.
    fn hides(&self, path: &str) -> bool {
        let Some(ignore) = self.ignore.filter(|_| !path.is_empty()) else {
            return false;
        };
        let directory = self
            .tree
            .stat(path)
            .is_ok_and(|s| tree::kind(&s) == FileType::Directory);
        if directory {
            ignore.prunes(path)
        } else {
            ignore.excludes(path)
        }
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let mut found = vec![String::new()];
        for part in pattern.split('/') {
            let rule = ignore::compile(&part.replace("**", "*"))?;
            let mut next = Vec::new();
            for parent in &found {
                if !part.contains(['*', '?', '[']) {
                    next.push(join(parent, part));
                    continue;
                }
                let Ok(dir) = self.tree.find(parent, OFlags::DIRECTORY | OFlags::RDONLY) else {
                    continue;
                };
                let names = tree::names(dir.as_fd()).map_err(|error| error.to_string())?;
                let names = names
                    .into_iter()
                    .filter_map(|name| String::from_utf8(name).ok());
                next.extend(
                    names
                        .filter(|name| rule.is_match(name))
                        .map(|name| join(parent, &name)),
                );
            }
            if next.len() as u64 > ENTRIES {
                return Err(format!("{pattern:?} matches more than {ENTRIES} files"));
            }
            found = next;
        }
        Ok(found)
    }

    fn skips(&self, path: &str, directory: bool) -> bool {
        let left_out = |ignore: &Ignore| {
            if directory {
                ignore.prunes(path)
            } else {
                ignore.excludes(path)
            }
        };
        self.ignore.is_some_and(left_out) || left_out(&self.exclude)
    }

    /// Digest of everything that would be copied: names, kinds, modes, owners, attributes, link
    /// targets and bytes; not times.
    pub(crate) fn digest(&self, paths: &[String]) -> io::Result<String> {
        let mut hasher = Sha256::new();
        let mut budget = ENTRIES;
        for path in paths {
            let found = self.tree.find(path, OFlags::PATH)?;
            let stat = rustix::fs::fstat(&found)?;
            field(&mut hasher, b"source", path.as_bytes());
            self.digest_one(&mut hasher, &found, &stat, path, &mut budget, 0)?;
        }
        Ok(towpath_stdx::id::hex(&hasher.finalize()))
    }

    fn digest_one(
        &self,
        hasher: &mut Sha256,
        found: &OwnedFd,
        stat: &Stat,
        path: &str,
        budget: &mut u64,
        depth: usize,
    ) -> io::Result<()> {
        *budget = budget
            .checked_sub(1)
            .filter(|_| depth < DEPTH)
            .ok_or_else(too_large)?;
        self.digest_facts(hasher, stat);
        match tree::kind(stat) {
            FileType::RegularFile => digest_content(hasher, reopen(found)?, stat),
            FileType::Directory => {
                let dir = self.tree.find(path, OFlags::DIRECTORY | OFlags::RDONLY)?;
                self.digest_directory(hasher, dir.as_fd(), path, budget, depth)
            }
            _ => Ok(()),
        }
    }

    fn digest_directory(
        &self,
        hasher: &mut Sha256,
        dir: BorrowedFd<'_>,
        path: &str,
        budget: &mut u64,
        depth: usize,
    ) -> io::Result<()> {
        for name in tree::names(dir)? {
            let stat = tree::stat_at(dir, &name)?;
            let child = join(path, &String::from_utf8_lossy(&name));
            let directory = tree::kind(&stat) == FileType::Directory;
            if self.skips(&child, directory) {
                continue;
            }
            *budget = budget
                .checked_sub(1)
                .filter(|_| depth < DEPTH)
                .ok_or_else(too_large)?;
            field(hasher, b"name", &name);
            self.digest_facts(hasher, &stat);
            for (key, value) in tree::xattrs(dir, &name) {
                field(hasher, key.as_bytes(), &value);
            }
            match tree::kind(&stat) {
                FileType::RegularFile => {
                    let file = File::from(tree::open_at(dir, &name, OFlags::RDONLY)?);
                    digest_content(hasher, file, &stat)?;
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(dir, &name[..], Vec::new())?;
                    field(hasher, b"link", target.to_bytes());
                }
                FileType::Directory => {
                    let below = tree::open_at(dir, &name, OFlags::DIRECTORY | OFlags::RDONLY)?;
                    self.digest_directory(hasher, below.as_fd(), &child, budget, depth + 1)?;
                    field(hasher, b"end", b"");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn digest_facts(&self, hasher: &mut Sha256, stat: &Stat) {
        let owner = if self.owners {
            (stat.st_uid, stat.st_gid)
        } else {
            (0, 0)
        };
        field(
            hasher,
            b"facts",
            format!(
                "{:o} {} {} {}",
                stat.st_mode, owner.0, owner.1, stat.st_rdev
            )
            .as_bytes(),
        );
    }
}

fn field(hasher: &mut Sha256, key: &[u8], value: &[u8]) {
    hasher.update((key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update((value.len() as u64).to_le_bytes());
    hasher.update(value);
}

fn digest_content(hasher: &mut Sha256, mut file: File, stat: &Stat) -> io::Result<()> {
    hasher.update((stat.st_size as u64).to_le_bytes());
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn reopen(found: &OwnedFd) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

fn too_large() -> io::Error {
    io::Error::other(format!(
        "more than {ENTRIES} files, or more than {DEPTH} directories deep"
    ))
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_string()
    } else {
        format!("{parent}/{name}")
    }
}

/// Copies `paths` of the sources to `target`, an absolute path; a trailing slash says directory.
pub(crate) fn copy(
    sources: &Sources<'_>,
    paths: &[String],
    into: &Tree,
    target: &str,
    manner: &Manner,
) -> io::Result<()> {
    let several = paths.len() > 1 || sources.patterns.len() > 1;
    let as_directory = target.ends_with('/') || several || manner.parents;
    for path in paths {
        let found = sources.tree.find(path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&found)?;
        let name = path.rsplit('/').next().unwrap_or_default().to_string();
        let target = if manner.parents {
            format!("{target}/{}", parent_of(path))
        } else {
            target.to_string()
        };
        if tree::kind(&stat) == FileType::Directory {
            let target = if manner.parents {
                format!("{target}/{name}")
            } else {
                target
            };
            into.make_directories(&target, manner.owner)?;
            let to = into.find(&target, OFlags::DIRECTORY | OFlags::RDONLY)?;
            let from = sources
                .tree
                .find(path, OFlags::DIRECTORY | OFlags::RDONLY)?;
            Copier { sources, manner }.directory(from.as_fd(), path, to.as_fd(), 0)?;
            continue;
        }
        let file = || reopen(&found);
        if manner.unpack && tree::kind(&stat) == FileType::RegularFile && is_archive(file()?)? {
            into.make_directories(&target, manner.owner)?;
            unpack(file()?, into, &target)?;
            continue;
        }
        let exists = into
            .stat(&target)
            .is_ok_and(|s| tree::kind(&s) == FileType::Directory);
        let (directory, name) = if as_directory || exists {
            (target, name)
        } else {
            let clean = tree::clean(&target);
            let (parent, name) = clean.rsplit_once('/').unwrap_or(("", &clean));
            (format!("/{parent}"), name.to_string())
        };
        into.make_directories(&directory, manner.owner)?;
        let to = into.find(&directory, OFlags::DIRECTORY | OFlags::RDONLY)?;
        let facts = sources
            .tree
            .find(parent_of(path), OFlags::DIRECTORY | OFlags::RDONLY)?;
        let xattrs = tree::xattrs(
            facts.as_fd(),
            path.rsplit('/').next().unwrap_or_default().as_bytes(),
        );
        Copier { sources, manner }.file(file()?, &stat, xattrs, to.as_fd(), name.as_bytes())?;
    }
    Ok(())
}

fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Writes a file out of a here-document.
pub(crate) fn write(
    into: &Tree,
    target: &str,
    name: &str,
    content: &[u8],
    manner: &Manner,
) -> io::Result<()> {
    let directory = target.ends_with('/')
        || into
            .stat(target)
            .is_ok_and(|s| tree::kind(&s) == FileType::Directory);
    let clean = tree::clean(target);
    let (parent, name) = match clean.rsplit_once('/') {
        _ if directory => (clean.as_str(), name),
        Some((parent, name)) => (parent, name),
        None => ("", clean.as_str()),
    };
    into.make_directories(parent, manner.owner)?;
    let dir = into.find(parent, OFlags::DIRECTORY | OFlags::RDONLY)?;
    clear(dir.as_fd(), name.as_bytes())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(
        &dir,
        name,
        flags,
        Mode::from_raw_mode(0o600),
    )?);
    file.write_all(content)?;
    let (uid, gid) = manner.owner.unwrap_or((0, 0));
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    let mode = manner
        .mode
        .as_ref()
        .map_or(0o644, |change| change.apply(0o644, false));
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(())
}

struct Copier<'a> {
    sources: &'a Sources<'a>,
    manner: &'a Manner,
}

impl Copier<'_> {
    fn directory(
        &self,
        from: BorrowedFd<'_>,
        path: &str,
        to: BorrowedFd<'_>,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH {
            return Err(too_large());
        }
        for name in tree::names(from)? {
            let stat = tree::stat_at(from, &name)?;
            let child = join(path, &String::from_utf8_lossy(&name));
            let kind = tree::kind(&stat);
            if self.sources.skips(&child, kind == FileType::Directory) {
                continue;
            }
            match kind {
                FileType::Directory => {
                    match rustix::fs::mkdirat(to, &name[..], Mode::from_raw_mode(0o700)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                    let below = tree::open_at(to, &name, OFlags::DIRECTORY | OFlags::RDONLY)
                        .map_err(|_| {
                            io::Error::other(format!("cannot copy directory {child} over a file"))
                        })?;
                    let source = tree::open_at(from, &name, OFlags::DIRECTORY | OFlags::RDONLY)?;
                    self.directory(source.as_fd(), &child, below.as_fd(), depth + 1)?;
                    self.facts(to, &name, &stat, tree::xattrs(from, &name))?;
                }
                FileType::RegularFile => {
                    let file = File::from(tree::open_at(from, &name, OFlags::RDONLY)?);
                    self.file(file, &stat, tree::xattrs(from, &name), to, &name)?;
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(from, &name[..], Vec::new())?;
                    clear(to, &name)?;
                    rustix::fs::symlinkat(target, to, &name[..])?;
                    self.facts(to, &name, &stat, Vec::new())?;
                }
                FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                    clear(to, &name)?;
                    rustix::fs::mknodat(
                        to,
                        &name[..],
                        kind,
                        Mode::from_raw_mode(0o600),
                        stat.st_rdev,
                    )?;
                    self.facts(to, &name, &stat, Vec::new())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(
        &self,
        mut from: File,
        stat: &Stat,
        xattrs: Vec<(String, Vec<u8>)>,
        to: BorrowedFd<'_>,
        name: &[u8],
    ) -> io::Result<()> {
        clear(to, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(
            to,
            name,
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        io::copy(&mut from, &mut file)?;
        drop(file);
        self.facts(to, name, stat, xattrs)
    }

    // Owner, mode, attributes, time.
    fn facts(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        xattrs: Vec<(String, Vec<u8>)>,
    ) -> io::Result<()> {
        let kept = if self.sources.owners {
            (stat.st_uid, stat.st_gid)
        } else {
            (0, 0)
        };
        let (uid, gid) = self.manner.owner.unwrap_or(kept);
        tree::chown(dir, name, uid, gid)?;
        let kind = tree::kind(stat);
        if kind != FileType::Symlink {
            let mode = stat.st_mode & 0o7777;
            let mode = self
                .manner
                .mode
                .as_ref()
                .map_or(mode, |c| c.apply(mode, kind == FileType::Directory));
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if !xattrs.is_empty() {
            let fd = tree::open_at(dir, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
            for (key, value) in xattrs {
                match rustix::fs::fsetxattr(&fd, &key[..], &value, XattrFlags::empty()) {
                    Ok(()) | Err(Errno::OPNOTSUPP) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        let time = Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(rustix::fs::utimensat(
            dir,
            name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}

// Removes a file that stands where one is to be made; a directory is not replaced by a file.
fn clear(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(io::Error::other(format!(
            "{} is a directory; a file cannot replace it",
            String::from_utf8_lossy(name)
        ))),
        Err(errno) => Err(errno.into()),
    }
}

// A tar archive, perhaps compressed, told by content as the name proves nothing.
fn is_archive(mut file: File) -> io::Result<bool> {
    let mut start = [0; 6];
    let count = file.read(&mut start)?;
    let start = &start[..count];
    if start.starts_with(b"BZh") || start == [0xfd, b'7', b'z', b'X', b'Z', 0] {
        return Err(io::Error::other(
            "bzip2 and xz archives cannot be unpacked here; use gzip or zstd, or COPY it",
        ));
    }
    file.rewind()?;
    let Ok(decoder) = layer::Decoder::new(file) else {
        return Ok(false);
    };
    let mut block = Vec::new();
    if decoder.take(512).read_to_end(&mut block).is_err() || block.len() < 512 {
        return Ok(false);
    }
    Ok(matches!(
        layer::ArchiveReader::new(&block[..]).next_member(),
        Ok(Some(_))
    ))
}

fn unpack(file: File, into: &Tree, target: &str) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let dir = into.find(target, OFlags::DIRECTORY | OFlags::RDONLY)?;
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    layer::apply(file, &path, &layer::Options::default()).map_err(io::Error::other)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let apply = |text: &str, mode, dir| ModeChange::parse(text).expect(text).apply(mode, dir);
        assert_eq!(apply("0755", 0o600, false), 0o755);
        assert_eq!(apply("u+x", 0o644, false), 0o744);
        assert_eq!(apply("u=rwX,go=rX", 0o600, true), 0o755);
        assert_eq!(apply("u=rwX,go=rX", 0o600, false), 0o644);
        assert_eq!(apply("a-w", 0o666, false), 0o444);
        assert_eq!(apply("+x", 0o644, false), 0o755);
        for bad in ["", "99999", "0888", "u~x", "z+x", "u+q"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad}");
        }
    }
}
