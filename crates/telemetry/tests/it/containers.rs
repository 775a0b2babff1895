//! Containers over trees of control groups written by hand, and over a real group.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::traits::{
    ClockState, ContainerFigures, ContainerStats, PodFigures, RunningClaim, RunningContainer,
    RunningPod,
};
use towpath_stdx::SystemClock;
use towpath_telemetry::exporters::Sink;
use towpath_telemetry::exporters::containers::ContainerExporter;
use towpath_telemetry::exporters::node::Roots;
use towpath_telemetry::family::{self, Family};

use crate::tree::{Still, files, lay};

struct Fixed(Vec<RunningPod>);

impl ContainerStats for Fixed {
    fn node(&self) -> String {
        "box".into()
    }
    fn running(&self) -> Vec<RunningPod> {
        self.0.clone()
    }
    fn clock(&self) -> Option<ClockState> {
        None
    }
}

fn pods() -> Vec<RunningPod> {
    let pod = |name: &str, container: &str, attempt: u32, own_network| RunningPod {
        namespace: "demo".into(),
        name: name.into(),
        uid: format!("u{name}"),
        started: Some(Duration::from_secs(1_795_200_000)),
        cgroup: format!("/tp/podu{name}"),
        own_network,
        containers: vec![RunningContainer {
            name: container.into(),
            id: format!("u{name}.{container}.{attempt}"),
            image: format!("{container}:1"),
            image_id: "sha256:00".into(),
            cgroup: format!("/tp/podu{name}/u{name}.{container}.{attempt}"),
            started: Duration::from_secs(1_795_200_005),
            written: None,
            log: None,
        }],
        claims: Vec::new(),
    };
    // The second is on the host's network: its figures are not the pod's.
    vec![pod("1", "web", 0, true), pod("2", "job", 1, false)]
}

fn claim(dir: &Path, capacity: Option<u64>) -> RunningClaim {
    RunningClaim {
        claim: "data".into(),
        volume: "rows".into(),
        dir: dir.to_path_buf(),
        capacity,
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/containers")
}

fn exporter(root: &Path) -> ContainerExporter {
    let time = Arc::new(Still::new());
    ContainerExporter::new(Arc::new(Fixed(pods())), Roots::under(root), time)
}

type Write = fn(&ContainerExporter, &mut Sink);

fn families(root: &Path, write: Write) -> Vec<Family> {
    let mut sink = Sink::default();
    write(&exporter(root), &mut sink);
    sink.finish()
}

fn tree(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    let text = std::fs::read_to_string(corpus().join(name)).expect("tree");
    lay(&files(&text), dir.path());
    dir
}

#[test]
fn trees_and_their_pages() {
    for case in ["one", "hybrid", "two", "malformed"] {
        let dir = tree(&format!("{case}.tree"));
        let mut page = family::text(&families(dir.path(), ContainerExporter::write));
        page += "==\n";
        page += &family::text(&families(dir.path(), ContainerExporter::write_resource));
        page += "==\n";
        page += &family::text(&families(dir.path(), ContainerExporter::write_kubelet));
        let expected = corpus().join(format!("{case}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &page).expect("bless");
        }
        assert_eq!(
            page,
            std::fs::read_to_string(&expected).expect("page"),
            "{case}"
        );
    }
}

#[test]
fn every_version_of_control_groups_gives_the_same_page() {
    let page = |name: &str| {
        let dir = tree(name);
        family::text(&families(dir.path(), ContainerExporter::write))
    };
    // Shares are rounded by version 2's scale.
    let plain = |page: String| -> Vec<String> {
        let lines = page.lines().filter(|line| !line.contains("cpu_shares"));
        lines.map(String::from).collect()
    };
    assert_eq!(plain(page("one.tree")), plain(page("two.tree")));
    assert_eq!(page("one.tree"), page("hybrid.tree"));
}

#[test]
fn the_names_are_those_of_the_list() {
    let dir = tree("two.tree");
    let names: BTreeSet<String> = families(dir.path(), ContainerExporter::write)
        .iter()
        .map(|f| f.name.to_string())
        .collect();
    let wanted = "cpu_usage_seconds_total cpu_user_seconds_total cpu_system_seconds_total \
        cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total \
        memory_usage_bytes memory_working_set_bytes memory_rss memory_cache memory_swap \
        memory_mapped_file memory_max_usage_bytes memory_failcnt memory_failures_total \
        network_receive_bytes_total network_transmit_bytes_total network_receive_packets_total \
        network_transmit_packets_total network_receive_packets_dropped_total \
        network_transmit_packets_dropped_total network_receive_errors_total \
        network_transmit_errors_total fs_reads_bytes_total fs_writes_bytes_total fs_reads_total \
        fs_writes_total processes file_descriptors last_seen start_time_seconds \
        spec_cpu_quota spec_cpu_period spec_cpu_shares spec_memory_limit_bytes";
    for name in wanted.split_whitespace() {
        assert!(names.contains(&format!("container_{name}")), "{name}");
    }
    assert!(names.contains("machine_cpu_cores") && names.contains("machine_memory_bytes"));
}

#[test]
fn the_summary_has_the_rates_of_the_metrics_api() {
    let dir = tree("two.tree");
    let rates = vec![PodFigures {
        namespace: "demo".into(),
        pod: "1".into(),
        at: Duration::ZERO,
        window: Duration::from_secs(10),
        containers: vec![ContainerFigures {
            name: "web".into(),
            cpu_nanocores: 77,
            memory_working_set_bytes: 1,
        }],
    }];
    let summary = exporter(dir.path()).summary(&rates, None);
    assert_eq!(summary["node"]["nodeName"], "box");
    let pod = &summary["pods"][0];
    assert_eq!(pod["podRef"]["uid"], "u1");
    assert_eq!(pod["containers"][0]["cpu"]["usageNanoCores"], 77);
    assert_eq!(
        pod["containers"][0]["cpu"]["usageCoreNanoSeconds"],
        1_500_000_000u64
    );
    assert_eq!(pod["containers"][0]["memory"]["workingSetBytes"], 8_388_608);
    assert_eq!(pod["network"]["interfaces"][0]["txBytes"], 2222);
    assert!(summary["pods"][1]["network"].is_null());
}

#[test]
#[allow(clippy::disallowed_methods)] // a process to look at
fn a_real_group_has_figures() {
    let root = Path::new("/sys/fs/cgroup");
    let unified = root.join("cgroup.controllers").exists();
    let group = format!("/towpath-exporters-{}", std::process::id());
    let trees: Vec<PathBuf> = if unified {
        vec![root.to_path_buf()]
    } else {
        ["memory", "cpu", "cpuacct", "pids", "blkio"]
            .iter()
            .map(|c| root.join(c))
            .collect()
    };
    let dirs: Vec<PathBuf> = trees.iter().map(|t| t.join(&group[1..])).collect();
    if dirs.iter().any(|dir| std::fs::create_dir_all(dir).is_err()) {
        dirs.iter().for_each(|dir| drop(std::fs::remove_dir(dir)));
        towpath_testkit::skip("control groups cannot be made here");
        return;
    }
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("start");
    for dir in &dirs {
        std::fs::write(dir.join("cgroup.procs"), child.id().to_string()).expect("move");
    }
    let mut pod = pods().remove(0);
    pod.cgroup.clone_from(&group);
    pod.containers[0].cgroup = group;
    let written = tempfile::tempdir().expect("directory");
    std::fs::write(written.path().join("file"), vec![1; 1 << 20]).expect("write");
    pod.containers[0].written = Some(written.path().to_path_buf());
    pod.claims = vec![claim(written.path(), None)];
    let exporter = ContainerExporter::new(
        Arc::new(Fixed(vec![pod])),
        Roots::default(),
        Arc::new(SystemClock),
    );
    let mut sink = Sink::default();
    exporter.write(&mut sink);
    exporter.write_kubelet(&mut sink);
    let families = sink.finish();
    child.kill().expect("stop");
    let _ = child.wait();
    for dir in &dirs {
        for _ in 0..100 {
            if std::fs::remove_dir(dir).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let value = |name: &str| {
        let family = families.iter().find(|f| f.name == name);
        let samples = family.map(|f| &f.samples).expect(name);
        let of_web = |s: &&family::Sample| s.labels.iter().any(|(_, v)| v == "web" || v == "data");
        samples.iter().find(of_web).map_or(f64::NAN, |s| s.value)
    };
    assert_eq!(value("container_processes"), 1.0);
    assert!(value("container_memory_usage_bytes") >= 0.0);
    assert!(value("container_file_descriptors") >= 3.0);
    assert!(value("container_fs_usage_bytes") >= f64::from(1 << 20));
    assert!(value("container_fs_limit_bytes") > 0.0);
    assert!(value("kubelet_volume_stats_capacity_bytes") > 0.0);
    let links = families
        .iter()
        .find(|f| f.name == "container_network_receive_bytes_total");
    assert!(links.is_some(), "the process is in some network");
}

/// Series of the kubelet's page as those of a unit test of rules: each stays for ten minutes.
fn series(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        for sample in &family.samples {
            let labels = sample.labels.iter().map(|(n, v)| format!("{n}=\"{v}\""));
            let labels: Vec<String> = labels.collect();
            let name = format!("{}{{{}}}", family.name, labels.join(", "));
            text.push_str(&format!(
                "      - {{series: '{name}', values: '{}x10'}}\n",
                sample.value as i64
            ));
        }
    }
    text
}

fn kubelet(root: &Path, pods: Vec<RunningPod>) -> Vec<Family> {
    let time = Arc::new(Still::new());
    let exporter = ContainerExporter::new(Arc::new(Fixed(pods)), Roots::under(root), time);
    let mut sink = Sink::default();
    exporter.write_kubelet(&mut sink);
    sink.finish()
}

#[test]
fn a_claim_that_fills_up_is_told_by_the_standard_rule() {
    let dir = tempfile::tempdir().expect("directory");
    std::fs::write(dir.path().join("rows"), vec![1; 1000 << 10]).expect("write");
    // Two pods mount it: it is one volume.
    let full = |capacity| {
        let mut pods = pods();
        for pod in &mut pods {
            pod.namespace = "shop".into();
            pod.claims = vec![claim(dir.path(), capacity)];
        }
        kubelet(dir.path(), pods)
    };
    let fires = r#"[{labels: '{persistentvolumeclaim="data"}', value: 1}]"#;
    for (capacity, expected) in [(Some(1 << 20), fires), (Some(1 << 30), "[]")] {
        let families = full(capacity);
        let of = |name: &str| {
            let family = families
                .iter()
                .find(|f| f.name == format!("kubelet_volume_stats_{name}"))
                .expect(name);
            assert_eq!(family.samples.len(), 1, "{name}");
            family.samples[0].value
        };
        assert_eq!(
            of("capacity_bytes"),
            capacity.map_or(0.0, |c: u64| c as f64)
        );
        assert!(of("used_bytes") >= f64::from(1000 << 10) && of("used_bytes") < f64::from(2 << 20));
        assert_eq!(of("inodes_used"), 1.0);
        assert!(of("available_bytes") <= of("capacity_bytes") - of("used_bytes"));
        let text = format!(
            "rule_files: [workloads.yml]\nevaluation_interval: 1m\ntests:\n  - name: volumes\n    \
             interval: 1m\n    input_series:\n{}    promql_expr_test:\n      \
             - {{expr: 'count by (persistentvolumeclaim) (ALERTS{{alertname=\"VolumeFillsUp\", \
             alertstate=\"firing\"}})', eval_time: 8m, exp_samples: {}}}\n",
            series(&families),
            expected
        );
        let files = |_: &str| {
            let all = towpath_alerting::rules::STANDARD.iter();
            let own = all.filter(|(name, _)| name.ends_with("workloads.yml"));
            Ok(own
                .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
                .collect())
        };
        let result = towpath_alerting::rules::unit::run(&text, &files, &|_| true);
        assert!(result.is_ok(), "{text}\n{}", result.unwrap_err().join("\n"));
    }
}
