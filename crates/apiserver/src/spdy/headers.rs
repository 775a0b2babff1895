//! Header blocks of SPDY/3: pairs of lower-case names and values, in one zlib stream per
//! direction that begins with a dictionary both sides know.

use flate2::{Decompress, FlushDecompress, Status};

/// The dictionary of the protocol's specification (draft 3, section 2.6.10.1).
const DICTIONARY: &[u8] = include_bytes!("../../facts/spdy-dictionary.bin");
/// Headers of one stream, unpacked.
const BLOCK_BYTES: usize = 64 << 10;
const PAIRS: usize = 256;
/// Method deflate, a window of 32 KiB, a preset dictionary; and the check of these two bytes.
const ZLIB: [u8; 2] = [0x78, 0x20];

/// Names and values in their order.
pub(crate) type Headers = Vec<(String, String)>;

/// Unpacks what the other side sends.
pub(super) struct Unpacker {
    inflate: Decompress,
    begun: bool,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            begun: false,
        }
    }

    /// Reads one header block; `None` where it is none or too long.
    pub(super) fn read(&mut self, mut packed: &[u8]) -> Option<Headers> {
        if !self.begun {
            self.begun = true;
            let checksum = adler32(DICTIONARY).to_be_bytes();
            let (head, rest) = packed.split_at_checked(6)?;
            let whole = u16::from_be_bytes([head[0], head[1]]);
            if head[0] & 0x0f != 8 || head[1] & 0x20 == 0 || whole % 31 != 0 {
                return None;
            }
            if head[2..] != checksum {
                return None;
            }
            packed = rest;
            self.remember_dictionary()?;
        }
        let text = self.inflate(packed, BLOCK_BYTES)?;
        parse(&text)
    }

    // The library has no call for a dictionary. One that was sent as a block of its own is in
    // the window all the same.
    fn remember_dictionary(&mut self) -> Option<()> {
        let mut block = Vec::with_capacity(DICTIONARY.len() + 5);
        stored(&mut block, DICTIONARY);
        (self.inflate(&block, DICTIONARY.len() + 1)? == DICTIONARY).then_some(())
    }

    fn inflate(&mut self, mut packed: &[u8], most: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(1024.min(most));
        loop {
            let (was_in, was_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress_vec(packed, &mut out, FlushDecompress::Sync)
                .ok()?;
            let taken = usize::try_from(self.inflate.total_in() - was_in).ok()?;
            packed = &packed[taken..];
            let made = self.inflate.total_out() - was_out;
            if out.len() > most || status == Status::StreamEnd {
                return None;
            }
            if out.len() == out.capacity() {
                out.reserve(4096);
            } else if packed.is_empty() || (taken == 0 && made == 0) {
                return packed.is_empty().then_some(out);
            }
        }
    }
}

/// Packs what is sent: stored, not compressed, since it is a few bytes per stream.
pub(super) struct Packer {
    begun: bool,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self { begun: false }
    }

    /// One header block.
    pub(super) fn write(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut text = Vec::new();
        let number = |out: &mut Vec<u8>, n: usize| {
            out.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
        };
        number(&mut text, headers.len());
        for (name, value) in headers {
            for part in [name, value] {
                number(&mut text, part.len());
                text.extend_from_slice(part.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(text.len() + 11);
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&ZLIB);
            out.extend_from_slice(&adler32(DICTIONARY).to_be_bytes());
        }
        stored(&mut out, &text);
        // An empty block ends what belongs together: readers wait for more without it.
        out.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
        out
    }
}

// A block of deflate that holds its bytes as they are.
fn stored(out: &mut Vec<u8>, bytes: &[u8]) {
    for part in bytes.chunks(usize::from(u16::MAX)) {
        let length = part.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(part);
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let step = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    };
    let (a, b) = bytes.iter().fold((1, 0), step);
    b << 16 | a
}

fn parse(mut text: &[u8]) -> Option<Headers> {
    let number = |text: &mut &[u8]| -> Option<usize> {
        let (head, rest) = text.split_first_chunk::<4>()?;
        *text = rest;
        usize::try_from(u32::from_be_bytes(*head)).ok()
    };
    let pairs = number(&mut text).filter(|pairs| *pairs <= PAIRS)?;
    let mut headers = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let mut part = || -> Option<String> {
            let length = number(&mut text)?;
            let (part, rest) = text.split_at_checked(length)?;
            text = rest;
            String::from_utf8(part.to_vec()).ok()
        };
        headers.push((part()?, part()?));
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_come_back_and_share_one_stream() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        for headers in [
            vec![("streamtype", "error"), ("port", "80"), ("requestid", "0")],
            vec![],
            vec![("streamtype", "data")],
        ] {
            let read = unpacker.read(&packer.write(&headers)).expect("block");
            let read: Vec<_> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(read, headers);
        }
    }

    #[test]
    fn a_compressed_block_may_refer_to_the_dictionary() {
        // `streamtype: data`, as Go's zlib packs it with the dictionary.
        let compressed = {
            use flate2::{Compress, Compression, FlushCompress};
            let mut text = vec![0, 0, 0, 1, 0, 0, 0, 10];
            text.extend_from_slice(b"streamtype");
            text.extend_from_slice(&[0, 0, 0, 4]);
            text.extend_from_slice(b"data");
            let mut compress = Compress::new(Compression::best(), false);
            let mut out = Vec::with_capacity(4096);
            compress
                .compress_vec(DICTIONARY, &mut out, FlushCompress::Sync)
                .expect("dictionary");
            let begin = out.len();
            compress
                .compress_vec(&text, &mut out, FlushCompress::Sync)
                .expect("text");
            let mut whole = vec![0x78, 0xbb];
            whole.extend_from_slice(&adler32(DICTIONARY).to_be_bytes());
            whole.extend_from_slice(&out[begin..]);
            whole
        };
        let read = Unpacker::new().read(&compressed);
        assert_eq!(read, Some(vec![("streamtype".into(), "data".into())]));
    }

    #[test]
    fn bombs_are_refused() {
        use flate2::{Compress, Compression, FlushCompress};
        let mut compress = Compress::new(Compression::best(), false);
        let mut out = Vec::with_capacity(1 << 20);
        compress
            .compress_vec(&vec![0u8; 1 << 22], &mut out, FlushCompress::Sync)
            .expect("compressed");
        let mut whole = vec![0x78, 0xbb];
        whole.extend_from_slice(&adler32(DICTIONARY).to_be_bytes());
        whole.extend_from_slice(&out);
        assert_eq!(Unpacker::new().read(&whole), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut whole = vec![0x78, 0xbb];
            whole.extend_from_slice(&adler32(DICTIONARY).to_be_bytes());
            whole.extend_from_slice(&bytes);
            let _ = Unpacker::new().read(&whole);
            let _ = Unpacker::new().read(&bytes);
        }
    }
}
