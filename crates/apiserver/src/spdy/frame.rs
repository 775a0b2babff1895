//! Frames of SPDY/3.1, as far as streams of containers use them.

use super::headers::{Headers, Packer, Unpacker};
use bytes::{Buf, Bytes, BytesMut};

/// A longer frame ends the connection; clients send at most what they read at once.
const FRAME_BYTES: usize = 1 << 20;
const VERSION: u16 = 3;
const FIN: u8 = 1;

/// What the other side sends. Flow control is not used: the peers of this protocol ignore it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A new stream; `last` where nothing will come on it.
    Stream {
        id: u32,
        headers: Headers,
        last: bool,
    },
    Data {
        id: u32,
        bytes: Bytes,
        last: bool,
    },
    /// The stream is given up.
    Reset(u32),
    Ping(u32),
    /// No more streams will come.
    GoAway,
    /// Settings, windows, replies: nothing follows from them here.
    Other,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// A stream is accepted.
    Reply(u32),
    Data {
        id: u32,
        bytes: Bytes,
        last: bool,
    },
    /// A stream is refused or given up.
    Reset(u32),
    Ping(u32),
}

/// The bytes are no SPDY.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Frames out of bytes as they come.
pub(super) struct Decoder {
    buffer: BytesMut,
    unpacker: Unpacker,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            unpacker: Unpacker::new(),
        }
    }

    /// Where the next bytes go.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Received>, Malformed> {
        let Some(head) = self.buffer.first_chunk::<8>() else {
            return Ok(None);
        };
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if length > FRAME_BYTES {
            return Err(Malformed);
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let body = self.buffer.split_to(length).freeze();
        let last = flags & FIN != 0;
        if word >> 31 == 0 {
            return Ok(Some(Received::Data {
                id: word,
                bytes: body,
                last,
            }));
        }
        if (word >> 16) as u16 & 0x7fff != VERSION {
            return Err(Malformed);
        }
        self.control(word as u16, last, &body).map(Some)
    }

    fn control(&mut self, kind: u16, last: bool, body: &[u8]) -> Result<Received, Malformed> {
        let id = || {
            let (id, _) = body.split_first_chunk::<4>().ok_or(Malformed)?;
            Ok(u32::from_be_bytes(*id) & 0x7fff_ffff)
        };
        Ok(match kind {
            1 => {
                let block = body.get(10..).ok_or(Malformed)?;
                Received::Stream {
                    id: id()?,
                    headers: self.unpacker.read(block).ok_or(Malformed)?,
                    last,
                }
            }
            3 => Received::Reset(id()?),
            6 => Received::Ping(
                body.first_chunk::<4>()
                    .map_or(0, |id| u32::from_be_bytes(*id)),
            ),
            7 => Received::GoAway,
            // Its block is part of the one compressed stream and must be read.
            8 => {
                let block = body.get(4..).ok_or(Malformed)?;
                self.unpacker.read(block).ok_or(Malformed)?;
                Received::Other
            }
            _ => Received::Other,
        })
    }
}

/// Bytes out of frames.
pub(super) struct Encoder(Packer);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(Packer::new())
    }

    /// Head and body of a frame.
    pub(super) fn write(&mut self, frame: Sent) -> (Bytes, Bytes) {
        let control = |kind: u16, body: &[u8]| {
            let mut out = Vec::with_capacity(8 + body.len());
            out.extend_from_slice(&(VERSION | 0x8000).to_be_bytes());
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&(body.len() as u32).to_be_bytes());
            out.extend_from_slice(body);
            (Bytes::from(out), Bytes::new())
        };
        match frame {
            Sent::Reply(id) => {
                let mut body = id.to_be_bytes().to_vec();
                body.extend_from_slice(&self.0.write(&[]));
                control(2, &body)
            }
            Sent::Reset(id) => {
                // 3: the stream is refused.
                control(3, &[id.to_be_bytes(), 3u32.to_be_bytes()].concat())
            }
            Sent::Ping(id) => control(6, &id.to_be_bytes()),
            Sent::Data { id, bytes, last } => {
                let mut head = Vec::with_capacity(8);
                head.extend_from_slice(&id.to_be_bytes());
                let length = (bytes.len() as u32) & 0x00ff_ffff;
                head.extend_from_slice(&(length | u32::from(last) << 24).to_be_bytes());
                (Bytes::from(head), bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn syn_stream(packer: &mut Packer, id: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let block = packer.write(headers);
        let mut out = vec![0x80, 3, 0, 1];
        out.extend_from_slice(&(10 + block.len() as u32).to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&block);
        out
    }

    #[test]
    fn frames_come_whole_however_the_bytes_come() {
        let mut packer = Packer::new();
        let mut bytes = syn_stream(&mut packer, 1, &[("streamtype", "error")]);
        bytes.extend(syn_stream(&mut packer, 3, &[("streamtype", "data")]));
        bytes.extend([0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
        bytes.extend([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7]);
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        for byte in bytes {
            decoder.buffer().extend_from_slice(&[byte]);
            found.extend(decoder.next().expect("frame"));
        }
        let stream = |id, kind: &str| Received::Stream {
            id,
            headers: vec![("streamtype".into(), kind.into())],
            last: false,
        };
        let data = Received::Data {
            id: 3,
            bytes: Bytes::from("hi"),
            last: true,
        };
        assert_eq!(
            found,
            [
                stream(1, "error"),
                stream(3, "data"),
                data,
                Received::Ping(7)
            ]
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new();
        let sent = Sent::Data {
            id: 5,
            bytes: Bytes::from("x"),
            last: true,
        };
        for frame in [Sent::Reply(5), sent, Sent::Reset(5), Sent::Ping(1)] {
            let (head, body) = encoder.write(frame);
            decoder.buffer().extend_from_slice(&head);
            decoder.buffer().extend_from_slice(&body);
        }
        let mut found = Vec::new();
        while let Some(frame) = decoder.next().expect("frame") {
            found.push(frame);
        }
        let data = Received::Data {
            id: 5,
            bytes: Bytes::from("x"),
            last: true,
        };
        assert_eq!(
            found,
            [Received::Other, data, Received::Reset(5), Received::Ping(1)]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::new();
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
