//! Copies as bytes.

use proptest::prelude::*;
use towpath_query::promql::{Samples, stale};

use super::*;
use crate::bytes::Cursor;

fn samples() -> impl Strategy<Value = Samples> {
    let value = prop_oneof![
        8 => (0i32..1000).prop_map(f64::from),
        2 => (0i32..100_000).prop_map(|v| f64::from(v) / 100.0),
        1 => any::<f64>(),
        1 => Just(stale()),
    ];
    prop::collection::vec((1i64..100_000, value), 1..400).prop_map(|steps| {
        let mut out = Samples::default();
        let mut time = -7_000_000;
        for (step, value) in steps {
            time += step;
            out.push(time, value);
        }
        out
    })
}

proptest! {
    #[test]
    fn copies_round_trip(samples in samples(), level in 0usize..2) {
        let made = Buckets::of(&samples, RESOLUTIONS[level]);
        let mut out = Vec::new();
        put(&mut out, &made);
        let mut cursor = Cursor::new(&out);
        let got = get(&mut cursor).unwrap();
        prop_assert!(cursor.is_empty());
        // Numbers that are none are equal to nothing.
        prop_assert_eq!(format!("{got:?}"), format!("{made:?}"));
    }

    #[test]
    fn anything_can_be_read(bytes: Vec<u8>) {
        let _ = get(&mut Cursor::new(&bytes));
    }
}

#[test]
fn what_is_steady_is_small() {
    let mut steady = Samples::default();
    let mut counter = Samples::default();
    for at in 0..5760 {
        steady.push(at * 15_000, 42.0);
        counter.push(at * 15_000, (at * 3) as f64);
    }
    let size = |samples: &Samples| {
        let mut out = Vec::new();
        put(&mut out, &Buckets::of(samples, RESOLUTIONS[0]));
        zstd::bulk::compress(&out, 1).unwrap().len()
    };
    let (steady, counter) = (size(&steady), size(&counter));
    assert!(steady < 120 && counter < 250, "{steady} {counter}");
}
