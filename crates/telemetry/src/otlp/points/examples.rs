//! Exemplars of points: single measurements, most often with the trace they were made in.

use super::super::message::{Exemplar as Told, exemplar};
use super::{labels, ms};
use towpath_query::promql::Labels;
use towpath_signals::Exemplar;

/// The most characters of an exemplar's labels, names included: the format's own limit.
const CHARACTERS_MAX: usize = 128;
/// Exemplars of one point that are kept.
const KEPT: usize = 64;

/// The exemplars of a point of that time, in the store's form, oldest first.
pub(super) fn read(told: &[Told], point_ms: i64) -> Vec<Exemplar> {
    let mut out: Vec<Exemplar> = told
        .iter()
        .take(KEPT)
        .filter_map(|one| {
            let value = match one.value? {
                exemplar::Value::AsDouble(n) => n,
                exemplar::Value::AsInt(n) => n as f64,
            };
            let at = match one.time_unix_nano {
                0 => point_ms,
                told => ms(told),
            };
            Some(Exemplar {
                labels: named(one),
                value,
                at,
            })
        })
        .collect();
    out.sort_by_key(|one| one.at);
    out
}

// The trace comes first: what does not fit is left out.
fn named(one: &Told) -> Labels {
    let ids = [("trace_id", &one.trace_id), ("span_id", &one.span_id)];
    let ids = ids
        .into_iter()
        .filter(|(_, id)| !id.is_empty())
        .map(|(name, id)| (name.to_string(), towpath_stdx::id::hex(id)));
    let mut left = CHARACTERS_MAX;
    ids.chain(labels(&one.filtered_attributes))
        .filter(|(name, value)| {
            let length = name.chars().count() + value.chars().count();
            let fits = length <= left;
            if fits {
                left -= length;
            }
            fits
        })
        .collect()
}
