//! On which nodes a daemon set wants pods, and how a pod is tied to its node.

use crate::pods;
use crate::scheduler::labels::{matches_term, untolerated};
use crate::selector;
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};

/// Taints that pods of daemon sets always bear: they run where others are sent away from.
const ALWAYS: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const HOST_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What a node means to a daemon set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A pod belongs there.
    pub(super) run: bool,
    /// One that is there already may stay.
    pub(super) stay: bool,
}

/// Whether pods of this specification belong on a node.
pub(super) fn wanted(spec: &PodSpec, node: &Node) -> Wanted {
    let no = Wanted {
        run: false,
        stay: false,
    };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let fixed = spec.node_name.as_deref().filter(|n| !n.is_empty());
    if fixed.is_some_and(|fixed| fixed != name) {
        return no;
    }
    let labels = node.metadata.labels.as_ref();
    let selected = spec
        .node_selector
        .as_ref()
        .is_none_or(|wanted| selector::equal(wanted, labels));
    let required = required(spec);
    if !selected
        || !required.is_none_or(|r| r.node_selector_terms.iter().any(|t| matches_term(t, node)))
    {
        return no;
    }
    let taints = node
        .spec
        .as_ref()
        .and_then(|s| s.taints.as_deref())
        .unwrap_or_default();
    let tolerations = tolerations(spec);
    let refused = |effects: &[&str]| untolerated(taints, &tolerations, effects).is_some();
    Wanted {
        run: !refused(&["NoSchedule", "NoExecute"]),
        stay: !refused(&["NoExecute"]),
    }
}

fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

// Those of the template and the ones every daemon set's pod has.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let host = spec.host_network == Some(true);
    for (key, effect) in ALWAYS.into_iter().chain(host.then_some(HOST_NETWORK)) {
        let own = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !all.contains(&own) {
            all.push(own);
        }
    }
    all
}

/// Ties a pod to a node; the scheduler still binds it.
pub(super) fn tie(spec: &mut PodSpec, node: &str) {
    spec.tolerations = Some(tolerations(spec));
    let affinity = spec.affinity.get_or_insert_default();
    let to_node = affinity.node_affinity.get_or_insert_default();
    to_node.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_fields: Some(vec![NodeSelectorRequirement {
                key: "metadata.name".into(),
                operator: "In".into(),
                values: Some(vec![node.into()]),
            }]),
            match_expressions: None,
        }],
    });
}

/// The node that a pod runs on or is tied to.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    let tied = || {
        let terms = &required(pod.spec.as_ref()?)?.node_selector_terms;
        let [term] = terms.as_slice() else {
            return None;
        };
        let [field] = term.match_fields.as_deref()? else {
            return None;
        };
        let name = field.values.as_ref()?.first()?;
        (field.key == "metadata.name").then_some(name.as_str())
    };
    pods::node(pod).or_else(tied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn look(spec: Value, node: Value) -> (bool, bool) {
        let mut whole = json!({"containers": []});
        for (key, value) in spec.as_object().expect("spec") {
            whole[key] = value.clone();
        }
        let spec: PodSpec = serde_json::from_value(whole).expect("spec");
        let node: Node = serde_json::from_value(node).expect("node");
        let wanted = wanted(&spec, &node);
        (wanted.run, wanted.stay)
    }

    #[test]
    fn selectors_names_and_taints_decide() {
        let node = json!({"metadata": {"name": "a", "labels": {"disk": "ssd"}}});
        assert_eq!(look(json!({}), node.clone()), (true, true));
        assert_eq!(
            look(json!({"nodeSelector": {"disk": "hdd"}}), node.clone()),
            (false, false)
        );
        assert_eq!(look(json!({"nodeName": "b"}), node), (false, false));
        let tainted = |key: &str, effect: &str| json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": key, "effect": effect}]}});
        assert_eq!(look(json!({}), tainted("x", "NoSchedule")), (false, true));
        assert_eq!(look(json!({}), tainted("x", "NoExecute")), (false, false));
        assert_eq!(
            look(
                json!({}),
                tainted("node.kubernetes.io/not-ready", "NoExecute")
            ),
            (true, true)
        );
        let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(look(tolerant, tainted("x", "NoExecute")), (true, true));
        let unconnected = || tainted("node.kubernetes.io/network-unavailable", "NoSchedule");
        assert_eq!(look(json!({}), unconnected()), (false, true));
        assert_eq!(
            look(json!({"hostNetwork": true}), unconnected()),
            (true, true)
        );
    }

    #[test]
    fn a_pod_is_found_on_the_node_it_is_tied_to() {
        let mut spec = PodSpec::default();
        tie(&mut spec, "a");
        let mut pod = Pod {
            spec: Some(spec),
            ..Pod::default()
        };
        assert_eq!(node_of(&pod), Some("a"));
        pod.spec.get_or_insert_default().node_name = Some("b".into());
        assert_eq!(node_of(&pod), Some("b"));
    }
}
