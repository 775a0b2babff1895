//! The machine's exporter over trees of files written by hand, and beside the real program.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use towpath_kit::traits::ClockState;
use towpath_telemetry::exporters::Sink;
use towpath_telemetry::exporters::node::{NodeConfig, NodeExporter, Roots};
use towpath_telemetry::family::{self, Family};

use crate::tree::{Still, files, lay};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/node")
}

fn families(root: &Path) -> Vec<Family> {
    let exporter = NodeExporter::new(NodeConfig {
        roots: Roots::under(root),
        hidden_mounts: vec!["/data/node".into()],
        clock: Some(Arc::new(|| {
            Some(ClockState {
                answer: 0,
                status: 0x2001,
                offset: 1_500,
                frequency: 65_536 * 10,
                maximum_error_us: 2_000_000,
                tick_us: 10_000,
                ..ClockState::default()
            })
        })),
        time: Arc::new(Still::new()),
        ..NodeConfig::default()
    });
    let mut sink = Sink::default();
    exporter.write(&mut sink);
    sink.finish()
}

// Sizes are those of the disk the test runs on.
fn stable(families: &[Family]) -> String {
    let text = family::text(families);
    let of_this_disk = |line: &str| {
        let name = line.split('{').next().unwrap_or_default();
        let what = name.strip_prefix("node_filesystem_");
        what.is_some_and(|what| !matches!(what, "readonly" | "device_error"))
    };
    let mut out = String::new();
    for line in text.lines() {
        if of_this_disk(line) {
            let (series, _) = line.rsplit_once(' ').expect("value");
            out += series;
            out += " ?\n";
        } else {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[test]
fn trees_and_their_pages() {
    for entry in std::fs::read_dir(corpus()).expect("corpus").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "tree") {
            continue;
        }
        let dir = tempfile::tempdir().expect("directory");
        lay(
            &files(&std::fs::read_to_string(&path).expect("tree")),
            dir.path(),
        );
        let page = stable(&families(dir.path()));
        let expected = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &page).expect("bless");
        }
        let expected = std::fs::read_to_string(&expected).expect("page");
        assert_eq!(page, expected, "{}", path.display());
    }
}

fn success(families: &[Family]) -> BTreeMap<String, f64> {
    let family = families
        .iter()
        .find(|f| f.name == "node_scrape_collector_success")
        .expect("success");
    let one = |s: &family::Sample| (s.labels[0].1.to_string(), s.value);
    family.samples.iter().map(one).collect()
}

#[test]
fn a_missing_file_costs_only_its_own_collector() {
    let whole = files(&std::fs::read_to_string(corpus().join("whole.tree")).expect("tree"));
    let dir = tempfile::tempdir().expect("directory");
    lay(&whole, dir.path());
    let all = success(&families(dir.path()));
    assert!(all.values().all(|well| *well == 1.0), "{all:?}");
    let names = |families: &[Family]| -> BTreeSet<String> {
        families.iter().map(|f| f.name.to_string()).collect()
    };
    let before = names(&families(dir.path()));
    for missing in whole.keys() {
        let dir = tempfile::tempdir().expect("directory");
        let mut others = whole.clone();
        others.remove(missing);
        lay(&others, dir.path());
        let families = families(dir.path());
        let failed: Vec<_> = success(&families)
            .into_iter()
            .filter(|(_, well)| *well == 0.0)
            .map(|(name, _)| name)
            .collect();
        // Both readers of /proc/stat fail with it; nothing else shares a file.
        let most = if missing == "proc/stat" { 2 } else { 1 };
        assert!(failed.len() <= most, "{missing}: {failed:?}");
        let lost = before.difference(&names(&families)).count();
        let bound = 40;
        assert!(lost <= bound, "{missing}: {lost} families");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_content_of_any_file_is_fatal(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut all = files(&std::fs::read_to_string(corpus().join("whole.tree")).expect("tree"));
        let name = all.keys().nth(which.index(all.len())).expect("file").clone();
        let text = all.remove(&name).expect("text");
        let dir = tempfile::tempdir().expect("directory");
        lay(&all, dir.path());
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, noise);
        let path = dir.path().join(&name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::write(path, bytes).expect("write");
        let told = success(&families(dir.path()));
        prop_assert!(told.values().filter(|well| **well == 0.0).count() <= 2);
    }
}

type Page = BTreeMap<String, (String, BTreeMap<String, f64>)>;

// Families of a page: kind, and series with values.
fn parse(page: &str) -> Page {
    let mut families = Page::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("kind");
            families.entry(name.into()).or_default().0 = kind.into();
        } else if !line.starts_with('#') && !line.is_empty() {
            let (series, value) = line.rsplit_once(' ').expect("value");
            let name = series.split('{').next().expect("name");
            let family = families.entry(name.into()).or_default();
            family
                .1
                .insert(series.into(), value.parse().unwrap_or(f64::NAN));
        }
    }
    families
}

fn get(port: u16) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.take(16 << 20).read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_string())
}

/// Families that the real program has and this one does not, with the reason.
fn left_out(name: &str) -> bool {
    // Of the program itself; of hardware and kernels that few look at.
    [
        "go_",
        "process_",
        "promhttp_",
        "node_exporter_",
        "node_selinux",
        "node_timex",
        "node_zfs",
        "node_xfs",
        "node_btrfs",
        "node_cpu_core",
        "node_cpu_frequency",
        "node_schedstat",
        "node_cooling",
        "node_thermal",
        "node_edac",
        "node_rapl",
        "node_md",
        "node_nvme",
        "node_power",
        "node_dmi",
        "node_time_zone",
        "node_systemd",
        "node_cpu_scaling",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

#[test]
#[allow(clippy::disallowed_methods)] // the program under comparison
fn the_real_program_says_the_same() {
    let Some(program) = towpath_testkit::peer("node-exporter") else {
        return;
    };
    let number = towpath_testkit::free_port();
    let mut child = std::process::Command::new(program)
        .arg(format!("--web.listen-address=127.0.0.1:{number}"))
        // As the mixins' own deployments set them.
        .arg("--collector.netclass.ignored-devices=^veth.*$")
        .arg("--collector.netdev.device-exclude=^veth.*$")
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("start");
    // The machine goes on between the two readings: what differs by chance differs once.
    let mut wrong = Vec::new();
    for _ in 0..5 {
        wrong = differences(number);
        if wrong.is_empty() {
            break;
        }
    }
    child.kill().expect("stop");
    let _ = child.wait();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differences(port: u16) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(30);
    let theirs = loop {
        match get(port) {
            Some(page) => break page,
            None if Instant::now() > end => return vec!["no page".to_string()],
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let exporter = NodeExporter::new(NodeConfig::default());
    let mut sink = Sink::default();
    exporter.write(&mut sink);
    let ours = parse(&family::text(&sink.finish()));
    let theirs = parse(&theirs);
    let mut wrong = Vec::new();
    for (name, (kind, series)) in theirs.iter().filter(|(name, _)| !left_out(name)) {
        let Some((own_kind, own)) = ours.get(name) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        if own_kind != kind {
            wrong.push(format!("{name} is {own_kind}, not {kind}"));
        }
        if name.starts_with("node_scrape_collector") || name.starts_with("node_arp") {
            continue;
        }
        // Other tests come and go with devices and mounts.
        let passing = |s: &str| {
            ["tp", "br-", "/tmp/", "dummy", "/run/", "/mnt/"]
                .iter()
                .any(|p| s.contains(&format!("\"{p}")))
        };
        for (one, value) in series.iter().filter(|(s, _)| !passing(s)) {
            let Some(mine) = own.get(one) else {
                wrong.push(format!("{one} is missing"));
                continue;
            };
            let near = (mine - value).abs() <= (value.abs() * 0.05).max(3.0);
            if steady(name) && !near {
                wrong.push(format!("{one} is {mine}, not {value}"));
            }
        }
    }
    wrong
}

// What moves little between two readings.
fn steady(name: &str) -> bool {
    let moving = [
        "node_load",
        "node_memory",
        "node_procs",
        "node_sockstat",
        "node_nf_conntrack",
        "node_filefd_allocated",
        "node_disk_io_now",
        "node_pressure",
        "node_entropy",
        "node_udp",
        "node_netstat_Tcp_CurrEstab",
        "node_timex",
    ];
    name == "node_memory_MemTotal_bytes" || !moving.iter().any(|start| name.starts_with(start))
}
