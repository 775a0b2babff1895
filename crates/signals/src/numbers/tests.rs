//! Numbers come back as they were, in about the room that they tell.

use super::*;
use proptest::prelude::*;

fn back(values: &[i64]) -> Option<Vec<i64>> {
    let mut out = Sections::new();
    encode(&mut out, values);
    let (mut head, mut raw) = (Cursor::new(&out.head), Cursor::new(&out.raw));
    let read = Numbers::read(&mut head, &mut raw, values.len())?.values();
    assert!(head.is_empty() && raw.is_empty());
    read
}

proptest! {
    #[test]
    fn numbers_round_trip(
        values in prop_oneof![
            prop::collection::vec(any::<i64>(), 0..200),
            prop::collection::vec(0i64..5, 0..200),
            prop::collection::vec(-70_000i64..90_000, 0..200),
            prop::collection::vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0)], 0..200),
            prop::collection::vec(0i64..300, 0..2000),
        ],
        steps: bool,
    ) {
        let mut values = values;
        if steps {
            let mut sum = 0i64;
            for value in &mut values {
                sum = sum.wrapping_add(*value);
                *value = sum;
            }
        }
        prop_assert_eq!(back(&values), Some(values));
    }

    #[test]
    fn anything_can_be_read(head: Vec<u8>, raw: Vec<u8>, count in 0usize..1000) {
        let (mut head, mut raw) = (Cursor::new(&head), Cursor::new(&raw));
        if let Some(numbers) = Numbers::read(&mut head, &mut raw, count) {
            let _ = numbers.values();
        }
    }
}

#[test]
fn numbers_take_what_they_tell() {
    let spread = |at: i64| {
        let at = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (at ^ at >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
    };
    let values: Vec<i64> = (0..5000).map(|at| (spread(at) % 90_000) as i64).collect();
    let mut out = Sections::new();
    encode(&mut out, &values);
    // 16.46 bits each.
    let bytes = out.head.len() + out.raw.len();
    assert!(bytes < 10_500, "{bytes}");
    let mut out = Sections::new();
    let steady: Vec<i64> = (0..5000)
        .map(|at| 1_780_000_000_000 + at * 1_178_571)
        .collect();
    encode(&mut out, &steady);
    assert!(out.head.len() + out.raw.len() < 40);
}
