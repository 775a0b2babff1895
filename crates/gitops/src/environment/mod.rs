//! Environments: each keeps one application, knows what runs there, and takes new releases by
//! itself where its policy says so.

mod plan;
mod recovery;

use crate::Error;
use crate::cluster::within;
use crate::heads::Heads;
use crate::parts::Caches;
use crate::retention;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
pub(crate) use plan::{age, branch};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::kinds::{Application, Environment, Promotion, PromotionSpec, Release, labels};
use towpath_kit::traits::{SourceError, SourceTree};
use towpath_stdx::Clock;

// Commits of a branch that are looked at to tell which release is newer.
const RECENT: usize = 200;

pub(crate) struct Environments {
    pub(crate) client: Client,
    pub(crate) caches: Caches,
    pub(crate) tree: Arc<dyn SourceTree>,
    pub(crate) heads: Heads,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) resync: Duration,
}

impl Environments {
    pub(crate) async fn reconcile(self: Arc<Self>, key: Key) -> Result<Next, Error> {
        let Some(environment) = self.caches.environments.get(&key) else {
            return Ok(Next::Wait);
        };
        if environment.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        self.keep_application(&key, &environment).await?;
        self.promote(&key, &environment).await?;
        self.report(&key, &environment).await?;
        self.forget_past(&key, &environment).await?;
        Ok(Next::After(self.resync))
    }

    async fn forget_past(&self, key: &Key, environment: &Environment) -> Result<(), Error> {
        let releases = self.caches.releases.in_namespace(&key.namespace);
        let promotions = self.caches.promotions.in_namespace(&key.namespace);
        for name in retention::old_promotions(&key.name, &promotions, &releases) {
            self.delete::<Promotion>(&key.namespace, &name).await?;
        }
        let environments = self.caches.environments.in_namespace(&key.namespace);
        let repository = &environment.spec.repository;
        for name in retention::old_releases(repository, &releases, &environments, &promotions) {
            self.delete::<Release>(&key.namespace, &name).await?;
        }
        Ok(())
    }

    async fn delete<K>(&self, namespace: &str, name: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("delete {} {name}", K::kind(&()));
        match within(&what, api.delete(name, &DeleteParams::default())).await? {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }

    async fn keep_application(&self, key: &Key, environment: &Environment) -> Result<(), Error> {
        let wanted = plan::application(&key.namespace, environment);
        if self
            .caches
            .applications
            .get(key)
            .is_some_and(|app| app.spec == wanted)
        {
            return Ok(());
        }
        let mut app = Application::new(&key.name, wanted);
        app.metadata.namespace = Some(key.namespace.clone());
        app.metadata.owner_references = environment
            .controller_owner_ref(&())
            .map(|owner| vec![owner]);
        app.metadata.labels = Some(BTreeMap::from([
            (labels::ENVIRONMENT.to_string(), key.name.clone()),
            (
                labels::REPOSITORY.to_string(),
                environment.spec.repository.clone(),
            ),
        ]));
        let api: Api<Application> = Api::namespaced(self.client.clone(), &key.namespace);
        let what = format!("apply application {key}");
        let params = PatchParams::apply("towpath-gitops").force();
        within(&what, api.patch(&key.name, &params, &Patch::Apply(&app)))
            .await?
            .map(drop)
            .map_err(Error::cluster(what))
    }

    async fn promote(&self, key: &Key, environment: &Environment) -> Result<(), Error> {
        if !environment.spec.promotion.auto {
            return Ok(());
        }
        let releases = self.caches.releases.in_namespace(&key.namespace);
        if releases.is_empty() {
            return Ok(());
        }
        let promotions = self.caches.promotions.in_namespace(&key.namespace);
        let untried = releases.iter().any(|release| {
            let name = release.name_any();
            release.spec.hold.is_none()
                && release.spec.repository == environment.spec.repository
                && !promotions
                    .iter()
                    .any(|p| p.spec.environment == key.name && p.spec.release == name)
        });
        // Git is asked only where there is something to decide.
        if !untried {
            return Ok(());
        }
        let repository = format!("{}/{}", key.namespace, environment.spec.repository);
        let recent = match self
            .tree
            .log(&repository, &environment.spec.branch, RECENT)
            .await
        {
            Ok(commits) => commits.into_iter().map(|c| c.sha).collect::<Vec<_>>(),
            Err(SourceError::NotFound(_)) => return Ok(()),
            Err(error) => {
                return Err(Error::source(format!("read the log of {repository}"))(
                    error,
                ));
            }
        };
        let Some(release) = plan::next_release(environment, &releases, &promotions, &recent) else {
            return Ok(());
        };
        let name = format!("{}-{}-1", key.name, release.name_any());
        let spec = PromotionSpec {
            environment: key.name.clone(),
            release: release.name_any(),
            kind: "deploy".into(),
            by: release.spec.actor.clone(),
            ..PromotionSpec::default()
        };
        let mut promotion = Promotion::new(&name, spec);
        promotion.metadata.labels = Some(BTreeMap::from([
            (labels::ENVIRONMENT.to_string(), key.name.clone()),
            (labels::RELEASE.to_string(), release.name_any()),
            (
                labels::REPOSITORY.to_string(),
                environment.spec.repository.clone(),
            ),
            (labels::COMMIT.to_string(), release.spec.sha.clone()),
        ]));
        self.ask(key, promotion).await
    }

    async fn ask(&self, key: &Key, mut promotion: Promotion) -> Result<(), Error> {
        promotion.metadata.namespace = Some(key.namespace.clone());
        let api: Api<Promotion> = Api::namespaced(self.client.clone(), &key.namespace);
        let what = format!("create promotion {}", promotion.name_any());
        match within(&what, api.create(&PostParams::default(), &promotion)).await? {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }

    async fn report(&self, key: &Key, environment: &Environment) -> Result<(), Error> {
        let repository = format!("{}/{}", key.namespace, environment.spec.repository);
        let ref_name = format!("refs/heads/{}", branch(environment));
        let head = self.heads.resolve(&repository, &ref_name).await;
        let head = head.map_err(Error::source(format!("resolve {ref_name}")))?;
        let promotions: Vec<Arc<Promotion>> = self
            .caches
            .promotions
            .in_namespace(&key.namespace)
            .into_iter()
            .filter(|p| p.spec.environment == key.name)
            .collect();
        let app = self.caches.applications.get(key);
        let old = environment.status.clone().unwrap_or_default();
        let status = plan::status(
            &old,
            head.as_ref(),
            app.as_deref(),
            &promotions,
            &self.clock.rfc3339(),
        );
        let releases = self.caches.releases.in_namespace(&key.namespace);
        let history = &status.history;
        let back = recovery::wanted(environment, head.as_ref(), history, &promotions, &releases);
        if let Some(promotion) = back {
            self.ask(key, promotion).await?;
        }
        if environment.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api: Api<Environment> = Api::namespaced(self.client.clone(), &key.namespace);
        let what = format!("update environment {key}");
        let patch = Patch::Merge(json!({"status": status}));
        match within(
            &what,
            api.patch_status(&key.name, &PatchParams::default(), &patch),
        )
        .await?
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }
}
