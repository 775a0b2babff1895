//! What every namespace gets: service account `default` and config map `kube-root-ca.crt`.

use crate::caches::ROOT_CA_CONFIG_MAP;
use crate::context::{self, Context};
use crate::{Error, objects};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::core::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

const ACCOUNT: &str = "default";
const CA_KEY: &str = "ca.crt";
const ABOUT: &str = "kubernetes.io/description";
const ABOUT_CA: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints.";

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    let q = queue.clone();
    context.caches.namespaces.on_change(move |change| {
        if change.new.is_some() {
            q.add(change.key.clone());
        }
    });
    let q = queue.clone();
    context.caches.accounts.on_change(move |change| {
        if change.key.name == ACCOUNT && change.new.is_none() {
            q.add(Key::new("", &change.key.namespace));
        }
    });
    let q = queue.clone();
    context.caches.root_cas.on_change(move |change| {
        if change.key.name == ROOT_CA_CONFIG_MAP {
            q.add(Key::new("", &change.key.namespace));
        }
    });
    context::run(
        "namespace defaults",
        queue,
        2,
        context,
        cancel,
        |c, key| async move { reconcile(&c, &key).await },
    )
    .await;
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, Error> {
    let caches = &context.caches;
    let active = caches
        .namespaces
        .get(key)
        .is_some_and(|n| n.metadata.deletion_timestamp.is_none());
    if !active {
        return Ok(Next::Wait);
    }
    if caches.accounts.get(&Key::new(&key.name, ACCOUNT)).is_none() {
        let account = ServiceAccount {
            metadata: meta(&key.name, ACCOUNT),
            ..ServiceAccount::default()
        };
        made(objects::create(&context.client, &account).await)?;
    }
    let data = BTreeMap::from([(CA_KEY.to_string(), context.config.root_ca_pem.clone())]);
    match caches
        .root_cas
        .get(&Key::new(&key.name, ROOT_CA_CONFIG_MAP))
    {
        None => {
            let mut map = ConfigMap {
                metadata: meta(&key.name, ROOT_CA_CONFIG_MAP),
                data: Some(data),
                ..ConfigMap::default()
            };
            map.metadata.annotations =
                Some(BTreeMap::from([(ABOUT.to_string(), ABOUT_CA.to_string())]));
            made(objects::create(&context.client, &map).await)?;
        }
        Some(map) if map.data.as_ref() == Some(&data) => {}
        Some(map) => {
            let next = ConfigMap {
                data: Some(data),
                ..map.as_ref().clone()
            };
            objects::replace(&context.client, &next).await?;
        }
    }
    Ok(Next::Wait)
}

fn made<K>(result: Result<K, Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        ..ObjectMeta::default()
    }
}
