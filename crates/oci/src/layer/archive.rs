//! Reading tar: ustar, PAX and the GNU extensions that image builders write.
//!
//! Sizes in headers are claims. Names and PAX records are read into memory only up to a limit;
//! file content is never held.

use crate::Error;
use std::io::{self, Read};

const BLOCK: usize = 512;
// PAX records of one entry: names are at most 4 KiB, an extended attribute at most 64 KiB.
const EXTENSION_BYTES: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Hard link to an earlier entry.
    Hardlink,
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Member {
    /// Path as written.
    pub path: Vec<u8>,
    /// Link target as written.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Bytes of content that follow.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// A stream of entries; read an entry's content from it before asking for the next.
pub struct Reader<R> {
    inner: R,
    offset: u64,
    remaining: u64,
    padding: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Starts at the beginning of an archive.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            remaining: 0,
            padding: 0,
            ended: false,
        }
    }

    /// What was wrapped.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Bytes consumed so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry, or `None` at the end.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        let mut pax = Pax::default();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip(self.remaining.saturating_add(self.padding))?;
            (self.remaining, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = self.number(&header[124..136])?;
            match header[156] {
                b'x' => pax
                    .add(&self.extension(size)?)
                    .map_err(|reason| self.bad(reason))?,
                b'g' => drop(self.extension(size)?),
                b'L' => long_path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => long_link = Some(until_nul(&self.extension(size)?).to_vec()),
                flag => {
                    let member = self.member(&header, flag, size, pax, long_path, long_link)?;
                    self.remaining = member.size;
                    self.padding = padding(member.size);
                    return Ok(Some(member));
                }
            }
        }
    }

    fn member(
        &self,
        header: &[u8; BLOCK],
        flag: u8,
        size: u64,
        pax: Pax,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Member, Error> {
        let path = pax.path.or(long_path).unwrap_or_else(|| ustar_path(header));
        let kind = match flag {
            b'0' | 0 | b'7' if path.ends_with(b"/") && flag == 0 => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                return Err(self.bad(format!("entry type {:?} is not supported", other as char)));
            }
        };
        if pax.sparse {
            return Err(self.bad("sparse entries are not supported".into()));
        }
        let id = |field: &[u8], over: Option<u64>| -> Result<u32, Error> {
            let value = match over {
                Some(value) => value,
                None => self.number(field)?,
            };
            u32::try_from(value).map_err(|_| self.bad(format!("owner {value} is out of range")))
        };
        let size = pax.size.unwrap_or(size);
        Ok(Member {
            link: pax
                .link
                .or(long_link)
                .unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
            kind,
            mode: self.number(&header[100..108])? as u32 & 0o7777,
            uid: id(&header[108..116], pax.uid)?,
            gid: id(&header[116..124], pax.gid)?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => (self.signed(&header[136..148])?, 0),
            },
            // Only files have content; some writers leave a size on links and directories.
            size: if kind == Kind::File { size } else { 0 },
            device: match kind {
                Kind::Character | Kind::Block => (
                    self.number(&header[329..337])? as u32,
                    self.number(&header[337..345])? as u32,
                ),
                _ => (0, 0),
            },
            xattrs: pax.xattrs,
            path,
        })
    }

    // One header block; `None` at two zero blocks or at the end of the stream.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut header = [0; BLOCK];
        if !self.fill(&mut header)? || header.iter().all(|b| *b == 0) {
            self.ended = true;
            return Ok(None);
        }
        let stored = self.number(&header[148..156])?;
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(i, b)| {
                if (148..156).contains(&i) {
                    32
                } else {
                    u64::from(*b)
                }
            })
            .sum();
        if sum != stored {
            return Err(
                self.bad("header checksum does not match; this is not a tar archive".into())
            );
        }
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > EXTENSION_BYTES {
            return Err(Error::Limit(format!(
                "{EXTENSION_BYTES} bytes of extended header"
            )));
        }
        let mut data = Vec::new();
        (&mut self.inner)
            .take(size)
            .read_to_end(&mut data)
            .map_err(Error::io("read layer"))?;
        self.offset += data.len() as u64;
        if (data.len() as u64) < size {
            return Err(self.bad("archive is cut off".into()));
        }
        self.skip(padding(size))?;
        Ok(data)
    }

    // False at a clean end of the stream; an error in the middle of a block.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.bad("archive is cut off".into())),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read layer")(error)),
            }
        }
        Ok(true)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        let skipped = io::copy(&mut (&mut self.inner).take(bytes), &mut io::sink())
            .map_err(Error::io("read layer"))?;
        self.offset += skipped;
        if skipped < bytes {
            return Err(self.bad("archive is cut off".into()));
        }
        Ok(())
    }

    fn bad(&self, reason: String) -> Error {
        Error::entry(format!("byte {}", self.offset), reason)
    }

    fn number(&self, field: &[u8]) -> Result<u64, Error> {
        u64::try_from(self.signed(field)?).map_err(|_| self.bad("negative number in header".into()))
    }

    // Octal digits, or base 256 where the first bit is set.
    fn signed(&self, field: &[u8]) -> Result<i64, Error> {
        if field[0] & 0x80 != 0 {
            let mut value: i64 = if field[0] & 0x40 != 0 { -1 } else { 0 };
            let (skipped, rest) = field.split_at(field.len().saturating_sub(8));
            let filler = if value < 0 { 0xff } else { 0 };
            let clean = skipped
                .iter()
                .enumerate()
                .all(|(i, b)| *b == filler || (i == 0 && *b | 0x80 == filler | 0x80));
            if !clean {
                return Err(self.bad("number in header is out of range".into()));
            }
            for (index, byte) in rest.iter().enumerate() {
                let byte = if index == 0 && skipped.is_empty() && value == 0 {
                    byte & 0x7f
                } else {
                    *byte
                };
                value = value << 8 | i64::from(byte);
            }
            return Ok(value);
        }
        let text: &[u8] = field.trim_ascii_start();
        let digits = text
            .iter()
            .take_while(|b| (b'0'..=b'7').contains(*b))
            .count();
        let rest_is_blank = text[digits..].iter().all(|b| *b == 0 || *b == b' ');
        if !rest_is_blank && digits == 0 && !text.is_empty() && text[0] != 0 {
            return Err(self.bad("malformed number in header".into()));
        }
        Ok(text[..digits]
            .iter()
            .fold(0, |value, digit| value * 8 + i64::from(digit - b'0')))
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if limit == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "archive is cut off",
            ));
        }
        self.remaining -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }
}

#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
    sparse: bool,
}

impl Pax {
    // Records of the form `<length> <key>=<value>\n`, length counting all of it.
    fn add(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let malformed = || "malformed extended header".to_string();
            let space = data
                .iter()
                .take(20)
                .position(|b| *b == b' ')
                .ok_or_else(malformed)?;
            let length: usize = text(&data[..space])?.parse().map_err(|_| malformed())?;
            if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &data[space + 1..length - 1];
            let equals = record
                .iter()
                .position(|b| *b == b'=')
                .ok_or_else(malformed)?;
            self.record(text(&record[..equals])?, &record[equals + 1..])?;
            data = &data[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let number = |value: &[u8]| {
            text(value)?
                .parse::<u64>()
                .map_err(|_| format!("malformed {key}"))
        };
        match key {
            "path" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(number(value)?),
            "uid" => self.uid = Some(number(value)?),
            "gid" => self.gid = Some(number(value)?),
            "mtime" => self.mtime = Some(time(text(value)?).ok_or("malformed mtime")?),
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    self.xattrs.push((name.to_string(), value.to_vec()));
                } else if key.starts_with("GNU.sparse.") {
                    self.sparse = true;
                }
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "extended header is not UTF-8".to_string())
}

// `seconds[.fraction]`, possibly negative; the fraction counts forward from the floor.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let mut nanos = 0u32;
    for index in 0..9 {
        let digit = fraction.as_bytes().get(index).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        nanos = nanos * 10 + u32::from(digit - b'0');
    }
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

fn ustar_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    if &header[257..262] != b"ustar" || header[262] == b' ' || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_with_fractions() {
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("x"), None);
    }

    #[test]
    fn a_claimed_extension_size_allocates_nothing() {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(8 << 30);
        header.set_cksum();
        let error = Reader::new(&header.as_bytes()[..])
            .next_member()
            .expect_err("limit");
        assert!(matches!(error, Error::Limit(_)), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), field in 0usize..512, value in any::<u8>()) {
            let mut archive = {
                let mut builder = tar::Builder::new(Vec::new());
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                builder.append_data(&mut header, "a/b", &bytes[..]).expect("append");
                builder.into_inner().expect("finish")
            };
            for input in [&bytes[..], { archive[field] = value; &archive[..] }] {
                let mut reader = Reader::new(input);
                while let Ok(Some(_)) = reader.next_member() {}
            }
        }
    }
}
