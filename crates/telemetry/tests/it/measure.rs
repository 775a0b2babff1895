//! What explanations measure, over a real store of samples: errors, slowness and leaks since they
//! began, who calls whom, how full volumes are.

use std::sync::Arc;
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Sample, Value};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::cases::{Figures, Measured, SymptomKind, Wanted};
use towpath_telemetry::ledger::Object;

const STEP: i64 = 15_000;
const HOUR: i64 = 3_600_000;

struct World {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    now: i64,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let dir = tempfile::tempdir().expect("directory");
        let mut options = Options::new(clock.clone());
        options.out_of_order_ms = 2 * HOUR;
        let store = Store::open(&dir.path().join("metrics"), options).expect("store");
        let now = i64::try_from(clock.since_epoch().as_millis()).expect("time");
        Self {
            _dir: dir,
            store,
            clock,
            now: now / STEP * STEP,
        }
    }

    /// A series of an hour; `value` has the seconds since its begin.
    fn series(&self, name: &str, labels: &[(&str, &str)], value: impl Fn(f64) -> f64) {
        let all = [("__name__", name)];
        let labels = all.iter().chain(labels).copied().collect();
        let series = self.store.resolve(&labels).expect("a series");
        let samples: Vec<Sample> = (0..=HOUR / STEP)
            .map(|step| Sample {
                series,
                at: self.now - HOUR + step * STEP,
                value: Value::Float(value((step * STEP) as f64 / 1_000.0)),
                start: None,
            })
            .collect();
        let outcome = self.store.append(&samples).expect("samples");
        assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
    }

    async fn look(&self, workload: &str) -> Measured {
        let figures = Figures::new(self.store.clone(), self.clock.clone());
        let wanted = Wanted {
            now: self.now,
            namespace: "shop".into(),
            workloads: vec![Object::new("Deployment", "shop", workload)],
            hungry: false,
        };
        let measured = figures.measure(wanted).await;
        assert!(measured.unseen.is_empty(), "{:?}", measured.unseen);
        measured
    }
}

fn since(second: f64, begun: f64) -> f64 {
    (second - begun).max(0.0)
}

#[tokio::test]
async fn errors_slowness_and_leaks_have_a_beginning() {
    let world = World::new();
    let pod = |code: &'static str| {
        [
            ("namespace", "shop"),
            ("pod", "web-5d4f7c-x7k2p"),
            ("code", code),
        ]
    };
    // Ten requests a second; from the fortieth minute on a third of them fail.
    let bad = 2_400.0;
    world.series("http_requests_total", &pod("200"), |s| {
        s * 10.0 - since(s, bad) * 3.3
    });
    world.series("http_requests_total", &pod("500"), |s| since(s, bad) * 3.3);
    let measured = world.look("web").await;
    assert_eq!(measured.felt.len(), 1, "{:?}", measured.felt);
    let felt = &measured.felt[0];
    assert_eq!(felt.kind, SymptomKind::Errors);
    let begun = world.now - HOUR + 2_400_000;
    assert!((felt.since - begun).abs() <= 150_000, "{felt:?}");
    assert!(
        felt.words.contains("33") || felt.words.contains("32"),
        "{felt:?}"
    );
    assert!(felt.query.contains("http_requests_total"), "{felt:?}");

    // Spans tell of those who have no metrics of their own.
    for (le, early, late) in [("0.1", 10.0, 1.0), ("1", 10.0, 3.0), ("+Inf", 10.0, 10.0)] {
        let labels = [
            ("service", "pay"),
            ("span_kind", "SPAN_KIND_SERVER"),
            ("le", le),
        ];
        world.series("traces_spanmetrics_latency_bucket", &labels, |s| {
            s.min(bad) * early + since(s, bad) * late
        });
    }
    let felt = world.look("pay").await.felt;
    assert_eq!(felt[0].kind, SymptomKind::Latency, "{felt:?}");
    assert!((felt[0].since - begun).abs() <= 150_000, "{felt:?}");

    let container = |pod: &'static str| {
        [
            ("namespace", "shop"),
            ("pod", pod),
            ("container", "main"),
            ("image", "a"),
        ]
    };
    let memory = "container_memory_working_set_bytes";
    world.series(memory, &container("leaky-5d4f7c-x7k2p"), |s| {
        50e6 + s * 30e3
    });
    world.series(memory, &container("calm-5d4f7c-x7k2p"), |s| {
        50e6 + (s / 60.0).sin() * 5e6
    });
    let felt = world.look("leaky").await.felt;
    assert_eq!(felt[0].kind, SymptomKind::Leak, "{felt:?}");
    // Controls: who is well feels nothing.
    assert!(world.look("calm").await.felt.is_empty());
    assert!(world.look("unknown").await.felt.is_empty());
}

#[tokio::test]
async fn calls_and_volumes_are_known() {
    let world = World::new();
    let edge = [
        ("client", "web"),
        ("server", "pay"),
        ("connection_type", ""),
    ];
    world.series("traces_service_graph_request_total", &edge, |s| s);
    let still = [("client", "web"), ("server", "old")];
    world.series("traces_service_graph_request_total", &still, |_| 7.0);
    for (name, bytes) in [("used_bytes", 97e6), ("capacity_bytes", 100e6)] {
        let labels = [("namespace", "shop"), ("persistentvolumeclaim", "data")];
        world.series(&format!("kubelet_volume_stats_{name}"), &labels, |_| bytes);
        let labels = [("namespace", "other"), ("persistentvolumeclaim", "data")];
        world.series(&format!("kubelet_volume_stats_{name}"), &labels, |_| bytes);
    }
    // A directory that holds more than it was promised hurts nobody; a volume of its own may.
    for (claim, inodes_used, bytes) in [("logs", 7.0, 99e6), ("rows", 60.0, 98e6)] {
        let labels = [("namespace", "shop"), ("persistentvolumeclaim", claim)];
        for (name, value) in [
            ("used_bytes", bytes),
            ("capacity_bytes", 100e6),
            ("inodes", 100.0),
            ("inodes_free", 40.0),
            ("inodes_used", inodes_used),
        ] {
            world.series(&format!("kubelet_volume_stats_{name}"), &labels, |_| value);
        }
    }
    let measured = world.look("web").await;
    assert_eq!(measured.calls, [("web".to_string(), "pay".to_string())]);
    let claim = Object::new("PersistentVolumeClaim", "shop", "data");
    let rows = Object::new("PersistentVolumeClaim", "shop", "rows");
    let disks = [
        (claim, 97_000_000, 100_000_000),
        (rows, 98_000_000, 100_000_000),
    ];
    assert_eq!(measured.disks, disks);
}
