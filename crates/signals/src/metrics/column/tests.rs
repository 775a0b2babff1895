//! Columns of samples against the samples themselves.

use super::*;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1000i32..1000).prop_map(f64::from),
        3 => (0i32..100_000).prop_map(|v| f64::from(v) / 100.0),
        1 => any::<f64>(),
        1 => (0i64..1 << 40).prop_map(|v| (v * 4096) as f64),
        1 => prop_oneof![Just(towpath_query::promql::stale()), Just(-0.0), Just(f64::INFINITY)],
    ]
}

fn check(times: &[i64], values: &[f64]) -> usize {
    let mut out = Vec::new();
    put(&mut out, times, values);
    let mut back = Samples::default();
    let mut cursor = Cursor::new(&out);
    read(&mut cursor, Wanted::all(i64::MIN, i64::MAX), &mut back).unwrap();
    assert!(cursor.is_empty());
    assert_eq!(back.times, times);
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back.values), bits(values));
    out.len()
}

#[test]
fn what_is_regular_is_small() {
    let times: Vec<i64> = (0..480).map(|at| 1_700_000_000_000 + at * 15_000).collect();
    assert!(check(&times, &vec![1.0; 480]) < 30);
    let steady: Vec<f64> = (0..480).map(|at| f64::from(at) * 0.25 + 7.0).collect();
    assert!(check(&times, &steady) < 520);
    let pages: Vec<f64> = (0..480)
        .map(|at| f64::from(at % 7 + 1_000_000) * 4096.0)
        .collect();
    assert!(check(&times, &pages) < 520);
}

proptest! {
    #[test]
    fn round_trip(mixed in prop::collection::vec((1i64..100_000, value()), 1..300)) {
        let mut time = -77;
        let (times, values): (Vec<i64>, Vec<f64>) = mixed
            .into_iter()
            .map(|(step, value)| {
                time += step;
                (time, value)
            })
            .unzip();
        check(&times, &values);
    }

    #[test]
    fn decimals_round_trip(values in prop::collection::vec((0i64..1 << 45).prop_map(|v| v as f64 / 1000.0), 1..300)) {
        let times: Vec<i64> = (0..values.len() as i64).collect();
        check(&times, &values);
    }

    #[test]
    fn what_is_wanted_is_read(
        mixed in prop::collection::vec((1i64..60_000, value()), 1..300),
        stride in prop_oneof![Just(None), (1i64..40_000).prop_map(Some)],
        start in -100_000i64..6_000_000,
        length in -10i64..6_000_000,
        step in prop_oneof![Just(0i64), 1i64..200_000],
    ) {
        let mut time = -77;
        let (times, values): (Vec<i64>, Vec<f64>) = mixed
            .into_iter()
            .map(|(step, value)| {
                time += stride.unwrap_or(step);
                (time, value)
            })
            .unzip();
        let mut out = Vec::new();
        put(&mut out, &times, &values);
        let wanted = Wanted { start, end: start + length, step };
        let mut found = Samples::default();
        found.push(i64::MIN, 0.5);
        read(&mut Cursor::new(&out), wanted, &mut found).unwrap();
        prop_assert_eq!(found.values[0], 0.5);
        let found: Vec<_> = found.iter().skip(1).map(|(t, v)| (t, v.to_bits())).collect();
        let all: Vec<_> = times.iter().zip(&values).map(|(t, v)| (*t, v.to_bits())).collect();
        let within = |(time, _): &&(i64, u64)| *time >= start && *time <= wanted.end;
        let all: Vec<_> = all.iter().filter(within).copied().collect();
        if step == 0 {
            prop_assert_eq!(found, all);
        } else {
            // None that was not there, in order, and the newest one at every evaluation.
            prop_assert!(found.iter().all(|one| all.contains(one)));
            prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0));
            let newest = |of: &[(i64, u64)], at: i64| of.iter().rfind(|(t, _)| *t <= at).copied();
            let mut at = wanted.end;
            while at >= start {
                prop_assert_eq!(newest(&found, at), newest(&all, at));
                at -= step.max(length / 50);
                at = wanted.end - (wanted.end - at) / step * step;
            }
        }
    }

    #[test]
    fn anything_can_be_read(bytes: Vec<u8>, step in 0i64..100_000) {
        let wanted = Wanted { start: -5, end: i64::MAX, step };
        let _ = read(&mut Cursor::new(&bytes), wanted, &mut Samples::default());
        let mut out = Samples::default();
        let _ = read(&mut Cursor::new(&bytes), Wanted::all(i64::MIN, i64::MAX), &mut out);
        prop_assert!(out.len() <= MOST);
    }
}
