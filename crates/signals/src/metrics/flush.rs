//! From the head into a segment.

use std::io;
use std::path::Path;

use towpath_query::promql::NAME;

use super::chunk::Found;
use super::segment::{Summary, Writer, key};
use super::store::Store;
use crate::segment::SEPARATOR;

/// Writes all samples of the head before `boundary`; none if there are none. The file is there in
/// both cases.
pub(crate) fn write(
    store: &Store,
    path: &Path,
    boundary: i64,
) -> io::Result<Option<(u64, Summary)>> {
    let mut writer = Writer::create(path)?;
    for ids in by_name(store) {
        // One metric at a time: the keys of all would take much memory.
        let mut series = Vec::with_capacity(ids.len());
        for id in ids {
            let any = store.head.with(id, |series| {
                series.packed.min().is_some_and(|min| min < boundary)
            });
            if any == Some(true)
                && let Some(labels) = store.head.labels(id)
            {
                series.push((key(&labels), id, labels));
            }
        }
        series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (key, id, labels) in series {
            let mut found = Found::default();
            let from = store.truncated.load(std::sync::atomic::Ordering::Acquire);
            let read = store.head.with(id, |series| {
                series.packed.read(from, boundary - 1, &mut found)
            });
            if read == Some(None) {
                tracing::error!(series = %labels, "a chunk in memory is damaged");
            }
            writer.series(key, labels, &found)?;
        }
    }
    let (bytes, summary) = writer.finish()?;
    Ok((summary.samples > 0).then_some((bytes, summary)))
}

/// The series of the head by metric name, in the order of their keys.
fn by_name(store: &Store) -> Vec<Vec<u32>> {
    let registry = store.head.registry.read_recursive();
    let mut names: Vec<Vec<u8>> = registry
        .values(NAME)
        .map(|(name, _)| {
            let mut key = name.as_bytes().to_vec();
            key.push(SEPARATOR);
            key
        })
        .collect();
    names.sort_unstable();
    let list = |name: &[u8]| {
        let name = std::str::from_utf8(&name[..name.len() - 1]).unwrap_or_default();
        registry.postings(NAME, name).to_vec()
    };
    let mut out: Vec<Vec<u32>> = names.iter().map(|name| list(name)).collect();
    // Those without a name come last, as their keys do.
    let named: usize = out.iter().map(Vec::len).sum();
    if named < registry.ids().len() {
        let mut known: Vec<u32> = out.iter().flatten().copied().collect();
        known.sort_unstable();
        let nameless = registry.ids().iter().copied();
        out.push(
            nameless
                .filter(|id| known.binary_search(id).is_err())
                .collect(),
        );
    }
    out
}
