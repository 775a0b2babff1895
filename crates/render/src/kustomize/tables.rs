//! The built-in tables: where labels, annotations, replicas, images and namespaces go.

use super::fieldspec::FieldSpec;
use std::sync::LazyLock;

// One line per path: `create group version kind path`, `-` for any.
fn table(lines: &str) -> Vec<FieldSpec> {
    lines
        .lines()
        .filter_map(|line| {
            let mut parts = line
                .split_whitespace()
                .map(|part| if part == "-" { "" } else { part });
            let create = parts.next()? == "create";
            Some(FieldSpec::new(
                parts.next()?,
                parts.next()?,
                parts.next()?,
                parts.next()?,
                create,
            ))
        })
        .collect()
}

const METADATA_LABELS: &str = "\
create - - - metadata/labels
create - v1 ReplicationController spec/template/metadata/labels
create - - Deployment spec/template/metadata/labels
create - - ReplicaSet spec/template/metadata/labels
create - - DaemonSet spec/template/metadata/labels
create apps - StatefulSet spec/template/metadata/labels
create apps - StatefulSet spec/volumeClaimTemplates[]/metadata/labels
create batch - Job spec/template/metadata/labels
create batch - CronJob spec/jobTemplate/metadata/labels
create batch - CronJob spec/jobTemplate/spec/template/metadata/labels
";

const SELECTORS: &str = "\
create - v1 Service spec/selector
create - v1 ReplicationController spec/selector
create - - Deployment spec/selector/matchLabels
create - - ReplicaSet spec/selector/matchLabels
create - - DaemonSet spec/selector/matchLabels
create apps - StatefulSet spec/selector/matchLabels
keep batch - Job spec/selector/matchLabels
keep batch - CronJob spec/jobTemplate/spec/selector/matchLabels
keep policy - PodDisruptionBudget spec/selector/matchLabels
keep networking.k8s.io - NetworkPolicy spec/podSelector/matchLabels
keep networking.k8s.io - NetworkPolicy spec/ingress/from/podSelector/matchLabels
keep networking.k8s.io - NetworkPolicy spec/egress/to/podSelector/matchLabels
";

/// Labels of objects and of their pod templates.
pub(super) static TEMPLATE_LABELS: LazyLock<Vec<FieldSpec>> =
    LazyLock::new(|| table(METADATA_LABELS));

/// Those, and every selector.
pub(super) static COMMON_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let mut specs = table(SELECTORS);
    for kind in ["Deployment", "StatefulSet"] {
        for which in ["podAffinity", "podAntiAffinity"] {
            let base = format!("spec/template/spec/affinity/{which}");
            for path in [
                "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
                "requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
            ] {
                specs.push(FieldSpec::new(
                    "apps",
                    "",
                    kind,
                    &format!("{base}/{path}"),
                    false,
                ));
            }
        }
        let spread = "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels";
        specs.push(FieldSpec::new("apps", "", kind, spread, false));
    }
    specs.extend(TEMPLATE_LABELS.iter().cloned());
    specs
});

/// Labels of objects alone.
pub(super) static OBJECT_LABELS: LazyLock<Vec<FieldSpec>> =
    LazyLock::new(|| table("create - - - metadata/labels"));

/// Annotations.
pub(super) static ANNOTATIONS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    table(
        "\
create - - - metadata/annotations
create - v1 ReplicationController spec/template/metadata/annotations
create - - Deployment spec/template/metadata/annotations
create - - ReplicaSet spec/template/metadata/annotations
create - - DaemonSet spec/template/metadata/annotations
create - - StatefulSet spec/template/metadata/annotations
create batch - Job spec/template/metadata/annotations
create batch - CronJob spec/jobTemplate/metadata/annotations
create batch - CronJob spec/jobTemplate/spec/template/metadata/annotations
",
    )
});

/// Replica counts.
pub(super) static REPLICAS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    table(
        "\
create - - Deployment spec/replicas
create - - ReplicationController spec/replicas
create - - ReplicaSet spec/replicas
create - - StatefulSet spec/replicas
",
    )
});

/// Images outside of lists named `containers`.
pub(super) static IMAGES: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    table(
        "\
keep - - - spec/containers[]/image
keep - - - spec/initContainers[]/image
keep - - - spec/volumes[]/image/reference
keep - - - spec/template/spec/containers[]/image
keep - - - spec/template/spec/initContainers[]/image
keep - - - spec/template/spec/volumes[]/image/reference
",
    )
});

/// Namespaces other than the object's own.
pub(super) static NAMESPACES: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    table(
        "\
create apiregistration.k8s.io - APIService spec/service/namespace
keep apiextensions.k8s.io - CustomResourceDefinition spec/conversion/webhook/clientConfig/service/namespace
",
    )
});
