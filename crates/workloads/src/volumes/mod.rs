//! Persistent volumes: binding of claims, directories for the built-in class, reclaim.
//!
//! Class `local` makes one directory per volume below a given root. It waits for the first pod,
//! because the scheduler knows the node. Sizes are not enforced.

mod ephemeral;
mod plan;
mod protection;

use crate::Error;
use crate::context::{self, Context};
use crate::objects::{self, failed, name};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, Patch, PatchParams, PostParams};
use plan::{ClaimStep, VolumeStep};
use serde_json::json;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

/// Name of the built-in class.
const CLASS: &str = "local";

struct Binder {
    context: Arc<Context>,
    events: Events,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let (claims, volumes, class): (Queue<Key>, Queue<Key>, Queue<Key>) = Default::default();
    watch(&context, &claims, &volumes);
    let c = class.clone();
    context.caches.classes.on_change(move |change| {
        if change.key.name == CLASS {
            c.add(change.key.clone());
        }
    });
    class.add(Key::new("", CLASS));
    let events = Events::new(context.client.clone(), "persistentvolume-controller");
    let binder = Arc::new(Binder {
        context: context.clone(),
        events,
    });
    tokio::join!(
        context::run(
            "claim",
            claims,
            1,
            binder.clone(),
            cancel.clone(),
            |b, key| async move { b.claim(&key).await }
        ),
        context::run(
            "volume",
            volumes,
            1,
            binder.clone(),
            cancel.clone(),
            |b, key| async move { b.volume(&key).await }
        ),
        context::run(
            "storage class",
            class,
            1,
            binder,
            cancel.clone(),
            |b, key| async move { b.class(&key).await }
        ),
        protection::run(context.clone(), cancel.clone()),
        ephemeral::run(context, cancel),
    );
}

fn watch(context: &Arc<Context>, claims: &Queue<Key>, volumes: &Queue<Key>) {
    let caches = &context.caches;
    let (c, v, known) = (claims.clone(), volumes.clone(), caches.volumes.clone());
    caches.claims.on_change(move |change| {
        c.add(change.key.clone());
        if change.new.is_none() {
            let of_it = known.filter(|v| {
                let reference = v.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
                reference.is_some_and(|r| {
                    r.name.as_deref() == Some(change.key.name.as_str())
                        && r.namespace.as_deref() == Some(change.key.namespace.as_str())
                })
            });
            of_it
                .iter()
                .for_each(|volume| v.add(Key::of(volume.as_ref())));
        }
    });
    let (c, v, waiting) = (claims.clone(), volumes.clone(), caches.claims.clone());
    caches.volumes.on_change(move |change| {
        v.add(change.key.clone());
        let unbound = waiting.filter(|claim| {
            let spec = claim.spec.as_ref();
            let named = spec
                .and_then(|s| s.volume_name.as_deref())
                .filter(|n| !n.is_empty());
            named.is_none_or(|n| n == change.key.name)
        });
        unbound
            .iter()
            .for_each(|claim| c.add(Key::of(claim.as_ref())));
    });
    let (c, waiting) = (claims.clone(), caches.claims.clone());
    caches.classes.on_change(move |_| {
        let unbound =
            waiting.filter(|claim| claim.spec.as_ref().is_some_and(|s| s.volume_name.is_none()));
        unbound
            .iter()
            .for_each(|claim| c.add(Key::of(claim.as_ref())));
    });
}

impl Binder {
    // The built-in class is made when missing; a changed one stays as the user left it.
    async fn class(&self, key: &Key) -> Result<Next, Error> {
        if self.context.caches.classes.get(key).is_some() {
            return Ok(Next::Wait);
        }
        let class: StorageClass = StorageClass {
            metadata: kube::core::ObjectMeta {
                name: Some(CLASS.into()),
                annotations: Some(
                    [(
                        "storageclass.kubernetes.io/is-default-class".to_string(),
                        "true".to_string(),
                    )]
                    .into(),
                ),
                ..Default::default()
            },
            provisioner: plan::PROVISIONER.into(),
            reclaim_policy: Some("Delete".into()),
            volume_binding_mode: Some("WaitForFirstConsumer".into()),
            ..StorageClass::default()
        };
        let api: Api<StorageClass> = Api::all(self.context.client.clone());
        match api
            .create(&PostParams::default(), &class)
            .await
            .map_err(failed::<StorageClass>("create", &class.metadata))
        {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(Next::Wait),
        }
    }

    async fn claim(&self, key: &Key) -> Result<Next, Error> {
        let caches = &self.context.caches;
        let Some(claim) = caches.claims.get(key) else {
            return Ok(Next::Wait);
        };
        let (volumes, classes) = (caches.volumes.all(), caches.classes.all());
        let about = objects::reference(claim.as_ref());
        match plan::claim_step(&claim, &volumes, &classes, &self.context.config.node_name) {
            ClaimStep::Settled => {}
            ClaimStep::SetClass(class) => {
                let patch = json!({
                    "metadata": {"resourceVersion": claim.metadata.resource_version},
                    "spec": {"storageClassName": class},
                });
                objects::merge::<PersistentVolumeClaim>(
                    &self.context.client,
                    &claim.metadata,
                    patch,
                )
                .await?;
            }
            ClaimStep::Bind(volume) => self.bind(&claim, &volume).await?,
            ClaimStep::Provision(node) => self.provision(&claim, &node).await?,
            ClaimStep::Wait(warning, reason, note) => {
                self.claim_status(&claim, "Pending", None).await?;
                match warning {
                    true => self.events.warning(&about, reason, "Bind", note).await,
                    false => self.events.normal(&about, reason, "Bind", note).await,
                }
            }
            ClaimStep::Lost(note) => {
                if self.claim_status(&claim, "Lost", None).await? {
                    self.events.warning(&about, "ClaimLost", "Bind", note).await;
                }
            }
        }
        Ok(Next::Wait)
    }

    async fn provision(&self, claim: &PersistentVolumeClaim, node: &str) -> Result<(), Error> {
        let class = claim
            .spec
            .as_ref()
            .and_then(|s| s.storage_class_name.clone())
            .unwrap_or_default();
        let Some(class) = self.context.caches.classes.get(&Key::new("", class)) else {
            return Ok(());
        };
        let root = &self.context.config.local_volumes_root;
        let volume = plan::provisioned(claim, &class, root, node);
        let about = objects::reference(claim);
        let Some(path) = plan::directory(&volume, root) else {
            let why = "its UID makes no usable directory name".to_string();
            return Err(Error::Invalid {
                subject: format!("PersistentVolumeClaim {}", objects::path(&claim.metadata)),
                why,
            });
        };
        if let Err(error) = make_directory(path).await {
            let note = format!(
                "failed to provision volume with StorageClass \"{CLASS}\": {}",
                error.chain()
            );
            self.events
                .warning(&about, "ProvisioningFailed", "Provision", note)
                .await;
            return Err(error);
        }
        let api: Api<PersistentVolume> = Api::all(self.context.client.clone());
        let created = api.create(&PostParams::default(), &volume).await;
        match created
            .map(drop)
            .map_err(failed::<PersistentVolume>("create", &volume.metadata))
        {
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                let note = format!("Successfully provisioned volume {}", name(&volume.metadata));
                self.events
                    .normal(&about, "ProvisioningSucceeded", "Provision", note)
                    .await;
                Ok(())
            }
        }
    }

    // The volume's side first, so that no two claims can hold one volume; then the claim's.
    async fn bind(&self, claim: &PersistentVolumeClaim, volume: &str) -> Result<(), Error> {
        let client = &self.context.client;
        let Some(volume) = self.context.caches.volumes.get(&Key::new("", volume)) else {
            return Ok(());
        };
        let reference = plan::claim_reference(claim);
        let held = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
        if held.is_none_or(|held| held.uid != reference.uid) {
            let patch = json!({
                "metadata": {
                    "resourceVersion": volume.metadata.resource_version,
                    "annotations": {plan::BOUND_BY_CONTROLLER: "yes"},
                },
                "spec": {"claimRef": reference},
            });
            let api: Api<PersistentVolume> = Api::all(client.clone());
            api.patch(
                name(&volume.metadata),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .map_err(failed::<PersistentVolume>("bind", &volume.metadata))?;
        }
        let mut claim = claim.clone();
        let completed = claim
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|a| a.contains_key(plan::BIND_COMPLETED));
        if !completed
            || claim
                .spec
                .as_ref()
                .is_some_and(|s| s.volume_name != volume.metadata.name)
        {
            let patch = json!({
                "metadata": {
                    "resourceVersion": claim.metadata.resource_version,
                    "annotations": {plan::BIND_COMPLETED: "yes", plan::BOUND_BY_CONTROLLER: "yes"},
                },
                "spec": {"volumeName": volume.metadata.name},
            });
            claim = objects::merge(client, &claim.metadata, patch).await?;
        }
        self.claim_status(&claim, "Bound", Some(&volume))
            .await
            .map(drop)
    }

    async fn claim_status(
        &self,
        claim: &PersistentVolumeClaim,
        phase: &str,
        volume: Option<&PersistentVolume>,
    ) -> Result<bool, Error> {
        let mut next = claim.clone();
        let status = next.status.get_or_insert_default();
        status.phase = Some(phase.into());
        let spec = volume.and_then(|v| v.spec.as_ref());
        if let Some(spec) = spec {
            status.access_modes = spec.access_modes.clone();
            status.capacity = spec.capacity.clone();
        }
        if next.status == claim.status {
            return Ok(false);
        }
        objects::replace_status(&self.context.client, &next).await?;
        Ok(true)
    }

    async fn volume(&self, key: &Key) -> Result<Next, Error> {
        let Some(volume) = self.context.caches.volumes.get(key) else {
            return Ok(Next::Wait);
        };
        let claim_lives = self.claim_lives(&volume).await?;
        let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
        let namespace = reference
            .and_then(|r| r.namespace.clone())
            .unwrap_or_default();
        let namespace = self.context.caches.namespaces.get(&Key::new("", namespace));
        let namespace_lives = namespace.is_some_and(|n| n.metadata.deletion_timestamp.is_none());
        match plan::volume_step(&volume, claim_lives, namespace_lives) {
            VolumeStep::Phase(phase) => self.volume_phase(&volume, phase, None).await?,
            VolumeStep::Stuck => {
                let message =
                    "error getting deleter volume plugin for volume: no volume plugin matched";
                self.volume_phase(&volume, "Failed", Some(message)).await?;
            }
            VolumeStep::Reclaim => self.reclaim(&volume).await?,
        }
        Ok(Next::Wait)
    }

    // A claim that the cache lacks is asked for at the API: its data hang on the answer.
    async fn claim_lives(&self, volume: &PersistentVolume) -> Result<bool, Error> {
        let Some(reference) = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()) else {
            return Ok(false);
        };
        let (namespace, claim) = (
            reference.namespace.as_deref().unwrap_or_default(),
            reference.name.as_deref().unwrap_or_default(),
        );
        let cached = self.context.caches.claims.get(&Key::new(namespace, claim));
        if cached.is_some_and(|c| c.metadata.uid == reference.uid) {
            return Ok(true);
        }
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.context.client.clone(), namespace);
        let found = api
            .get_metadata_opt(claim)
            .await
            .map_err(failed::<PersistentVolumeClaim>("get", &volume.metadata))?;
        Ok(found.is_some_and(|c| c.metadata.uid == reference.uid))
    }

    async fn volume_phase(
        &self,
        volume: &PersistentVolume,
        phase: &str,
        message: Option<&str>,
    ) -> Result<(), Error> {
        let mut next = volume.clone();
        let status = next.status.get_or_insert_default();
        if status.phase.as_deref() == Some(phase) {
            return Ok(());
        }
        status.phase = Some(phase.into());
        status.message = message.map(str::to_string);
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.context.now());
        status.last_phase_transition_time = Some(now);
        let api: Api<PersistentVolume> = Api::all(self.context.client.clone());
        api.replace_status(name(&volume.metadata), &PostParams::default(), &next)
            .await
            .map_err(failed::<PersistentVolume>(
                "update status of",
                &volume.metadata,
            ))?;
        Ok(())
    }

    async fn reclaim(&self, volume: &PersistentVolume) -> Result<(), Error> {
        if volume.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let about = volume.clone();
        let about = objects::reference(&about);
        let Some(path) = plan::directory(volume, &self.context.config.local_volumes_root) else {
            let message =
                "its path is not the directory that belongs to its name; nothing was removed";
            return self.volume_phase(volume, "Failed", Some(message)).await;
        };
        if let Err(error) = remove_directory(path).await {
            self.events
                .warning(&about, "VolumeFailedDelete", "Delete", error.chain())
                .await;
            return Err(error);
        }
        // Released, so that protection lets it go.
        self.volume_phase(volume, "Released", None).await?;
        let api: Api<PersistentVolume> = Api::all(self.context.client.clone());
        let deleted = api
            .delete(name(&volume.metadata), &objects::exactly(&volume.metadata))
            .await;
        match deleted
            .map(drop)
            .map_err(failed::<PersistentVolume>("delete", &volume.metadata))
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

async fn make_directory(path: PathBuf) -> Result<(), Error> {
    let shown = path.display().to_string();
    let made = tokio::task::spawn_blocking(move || {
        if let Some(root) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(root)?;
        }
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Any user that a pod runs as may write; the root above is closed to listing.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))
    });
    flatten(made.await).map_err(|source| Error::Directory {
        verb: "make",
        path: shown,
        source,
    })
}

async fn remove_directory(path: PathBuf) -> Result<(), Error> {
    let shown = path.display().to_string();
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&path));
    match flatten(removed.await) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| Error::Directory {
            verb: "remove",
            path: shown,
            source,
        }),
    }
}

fn flatten(result: Result<std::io::Result<()>, tokio::task::JoinError>) -> std::io::Result<()> {
    result.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
