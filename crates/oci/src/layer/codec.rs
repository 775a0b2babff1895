//! Compression of layers: recognised by the first bytes when read, not by the media type,
//! which is wrong often enough in practice.

use std::io::{self, BufRead, BufReader, Read, Write};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not.
    None,
    /// gzip, readable by everyone.
    Gzip,
    /// zstd, several times faster both ways.
    #[default]
    Zstd,
}

impl Compression {
    /// The OCI layer media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => crate::manifest::LAYER_TAR,
            Self::Gzip => crate::manifest::LAYER_GZIP,
            Self::Zstd => crate::manifest::LAYER_ZSTD,
        }
    }
}

// 128 MiB: what `zstd --long=27` and every client accept; a larger window is refused, so a
// frame header cannot make us allocate more.
const WINDOW_LOG_MAX: u32 = 27;
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// A decompressing reader.
pub enum Decoder<R: Read> {
    /// Plain.
    None(BufReader<R>),
    /// gzip, of any number of members.
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<R>>>),
    /// zstd, of any number of frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes and decides.
    pub fn new(reader: R) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(128 << 10, reader);
        let start = reader.fill_buf()?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(
                reader,
            ))));
        }
        let skippable =
            start.len() >= 4 && start[1..4] == [0x2a, 0x4d, 0x18] && start[0] & 0xf0 == 0x50;
        if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            return Ok(Self::Zstd(Box::new(decoder)));
        }
        Ok(Self::None(reader))
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

/// A compressing writer whose output depends on nothing but its input and the versions of the
/// libraries in the lock file.
pub enum Encoder<W: Write> {
    /// Plain.
    None(W),
    /// gzip with a fixed header.
    Gzip(Box<flate2::write::GzEncoder<W>>),
    /// zstd on one thread.
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> Encoder<W> {
    /// Starts.
    pub fn new(writer: W, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(writer),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let encoder = flate2::GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(writer, level);
                Self::Gzip(Box::new(encoder))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(writer, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Writes the end and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(writer) => Ok(writer),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(writer) => writer.write(buffer),
            Self::Gzip(writer) => writer.write(buffer),
            Self::Zstd(writer) => writer.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
            Self::Zstd(writer) => writer.flush(),
        }
    }
}
