//! Verdicts of `tests/corpus/scheduler/*.json`: nodes, pods on them, one pod, the verdict.

use super::affinity::Cluster;
use super::plan::{Verdict, plan};
use super::snapshot::NodeView;
use super::volumes::Volumes;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    running: Vec<Pod>,
    #[serde(default)]
    namespaces: Vec<Namespace>,
    #[serde(default)]
    bound: Vec<PersistentVolume>,
    #[serde(default)]
    waiting: Vec<PersistentVolumeClaim>,
    pod: Pod,
    verdict: String,
}

#[test]
fn corpus() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/scheduler");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).expect("corpus") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("case");
        let cases: std::collections::BTreeMap<String, Case> =
            serde_json::from_str(&text).expect("case");
        for (name, case) in cases {
            count += 1;
            let on = |node: &Node| -> Vec<Arc<Pod>> {
                let name = node.metadata.name.as_deref();
                let here = case.running.iter().filter(|p| crate::pods::node(p) == name);
                here.cloned().map(Arc::new).collect()
            };
            let nodes: Vec<_> = case
                .nodes
                .iter()
                .map(|n| NodeView::new(Arc::new(n.clone()), on(n)))
                .collect();
            let namespaces: Vec<_> = case.namespaces.into_iter().map(Arc::new).collect();
            let cluster = Cluster {
                nodes: &nodes,
                namespaces: &namespaces,
            };
            let volumes = Volumes {
                bound: case.bound.into_iter().map(Arc::new).collect(),
                waiting: case.waiting.into_iter().map(Arc::new).collect(),
                blocked: None,
            };
            let verdict = match plan(&case.pod, &cluster, &volumes) {
                Verdict::Node(node) => format!("-> {node}"),
                Verdict::Nowhere(why) => why,
                Verdict::Gated => "gated".into(),
            };
            assert_eq!(verdict, case.verdict, "{}: {name}", path.display());
        }
    }
    assert!(count >= 20, "{count} cases");
}
