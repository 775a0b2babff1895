//! A succeeded run becomes a release.
//!
//! One that built images, was caused by a push to a branch that some environment follows, and
//! whose gates all passed. The name comes from repository and commit, so deciding twice makes
//! one. A gate that did not pass stops it; the run then says which and what would pass.

use crate::Error;
use crate::cluster::within;
use crate::parts::{Caches, reference};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::kinds::{Environment, Phase, Release, ReleaseSpec, Run, labels};
use towpath_kit::traits::SourceTree;

/// Annotation on a run: the release it made.
pub(crate) const RELEASE: &str = "towpath.dev/release";
/// Annotation on a run: why it made none.
pub(crate) const REFUSED: &str = "towpath.dev/release-refused";

pub(crate) struct Releases {
    pub(crate) client: Client,
    pub(crate) caches: Caches,
    pub(crate) tree: Arc<dyn SourceTree>,
    pub(crate) events: Events,
}

/// What becomes of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Not the kind of run that makes releases.
    No,
    /// Stopped; the sentence says by what.
    Refused(String),
    /// This release.
    Release(String, Box<ReleaseSpec>),
}

/// Decides. Pure.
pub(crate) fn decide(run: &Run, environments: &[Arc<Environment>]) -> Verdict {
    let Some(status) = &run.status else {
        return Verdict::No;
    };
    let Some(branch) = run.spec.ref_.strip_prefix("refs/heads/") else {
        return Verdict::No;
    };
    let followed = environments
        .iter()
        .any(|e| e.spec.repository == run.spec.repository && e.spec.branch == branch);
    if run.spec.event != "push" || status.images.is_empty() || !followed {
        return Verdict::No;
    }
    if let Some(gate) = status.gates.iter().find(|gate| !gate.passed) {
        let place = gate.findings.first().filter(|f| !f.file.is_empty());
        let place = place
            .map(|f| format!(" ({}:{})", f.file, f.line))
            .unwrap_or_default();
        return Verdict::Refused(format!(
            "gate {} did not pass: {}{place}",
            gate.gate, gate.message
        ));
    }
    if status.phase != Phase::Succeeded {
        return Verdict::No;
    }
    let spec = ReleaseSpec {
        repository: run.spec.repository.clone(),
        sha: run.spec.sha.clone(),
        branch: branch.into(),
        title: status.title.clone(),
        run: run.name_any(),
        actor: run.spec.actor.clone(),
        images: status.images.clone(),
        gates: status.gates.clone(),
        hold: None,
    };
    Verdict::Release(name(&run.spec.repository, &run.spec.sha), Box::new(spec))
}

/// Name of the release of a commit.
pub(crate) fn name(repository: &str, sha: &str) -> String {
    let short: String = sha.chars().take(12).collect();
    format!("{repository}-{short}")
}

impl Releases {
    pub(crate) async fn reconcile(self: Arc<Self>, key: Key) -> Result<Next, Error> {
        let Some(run) = self.caches.runs.get(&key) else {
            return Ok(Next::Wait);
        };
        let environments = self.caches.environments.in_namespace(&key.namespace);
        match decide(&run, &environments) {
            Verdict::No => {}
            Verdict::Refused(sentence) => {
                if run.annotations().get(REFUSED) != Some(&sentence) {
                    self.annotate(&key, REFUSED, &sentence).await?;
                    self.events
                        .warning(
                            &reference(run.as_ref()),
                            "ReleaseRefused",
                            "Release",
                            sentence,
                        )
                        .await;
                }
            }
            Verdict::Release(name, mut spec) => {
                if run.annotations().get(RELEASE) == Some(&name) {
                    return Ok(Next::Wait);
                }
                if spec.title.is_empty() {
                    let repository = format!("{}/{}", key.namespace, spec.repository);
                    if let Ok(commit) = self.tree.resolve(&repository, &spec.sha).await {
                        spec.title = commit
                            .message
                            .lines()
                            .next()
                            .unwrap_or_default()
                            .to_string();
                    }
                }
                self.create(&key, &name, *spec).await?;
                self.annotate(&key, RELEASE, &name).await?;
            }
        }
        Ok(Next::Wait)
    }

    async fn create(&self, run: &Key, name: &str, spec: ReleaseSpec) -> Result<(), Error> {
        let mut release = Release::new(name, spec);
        release.metadata.namespace = Some(run.namespace.clone());
        release.metadata.labels = Some(BTreeMap::from([
            (
                labels::REPOSITORY.to_string(),
                release.spec.repository.clone(),
            ),
            (labels::COMMIT.to_string(), release.spec.sha.clone()),
            (labels::RUN.to_string(), run.name.clone()),
        ]));
        let api: Api<Release> = Api::namespaced(self.client.clone(), &run.namespace);
        let what = format!("create release {name}");
        match within(&what, api.create(&PostParams::default(), &release)).await? {
            // Another run of the same commit was first.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }

    async fn annotate(&self, run: &Key, annotation: &str, value: &str) -> Result<(), Error> {
        let api: Api<Run> = Api::namespaced(self.client.clone(), &run.namespace);
        let what = format!("annotate run {run}");
        let body = json!({"metadata": {"annotations": {annotation: value}}});
        match within(
            &what,
            api.patch(&run.name, &PatchParams::default(), &Patch::Merge(body)),
        )
        .await?
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_kit::kinds::{BuiltImage, EnvironmentSpec, GateVerdict, RunSpec, RunStatus};

    fn run() -> Run {
        let spec = RunSpec {
            repository: "hello".into(),
            ref_: "refs/heads/main".into(),
            sha: "0123456789abcdef".into(),
            event: "push".into(),
            ..RunSpec::default()
        };
        let mut run = Run::new("r", spec);
        run.status = Some(RunStatus {
            phase: Phase::Succeeded,
            images: vec![BuiltImage {
                name: "demo/hello".into(),
                digest: "sha256:1".into(),
                ..BuiltImage::default()
            }],
            ..RunStatus::default()
        });
        run
    }

    fn environments() -> Vec<Arc<Environment>> {
        let spec = EnvironmentSpec {
            repository: "hello".into(),
            branch: "main".into(),
            ..EnvironmentSpec::default()
        };
        vec![Arc::new(Environment::new("dev", spec))]
    }

    #[test]
    fn only_images_of_a_followed_branch_with_passed_gates_are_released() {
        assert!(
            matches!(decide(&run(), &environments()), Verdict::Release(name, _) if name == "hello-0123456789ab")
        );
        assert_eq!(decide(&run(), &[]), Verdict::No);
        let mut other = run();
        other.spec.event = "pull_request".into();
        assert_eq!(decide(&other, &environments()), Verdict::No);
        let mut gated = run();
        if let Some(status) = &mut gated.status {
            status.phase = Phase::Failed;
            status.gates.push(GateVerdict {
                gate: "coverage".into(),
                message: "61 % of 80 %".into(),
                ..GateVerdict::default()
            });
        }
        let Verdict::Refused(sentence) = decide(&gated, &environments()) else {
            panic!("not refused")
        };
        assert!(
            sentence.contains("coverage") && sentence.contains("80 %"),
            "{sentence}"
        );
    }
}
