//! Protobuf, written. Fields with the value a reader assumes anyway are left out, as proto3 does.

/// A message that grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Put {
    out: Vec<u8>,
}

impl Put {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn clear(&mut self) {
        self.out.clear();
    }

    fn tag(&mut self, field: u32, kind: u8) {
        varint(&mut self.out, u64::from(field) << 3 | u64::from(kind));
    }

    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, 0);
            varint(&mut self.out, value);
        }
    }

    pub(crate) fn int(&mut self, field: u32, value: i64) {
        self.uint(field, value as u64);
    }

    pub(crate) fn zigzag(&mut self, field: u32, value: i64) {
        self.uint(field, zigzag(value));
    }

    /// Also zero: of a choice of fields it says which one was made.
    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.tag(field, 1);
        self.out.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub(crate) fn data(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        varint(&mut self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, field: u32, value: &str) {
        self.data(field, value.as_bytes());
    }

    pub(crate) fn message(&mut self, field: u32, message: &Put) {
        self.data(field, &message.out);
    }

    pub(crate) fn uints(&mut self, field: u32, values: impl IntoIterator<Item = u64>) {
        let mut packed = Vec::new();
        values
            .into_iter()
            .for_each(|value| varint(&mut packed, value));
        if !packed.is_empty() {
            self.data(field, &packed);
        }
    }

    pub(crate) fn doubles(&mut self, field: u32, values: impl IntoIterator<Item = f64>) {
        let packed: Vec<u8> = values
            .into_iter()
            .flat_map(|value| value.to_bits().to_le_bytes())
            .collect();
        if !packed.is_empty() {
            self.data(field, &packed);
        }
    }

    /// Adds fields that were written elsewhere.
    pub(crate) fn fields(&mut self, written: &[u8]) {
        self.out.extend_from_slice(written);
    }
}

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::Reader;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(a: i64, b: i64, c: f64, d: Vec<u8>, e: Vec<u64>, f: Vec<f64>) {
            let mut put = Put::default();
            put.int(1, a);
            put.zigzag(2, b);
            put.double(300, c);
            put.data(4, &d);
            put.uints(5, e.iter().copied());
            put.doubles(6, f.iter().copied());
            let (mut got_e, mut got_f) = (Vec::new(), Vec::new());
            let mut reader = Reader::new(put.bytes());
            while let Some(field) = reader.next().unwrap() {
                match field.number {
                    1 => prop_assert_eq!(field.int().unwrap(), a),
                    2 => prop_assert_eq!(field.zigzag().unwrap(), b),
                    300 => prop_assert_eq!(field.double().unwrap().to_bits(), c.to_bits()),
                    4 => prop_assert_eq!(field.bytes().unwrap(), &d[..]),
                    5 => field.varints(|value| got_e.push(value)).unwrap(),
                    _ => field.doubles(|value| got_f.push(value.to_bits())).unwrap(),
                }
            }
            prop_assert_eq!(got_e, e);
            prop_assert_eq!(got_f, f.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
    }
}
