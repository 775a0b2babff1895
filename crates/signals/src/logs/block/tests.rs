//! Blocks come back as they were, whatever lines are like.

use super::*;
use proptest::prelude::*;

type Row = (i64, String, Vec<(String, String)>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop_oneof![
        "level=(info|warn) took=[0-9]{1,4}ms id=[0-9a-f]{8}",
        "[ -~é\0]{0,30}",
        "user [a-z]{3} at 00[0-9]{3}",
        "2026-0[1-9]-[0-3][0-9]T0[0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}Z (a|b)",
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\\.",
    ];
    let metadata = prop::collection::vec(("[a-c]", "[a-z0-9é]{0,6}"), 0..3);
    prop::collection::vec((any::<i32>().prop_map(i64::from), text, metadata), 0..60)
}

fn check(rows: &[Row]) -> Result<(), TestCaseError> {
    let line = |(at, text, metadata): &'_ Row| (*at, text.clone(), metadata.clone());
    let mut wanted: Vec<Row> = rows.iter().map(line).collect();
    wanted.sort_by_key(|(at, ..)| *at);
    let mut lines: Vec<Line<'_>> = rows
        .iter()
        .map(|(at, text, metadata)| Line {
            at: *at,
            text,
            metadata,
        })
        .collect();
    let encoded = encode(&mut lines);
    let decoded = decode(&encoded.bytes).expect("a block");
    prop_assert_eq!(decoded.len(), wanted.len());
    let mut metadata = Vec::new();
    for (at, (time, text, own)) in wanted.iter().enumerate() {
        decoded.metadata(at, &mut metadata);
        prop_assert_eq!(decoded.times[at], *time);
        prop_assert_eq!(decoded.line(at), text);
        let own: Vec<_> = own.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        prop_assert_eq!(&metadata, &own);
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c.is_ascii()) {
            let found = may_contain(&encoded.bytes, &[word.as_bytes()]);
            prop_assert_eq!(found, Some(true), "{:?} in {:?}", word, text);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn blocks_round_trip(rows in rows()) {
        check(&rows)?;
    }

    #[test]
    fn damage_is_no_panic(rows in rows(), at: prop::sample::Index, bit in 0u8..8) {
        let mut lines: Vec<Line<'_>> = rows
            .iter()
            .map(|(at, text, metadata)| Line { at: *at, text, metadata })
            .collect();
        let mut bytes = encode(&mut lines).bytes;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = decode(&bytes);
        let _ = may_contain(&bytes, &[b"deadbeefdeadbeef"]);
    }

    #[test]
    fn anything_can_be_unpacked(version in 1u8..3, payload: Vec<u8>, raw: Vec<u8>) {
        let mut bytes = vec![version];
        put_uvarint(&mut bytes, payload.len() as u64);
        let packed = zstd::bulk::compress(&payload, 1).expect("packed");
        if version == FIRST {
            bytes.extend(packed);
        } else {
            put_bytes(&mut bytes, &packed);
            bytes.extend(raw);
        }
        let _ = decode(&bytes);
        let _ = may_contain(&bytes, &[b"deadbeefdeadbeef"]);
    }

    #[test]
    fn heads_that_are_changed_are_no_panic(
        rows in rows(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut lines: Vec<Line<'_>> = rows
            .iter()
            .map(|(at, text, metadata)| Line { at: *at, text, metadata })
            .collect();
        let bytes = encode(&mut lines).bytes;
        let mut cursor = crate::bytes::Cursor::new(&bytes[1..]);
        let length = cursor.uvarint().expect("a length") as usize;
        let packed = cursor.bytes().expect("a head");
        let mut head = zstd::bulk::decompress(packed, length).expect("unpacked");
        for (at, value) in changes {
            let at = at.index(head.len());
            head[at] = value;
        }
        let mut changed = vec![VERSION];
        put_uvarint(&mut changed, head.len() as u64);
        put_bytes(&mut changed, &zstd::bulk::compress(&head, 1).expect("packed"));
        changed.extend_from_slice(cursor.rest());
        let _ = decode(&changed);
        let _ = may_contain(&changed, &[b"deadbeefdeadbeef"]);
    }
}

#[test]
fn too_many_templates_are_kept_whole() {
    let letter = |at: usize| (b'a' + (at % 26) as u8) as char;
    let rows: Vec<Row> = (0..3000)
        .map(|at| {
            let word: String = [at, at / 26, at / 676].iter().map(|n| letter(*n)).collect();
            (at as i64, format!("{word} {at}"), Vec::new())
        })
        .collect();
    check(&rows).expect("round trip");
}

#[test]
fn identifiers_and_times_take_what_they_tell() {
    let spread = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at << 37;
    let rows: Vec<Row> = (0..2000u64)
        .map(|at| {
            let text = format!(
                "{{\"time\":\"2026-01-02T03:04:{:02}.{:06}Z\",\"status\":{},\"id\":\"{:016x}\"}}",
                at / 100 % 60,
                at * 10_000 % 1_000_000,
                [200, 500][at as usize % 2],
                spread(at)
            );
            let level = vec![("level".to_owned(), "info".to_owned())];
            (
                1_780_000_000_000_000_000 + at as i64 * 10_000_000,
                text,
                level,
            )
        })
        .collect();
    check(&rows).expect("round trip");
    let mut lines: Vec<Line<'_>> = rows
        .iter()
        .map(|(at, text, metadata)| Line {
            at: *at,
            text,
            metadata,
        })
        .collect();
    let encoded = encode(&mut lines);
    assert!(
        encoded.bytes.len() < 2000 * 8 + 1000,
        "{}",
        encoded.bytes.len()
    );
    assert!(encoded.make.lean);
}

#[test]
fn lines_of_nothing_and_of_everything() {
    let huge = "word 12 ".repeat(30_000);
    let rows: Vec<Row> = ["", "", &huge, "\0", "", &huge]
        .into_iter()
        .map(|text| (0, text.to_owned(), Vec::new()))
        .collect();
    check(&rows).expect("round trip");
    check(&[]).expect("round trip");
}
