//! Metrics that others left as files: every `*.prom` of one directory, in the text format.
//!
//! A file that cannot be read or breaks the format costs its own metrics and sets
//! `node_textfile_scrape_error`; so does one with timestamps, since what is old would look new.

use super::files::{Error, names};
use super::{Kind, NodeExporter, Sink};
use crate::family::{Family, Sample, Text};
use crate::wire::{self, Entry, Format, Parser, Wishes};
use std::collections::BTreeMap;
use std::path::Path;
use towpath_query::promql::NAME;
use towpath_stdx::bounded;

const FILE_BYTES: u64 = 4 << 20;
const FILES: usize = 256;
/// Of all files together.
const SAMPLES: usize = 50_000;

pub(super) fn collect(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut times = Vec::new();
    let mut failed = false;
    if let Some(dir) = &node.config.textfiles {
        let files = names(dir)
            .into_iter()
            .filter(|name| name.ends_with(".prom"));
        let mut left = SAMPLES;
        for name in files.take(FILES) {
            let path = dir.join(&name);
            match read(&path, left) {
                Ok(found) => {
                    left -= found.values().map(|f| f.samples.len()).sum::<usize>();
                    times.push((path.display().to_string(), modified(&path)));
                    merge(&mut families, found);
                }
                Err(why) => {
                    tracing::warn!(file = %path.display(), why, "metrics of a file are left out");
                    failed = true;
                }
            }
        }
    }
    for family in families.into_values() {
        sink.put(family);
    }
    sink.family(
        "node_textfile_mtime_seconds",
        Kind::Gauge,
        "Unixtime mtime of textfiles successfully read.",
    );
    for (file, modified) in &times {
        if let Some(modified) = modified {
            sink.sample(&[("file", file)], *modified);
        }
    }
    sink.single(
        "node_textfile_scrape_error",
        Kind::Gauge,
        "1 if there was an error opening or reading a file, 0 otherwise",
        f64::from(u8::from(failed)),
    );
    Ok(())
}

fn modified(path: &Path) -> Option<f64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path)
        .ok()
        .map(|about| about.mtime() as f64)
}

fn merge(families: &mut BTreeMap<String, Family>, found: BTreeMap<String, Family>) {
    for (name, family) in found {
        match families.get_mut(&name) {
            Some(there) => there.samples.extend(family.samples),
            None => drop(families.insert(name, family)),
        }
    }
}

fn read(path: &Path, most: usize) -> Result<BTreeMap<String, Family>, String> {
    let bytes = bounded::read_file(path, FILE_BYTES).map_err(|error| error.to_string())?;
    let mut parser = Parser::new(&bytes, Format::Text, Wishes::default());
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut samples = 0;
    while let Some(entry) = parser.next().map_err(|error| error.to_string())? {
        match entry {
            Entry::Kind(name, kind) => family(&mut families, name).kind = known(kind),
            Entry::Help(name, help) => family(&mut families, name).help = help.into(),
            Entry::Series => {
                samples += 1;
                if samples > most {
                    return Err(format!("more than {SAMPLES} samples"));
                }
                let point = parser.point();
                if point.at.is_some() {
                    return Err("a sample has a timestamp".into());
                }
                let value = point.value;
                let labels = parser.labels().map_err(|error| error.to_string())?;
                add(&mut families, &labels, value);
            }
            Entry::Unit(..) | Entry::Comment | Entry::Histogram => {}
        }
    }
    families.retain(|_, family| !family.samples.is_empty());
    Ok(families)
}

fn family(families: &mut BTreeMap<String, Family>, name: String) -> &mut Family {
    families
        .entry(name.clone())
        .or_insert_with(|| Family::new(Kind::Unknown, name, ""))
}

fn known(kind: wire::Kind) -> Kind {
    match kind.name() {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => Kind::Unknown,
    }
}

// Buckets, sums and counts belong to the family they are named after.
fn add(
    families: &mut BTreeMap<String, Family>,
    labels: &towpath_query::promql::Labels,
    value: f64,
) {
    let name = labels.get(NAME);
    let of = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| {
            let base = name.strip_suffix(suffix)?;
            let kind = families.get(base)?.kind;
            matches!(kind, Kind::Histogram | Kind::Summary).then(|| (base.to_string(), suffix))
        });
    let (name, suffix) = of.unwrap_or_else(|| (name.to_string(), ""));
    let own = labels.iter().filter(|(name, _)| *name != NAME);
    let labels = own
        .map(|(name, value)| (Text::Owned(name.into()), Text::Owned(value.into())))
        .collect();
    family(families, name).samples.push(Sample {
        suffix,
        labels,
        value,
        at: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::node::NodeConfig;

    #[test]
    fn a_bad_file_costs_its_own_metrics() {
        let dir = tempfile::tempdir().expect("directory");
        let put = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("write");
        };
        put(
            "good.prom",
            "# HELP backup_seconds Took.\n# TYPE backup_seconds histogram\n\
             backup_seconds_bucket{le=\"1\"} 1\nbackup_seconds_bucket{le=\"+Inf\"} 2\n\
             backup_seconds_sum 3\nbackup_seconds_count 2\nplain{a=\"b\"} 7\n",
        );
        put("more.prom", "plain{a=\"c\"} 8\n");
        put("bad.prom", "what is this\n");
        put("timed.prom", "old 1 1600000000000\n");
        put("other.txt", "other 1\n");
        let exporter = NodeExporter::new(NodeConfig {
            textfiles: Some(dir.path().to_path_buf()),
            ..NodeConfig::default()
        });
        let mut sink = Sink::default();
        collect(&exporter, &mut sink).expect("collect");
        let page = crate::family::text(&sink.finish());
        for line in [
            "# TYPE backup_seconds histogram",
            "backup_seconds_bucket{le=\"+Inf\"} 2",
            "backup_seconds_sum 3",
            "plain{a=\"b\"} 7",
            "plain{a=\"c\"} 8",
            "node_textfile_scrape_error 1",
        ] {
            assert!(page.lines().any(|own| own == line), "{line} in {page}");
        }
        assert!(!page.contains("old ") && !page.contains("other "));
        assert_eq!(page.matches("# TYPE plain").count(), 1);
        assert_eq!(page.matches("node_textfile_mtime_seconds{").count(), 2);
    }
}
