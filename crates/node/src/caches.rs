//! Shared copies of the objects pods refer to.

use crate::env::Sources;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use kube::Client;
use kube::runtime::watcher;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Cache, Key};

/// One watch per kind.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) pods: Cache<Pod>,
    pub(crate) config_maps: Cache<ConfigMap>,
    pub(crate) secrets: Cache<Secret>,
    pub(crate) services: Cache<Service>,
    pub(crate) claims: Cache<PersistentVolumeClaim>,
    pub(crate) volumes: Cache<PersistentVolume>,
}

impl Caches {
    /// Empty copies; for a node that is not running yet.
    pub(crate) fn empty() -> Self {
        Self {
            pods: Cache::default(),
            config_maps: Cache::default(),
            secrets: Cache::default(),
            services: Cache::default(),
            claims: Cache::default(),
            volumes: Cache::default(),
        }
    }

    pub(crate) fn start(client: &Client, node: &str, cancel: &CancellationToken) -> Self {
        let own = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        Self {
            pods: Cache::start_filtered(client, own, cancel.clone()),
            config_maps: Cache::start(client, cancel.clone()),
            secrets: Cache::start(client, cancel.clone()),
            services: Cache::start(client, cancel.clone()),
            claims: Cache::start(client, cancel.clone()),
            volumes: Cache::start(client, cancel.clone()),
        }
    }

    pub(crate) async fn ready(&self) {
        tokio::join!(
            self.pods.ready(),
            self.config_maps.ready(),
            self.secrets.ready(),
            self.services.ready(),
            self.claims.ready(),
            self.volumes.ready(),
        );
    }
}

impl Sources for Caches {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(&Key::new(namespace, name))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(&Key::new(namespace, name))
    }
}
