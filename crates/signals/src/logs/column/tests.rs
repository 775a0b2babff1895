//! Columns come back as they were, and nothing makes reading them panic.

use super::*;
use crate::numbers::Sections;
use proptest::prelude::*;

fn check(texts: &[String], at: Option<i64>) -> Result<(), TestCaseError> {
    let mut column = Texts::default();
    for text in texts {
        match at {
            Some(at) => column.push_time(text.as_bytes(), at),
            None => column.push(text.as_bytes()),
        }
    }
    let mut out = Sections::new();
    encode(&mut out, &column);
    let (mut head, mut raw) = (Cursor::new(&out.head), Cursor::new(&out.raw));
    let read = Column::read(&mut head, &mut raw, texts.len()).expect("a column");
    prop_assert!(head.is_empty() && raw.is_empty());
    for text in texts {
        prop_assert!(text.contains('-') || read.may_contain(text.as_bytes()));
    }
    let cells = read.unpack(&mut 100_000).expect("cells");
    for (place, text) in texts.iter().enumerate() {
        let mut back = Vec::new();
        cells
            .write(place, at.unwrap_or(0), &mut back)
            .expect("a text");
        prop_assert_eq!(String::from_utf8_lossy(&back), text.as_str());
    }
    Ok(())
}

proptest! {
    #[test]
    fn columns_round_trip(
        texts in prop_oneof![
            prop::collection::vec("[0-9]{1,3}", 0..60),
            prop::collection::vec("[0-9]{4}", 0..60),
            prop::collection::vec("[a-z0-9]{0,4}", 0..60),
            prop::collection::vec("[ab]{2}", 0..60),
            prop::collection::vec("[0-9]{17,20}", 0..60),
            prop::collection::vec("[0-9a-f]{9}", 0..60),
            prop::collection::vec("[0-9A-F]{16}", 0..60),
            prop::collection::vec("v[0-9]{1,2}ms", 0..60),
            prop::collection::vec("é?[0-9]{1,2}é", 0..60),
            prop::collection::vec("[12]{6}", 0..600),
            prop::collection::vec("[a-z]{30}", 0..20),
        ],
    ) {
        check(&texts, None)?;
    }

    #[test]
    fn times_round_trip(
        texts in prop_oneof![
            prop::collection::vec("20[0-9]{2}-0[1-9]-[12][0-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z", 0..60),
            prop::collection::vec("20[0-9]{2}-0[1-9]-[12][0-9] [01][0-9]:[0-5][0-9]:[0-5][0-9],[0-9]{3}", 0..60),
            prop::collection::vec("20[0-9]{2}-0[1-9]-[0-3][0-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{2})?Z?", 0..60),
        ],
        at: i64,
    ) {
        check(&texts, Some(at))?;
    }

    #[test]
    fn anything_can_be_read(head: Vec<u8>, raw: Vec<u8>, count in 0usize..1000) {
        let mut out = Vec::new();
        let (mut head, mut raw) = (Cursor::new(&head), Cursor::new(&raw));
        if let Some(column) = Column::read(&mut head, &mut raw, count) {
            let _ = column.may_contain(b"4bf92f3577b34da6");
            if let Some(cells) = column.unpack(&mut 10_000) {
                for place in 0..count {
                    let _ = cells.write(place, 0, &mut out);
                }
            }
        }
    }
}

#[test]
fn identifiers_are_bytes() {
    let mut texts = Texts::default();
    for at in 0..1000u64 {
        let spread = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at << 40;
        texts.push(format!("{spread:016x}").as_bytes());
    }
    let mut out = Sections::new();
    encode(&mut out, &texts);
    assert_eq!(out.raw.len(), 8000);
    let uuid = "550e8400-e29b-41d4-a716-4466554400";
    let texts: Vec<String> = (10..99).map(|at| format!("{uuid}{at}")).collect();
    check(&texts, None).expect("round trip");
}
