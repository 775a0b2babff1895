//! The CRI log format: one line of output per line, with time, stream and a tag that says
//! whether the line is whole (`F`) or goes on (`P`).

use crate::spec::LogFile;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest piece of one line; longer lines are cut into pieces tagged `P`.
pub const LINE_BYTES: usize = 16 << 10;

/// Where output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// RFC 3339 with nanoseconds, UTC: compares as text.
    pub time: &'a str,
    /// Stream.
    pub stream: Stream,
    /// Whether the line ends here.
    pub full: bool,
    /// Text without its end of line.
    pub text: &'a [u8],
}

/// Reads one line (without its newline); `None` where it is not in the format, e.g. torn.
pub fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let full = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let text = parts.next()?;
    (time.len() >= 20 && time.ends_with('Z')).then_some(Line {
        time,
        stream,
        full,
        text,
    })
}

/// Cuts a stream into log lines.
#[derive(Debug)]
pub(crate) struct LineCutter {
    stream: Stream,
    pending: Vec<u8>,
}

impl LineCutter {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Takes output and appends finished lines to `out`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], time: &str, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = LINE_BYTES - self.pending.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.emit(&bytes[..end], true, time, out);
                    bytes = &bytes[end + 1..];
                }
                None if window.len() == room => {
                    self.emit(window, false, time, out);
                    bytes = &bytes[room..];
                }
                None => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// At the end of the stream: what has no newline.
    pub(crate) fn finish(&mut self, time: &str, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.emit(&[], false, time, out);
        }
    }

    fn emit(&mut self, rest: &[u8], full: bool, time: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(time.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.stream.name().as_bytes());
        out.extend_from_slice(if full { b" F " } else { b" P " });
        out.extend_from_slice(&self.pending);
        out.extend_from_slice(rest);
        out.push(b'\n');
        self.pending.clear();
    }
}

/// The current log file, rotated by size.
pub(crate) struct Writer {
    settings: LogFile,
    file: File,
    bytes: u64,
}

impl Writer {
    pub(crate) fn open(settings: &LogFile) -> io::Result<Self> {
        if let Some(parent) = settings.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = append(&settings.path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            settings: settings.clone(),
            file,
            bytes,
        })
    }

    /// Appends whole lines. An error (a full disk) loses these lines, never the container.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + lines.len() as u64 > self.settings.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let old = rotated(&self.settings.path);
        let next = old.last().map_or(1, |(number, _)| number + 1);
        std::fs::rename(&self.settings.path, numbered(&self.settings.path, next))?;
        self.file = append(&self.settings.path)?;
        self.bytes = 0;
        let keep = (self.settings.max_files.max(1) - 1) as usize;
        let drop = (old.len() + 1).saturating_sub(keep);
        for (_, path) in old.iter().take(drop) {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!(".{number}"));
    name.into()
}

/// Older files of a log with their numbers, oldest first.
pub fn rotated(path: &Path) -> Vec<(u64, PathBuf)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name();
            let number = file
                .to_str()?
                .strip_prefix(name)?
                .strip_prefix('.')?
                .parse()
                .ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(pieces: &[&[u8]]) -> Vec<u8> {
        let mut cutter = LineCutter::new(Stream::Stdout);
        let mut out = Vec::new();
        pieces
            .iter()
            .for_each(|piece| cutter.push(piece, "2026-01-02T03:04:05.000000000Z", &mut out));
        cutter.finish("2026-01-02T03:04:05.000000000Z", &mut out);
        out
    }

    #[test]
    fn lines_are_cut_at_newlines_and_at_the_limit() {
        let out = cut(&[b"a\nb", b"c\n\nend"]);
        let texts: Vec<(bool, Vec<u8>)> = out
            .split(|b| *b == b'\n')
            .filter_map(parse_line)
            .map(|line| (line.full, line.text.to_vec()))
            .collect();
        let expect: [(bool, &[u8]); 4] =
            [(true, b"a"), (true, b"bc"), (true, b""), (false, b"end")];
        assert_eq!(texts, expect.map(|(full, text)| (full, text.to_vec())));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..4)) {
            let all: Vec<u8> = pieces.concat();
            let out = cut(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut back = Vec::new();
            for line in out.split_inclusive(|b| *b == b'\n') {
                let line = parse_line(&line[..line.len() - 1]).expect("line in the format");
                prop_assert!(line.text.len() <= LINE_BYTES);
                back.extend_from_slice(line.text);
                if line.full { back.push(b'\n'); }
            }
            prop_assert_eq!(back, all);
        }

        #[test]
        fn parsing_never_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_line(&line);
        }
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let settings = LogFile {
            max_bytes: 100,
            max_files: 3,
            ..LogFile::new(dir.path().join("0.log"))
        };
        let mut writer = Writer::open(&settings).expect("open");
        for number in 0..10 {
            writer
                .write(format!("{number:050}\n").as_bytes())
                .expect("write");
        }
        let files = rotated(&settings.path);
        assert_eq!(files.len(), 2);
        assert_eq!(files.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [8, 9]);
    }
}
