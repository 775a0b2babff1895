//! Lines in the log on the disk: labels of the stream, then its lines.

use towpath_query::promql::Labels;

use super::push::Line;
use crate::bytes::{Cursor, put_bytes, put_uvarint, put_varint};

/// The kind of record; others are for the future.
const LINES: u8 = 1;

/// Writes lines of one stream.
pub(super) fn encode(labels: &Labels, lines: &[Line]) -> Vec<u8> {
    let bytes: usize = lines.iter().map(|line| line.text.len() + 24).sum();
    let mut out = Vec::with_capacity(bytes + 256);
    out.push(LINES);
    put_labels(&mut out, labels);
    put_uvarint(&mut out, lines.len() as u64);
    for line in lines {
        put_varint(&mut out, line.at);
        put_bytes(&mut out, line.text.as_bytes());
        put_uvarint(&mut out, line.metadata.len() as u64);
        for (name, value) in &line.metadata {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
    }
    out
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Option<(Labels, Vec<Line>)> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u8()? != LINES {
        return None;
    }
    let labels = labels(&mut cursor)?;
    let count = cursor.count()?;
    let mut lines = Vec::with_capacity(count);
    for _ in 0..count {
        let at = cursor.varint()?;
        let text = cursor.text()?.to_owned();
        let pairs = cursor.count()?;
        let mut metadata = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            metadata.push((cursor.text()?.to_owned(), cursor.text()?.to_owned()));
        }
        lines.push(Line { at, text, metadata });
    }
    Some((labels, lines))
}

pub(super) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_uvarint(out, labels.iter().count() as u64);
    for (name, value) in labels.iter() {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

pub(super) fn labels(cursor: &mut Cursor<'_>) -> Option<Labels> {
    let count = cursor.count()?;
    let pairs = (0..count).map(|_| Some((cursor.text()?, cursor.text()?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip(at: i64, text in "\\PC{0,20}", value in "[a-z]{1,3}") {
            let labels: Labels = [("app", value.as_str())].into_iter().collect();
            let line = Line { at, text, metadata: vec![("a".to_owned(), value.clone())] };
            let lines = vec![line.clone(), Line { metadata: Vec::new(), ..line }];
            prop_assert_eq!(decode(&encode(&labels, &lines)), Some((labels, lines)));
        }

        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
