//! Persistent volumes and claims.

use super::show::{Row, Show, name, namespace, quantity};
use crate::family::Kind::Gauge;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec};
use std::sync::LazyLock;

static NO_SPEC: LazyLock<PersistentVolumeSpec> = LazyLock::new(PersistentVolumeSpec::default);

pub(super) fn volume(object: &PersistentVolume) -> Vec<(&'static str, &str)> {
    vec![("persistentvolume", name(&object.metadata))]
}

pub(super) fn claim(object: &PersistentVolumeClaim) -> Vec<(&'static str, &str)> {
    vec![
        ("namespace", namespace(&object.metadata)),
        ("persistentvolumeclaim", name(&object.metadata)),
    ]
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

fn volume_info(volume: &PersistentVolume, show: &mut Show<'_>) {
    let spec = volume.spec.as_ref().unwrap_or(&NO_SPEC);
    let nfs = spec.nfs.as_ref();
    let csi = spec.csi.as_ref();
    let local = spec.local.as_ref();
    let host = spec.host_path.as_ref();
    show.info(&[
        ("storageclass", text(&spec.storage_class_name)),
        ("nfs_server", nfs.map_or("", |nfs| &nfs.server)),
        ("nfs_path", nfs.map_or("", |nfs| &nfs.path)),
        ("csi_driver", csi.map_or("", |csi| &csi.driver)),
        (
            "csi_volume_handle",
            csi.map_or("", |csi| &csi.volume_handle),
        ),
        ("local_path", local.map_or("", |local| &local.path)),
        ("local_fs", local.map_or("", |local| text(&local.fs_type))),
        ("host_path", host.map_or("", |host| &host.path)),
        ("host_path_type", host.map_or("", |host| text(&host.type_))),
        (
            "reclaim_policy",
            text(&spec.persistent_volume_reclaim_policy),
        ),
    ]);
}

pub(super) const VOLUMES: &[Row<PersistentVolume>] = &[
    (
        "kube_persistentvolume_info",
        Gauge,
        "Information about persistentvolume.",
        volume_info,
    ),
    (
        "kube_persistentvolume_claim_ref",
        Gauge,
        "Information about the Persistent Volume Claim Reference.",
        |v, s| {
            if let Some(claim) = v.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
                s.info(&[
                    ("name", text(&claim.name)),
                    ("claim_namespace", text(&claim.namespace)),
                ]);
            }
        },
    ),
    (
        "kube_persistentvolume_status_phase",
        Gauge,
        "The phase indicates if a volume is available, bound to a claim, or released by a claim.",
        |v, s| {
            let phase = v.status.as_ref().and_then(|t| t.phase.as_deref());
            if let Some(phase) = phase.filter(|phase| !phase.is_empty()) {
                s.one_of(
                    "phase",
                    &["Pending", "Available", "Bound", "Released", "Failed"],
                    phase,
                );
            }
        },
    ),
    (
        "kube_persistentvolume_capacity_bytes",
        Gauge,
        "Persistentvolume capacity in bytes.",
        |v, s| {
            let capacity = v.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
            let bytes = capacity
                .and_then(|c| c.get("storage"))
                .and_then(|q| quantity(q, false));
            s.value(bytes.unwrap_or(0.0));
        },
    ),
    (
        "kube_persistentvolume_volume_mode",
        Gauge,
        "Volume Mode information for the PersistentVolume.",
        |v, s| {
            let mode = v.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref());
            s.info(&[("volumemode", mode.unwrap_or_default())]);
        },
    ),
];

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn claim_info(claim: &PersistentVolumeClaim, show: &mut Show<'_>) {
    let spec = claim.spec.as_ref();
    let annotated = claim
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(CLASS));
    let class = annotated.or(spec.and_then(|s| s.storage_class_name.as_ref()));
    show.info(&[
        ("storageclass", class.map_or("", String::as_str)),
        ("volumename", spec.map_or("", |s| text(&s.volume_name))),
        ("volumemode", spec.map_or("", |s| text(&s.volume_mode))),
    ]);
}

pub(super) const CLAIMS: &[Row<PersistentVolumeClaim>] = &[
    (
        "kube_persistentvolumeclaim_info",
        Gauge,
        "Information about persistent volume claim.",
        claim_info,
    ),
    (
        "kube_persistentvolumeclaim_status_phase",
        Gauge,
        "The phase the persistent volume claim is currently in.",
        |c, s| {
            let phase = c.status.as_ref().and_then(|t| t.phase.as_deref());
            if let Some(phase) = phase.filter(|phase| !phase.is_empty()) {
                s.one_of("phase", &["Lost", "Bound", "Pending"], phase);
            }
        },
    ),
    (
        "kube_persistentvolumeclaim_resource_requests_storage_bytes",
        Gauge,
        "The capacity of storage requested by the persistent volume claim.",
        |c, s| {
            let resources = c.spec.as_ref().and_then(|spec| spec.resources.as_ref());
            let request = resources.and_then(|r| r.requests.as_ref()?.get("storage"));
            s.maybe(request.and_then(|q| quantity(q, false)));
        },
    ),
    (
        "kube_persistentvolumeclaim_access_mode",
        Gauge,
        "The access mode(s) specified by the persistent volume claim.",
        |c, s| {
            for mode in c
                .spec
                .iter()
                .flat_map(|spec| spec.access_modes.iter().flatten())
            {
                s.info(&[("access_mode", mode)]);
            }
        },
    ),
    (
        "kube_persistentvolumeclaim_status_condition",
        Gauge,
        "Information about status of different conditions of persistent volume claim.",
        |c, s| {
            for condition in c.status.iter().flat_map(|t| t.conditions.iter().flatten()) {
                s.status(
                    &[("condition", &condition.type_)],
                    "status",
                    &condition.status,
                );
            }
        },
    ),
];
