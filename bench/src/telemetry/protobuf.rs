//! Messages of the wire, written by hand: the client shall cost little beside the servers.

/// A message that grows.
#[derive(Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    pub fn number(&mut self, field: u32, number: u64) -> &mut Self {
        self.key(field, 0);
        self.varint(number);
        self
    }

    pub fn fixed(&mut self, field: u32, bits: u64) -> &mut Self {
        self.key(field, 1);
        self.0.extend_from_slice(&bits.to_le_bytes());
        self
    }

    pub fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(&mut self, field: u32, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(&mut self, field: u32, inner: &Message) -> &mut Self {
        self.bytes(field, &inner.0)
    }
}

/// Packed as senders of remote write and of log lines do.
pub fn snappy(bytes: &[u8]) -> anyhow::Result<bytes::Bytes> {
    Ok(snap::raw::Encoder::new().compress_vec(bytes)?.into())
}
