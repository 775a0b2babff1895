//! One release into one environment.
//!
//! While it waits, [`plan`] asks every gate on each change and says what it waits for. When all
//! have passed, a commit on the environment's branch pins the release ([`deploy`]); from then on
//! the application's health decides, and [`evidence`] explains a failure. Every step can be
//! repeated: the commit names its promotion, so it is found again after a crash.

mod deploy;
mod evidence;
mod plan;

use crate::Error;
use crate::cluster::within;
use crate::environment::branch;
use crate::heads::Heads;
use crate::parts::{Caches, Queues, reference};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use plan::{Answer, Outcome, Snapshot};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::kinds::{Environment, Hold, Promotion, PromotionPhase, PromotionStatus, Release};
use towpath_kit::traits::SourceTree;
use towpath_stdx::Clock;

/// Value of a trailer line `Name: value` of a commit message.
pub(crate) fn trailer<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    message
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub(crate) struct Promotions {
    pub(crate) client: Client,
    pub(crate) caches: Caches,
    pub(crate) queues: Queues,
    pub(crate) tree: Arc<dyn SourceTree>,
    pub(crate) heads: Heads,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deploy_limit: Duration,
    pub(crate) events: Events,
}

impl Promotions {
    pub(crate) async fn reconcile(self: Arc<Self>, key: Key) -> Result<Next, Error> {
        let Some(promotion) = self.caches.promotions.get(&key) else {
            return Ok(Next::Wait);
        };
        let status = promotion.status.clone().unwrap_or_default();
        if status.phase.is_final() || promotion.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        if status.phase == PromotionPhase::Deploying {
            return self.follow(&key, &promotion, status).await;
        }
        self.wait(&key, &promotion, status).await
    }

    // Until every gate has passed.
    async fn wait(
        &self,
        key: &Key,
        promotion: &Promotion,
        old: PromotionStatus,
    ) -> Result<Next, Error> {
        let environment = self.environment(key, promotion);
        let siblings: Vec<Arc<Promotion>> = self
            .caches
            .promotions
            .in_namespace(&key.namespace)
            .into_iter()
            .filter(|p| {
                p.spec.environment == promotion.spec.environment && p.name_any() != key.name
            })
            .collect();
        let environments = self.caches.environments.in_namespace(&key.namespace);
        let releases = self.caches.releases.in_namespace(&key.namespace);
        let promotions = self.caches.promotions.in_namespace(&key.namespace);
        let verdict = plan::decide(&Snapshot {
            promotion,
            environment: environment.as_deref(),
            releases: &releases,
            siblings: &siblings,
            environments: &environments,
            promotions: &promotions,
        });
        let mut status = old.clone();
        status.phase = verdict.phase;
        status.message = verdict.message;
        status.gates = verdict.gates;
        status.release = verdict.release;
        if status.phase.is_final() {
            status.finished_at = Some(self.clock.rfc3339());
        }
        if let (Answer::Go, Some(environment)) = (verdict.answer, &environment) {
            status.started_at = Some(self.clock.rfc3339());
            status.previous = environment
                .status
                .as_ref()
                .map(|s| s.release.clone())
                .unwrap_or_default();
            status.message = format!("deploying {} to {}", status.release, environment.spec.stage);
            // Recorded before the first deed, so that a restart continues instead of asking the
            // gates again.
            self.write(key, &status).await?;
            return self.follow(key, promotion, status).await;
        }
        if status != old {
            self.write(key, &status).await?;
        }
        Ok(Next::Wait)
    }

    // From the commit to healthy or failed.
    async fn follow(
        &self,
        key: &Key,
        promotion: &Promotion,
        mut status: PromotionStatus,
    ) -> Result<Next, Error> {
        let Some(environment) = self.environment(key, promotion) else {
            return self
                .end(
                    key,
                    promotion,
                    status,
                    PromotionPhase::Failed,
                    "the environment is gone".into(),
                    Vec::new(),
                )
                .await;
        };
        let started = status
            .started_at
            .as_deref()
            .and_then(towpath_stdx::clock::parse_rfc3339)
            .unwrap_or(0);
        let now = self.clock.since_epoch().as_secs();
        let elapsed = now.saturating_sub(started);
        if status.revision.is_empty() {
            let release = self
                .caches
                .releases
                .get(&Key::new(key.namespace.clone(), status.release.clone()));
            let Some(release) = release else {
                let sentence = format!("release {} is gone", status.release);
                return self
                    .end(
                        key,
                        promotion,
                        status,
                        PromotionPhase::Failed,
                        sentence,
                        Vec::new(),
                    )
                    .await;
            };
            if promotion.spec.goes_back() {
                self.hold_bad(key, promotion, &status).await?;
            }
            let written = match self.commit(key, promotion, &environment, &release).await {
                Ok(written) => written,
                // Git may be busy or slow, but not for ever.
                Err(error) if elapsed < self.deploy_limit.as_secs() => return Err(error),
                Err(error) => Err(error.sentence()),
            };
            match written {
                Ok(revision) => status.revision = revision,
                Err(sentence) => {
                    return self
                        .end(
                            key,
                            promotion,
                            status,
                            PromotionPhase::Failed,
                            sentence,
                            Vec::new(),
                        )
                        .await;
                }
            }
            status.message = format!(
                "{} written to {}; waiting until it is healthy",
                short(&status.revision),
                branch(&environment)
            );
            self.write(key, &status).await?;
            self.heads.forget(&format!(
                "{}/{}",
                key.namespace, environment.spec.repository
            ));
            // The branch moved: the application looks now, not at its next timer.
            self.queues
                .applications
                .add(Key::new(key.namespace.clone(), environment.name_any()));
        }
        let others = self.caches.promotions.in_namespace(&key.namespace);
        if let Some(newer) = plan::overtaken_by(promotion, &others) {
            let sentence = format!("{} took its place", newer.name_any());
            return self
                .end(
                    key,
                    promotion,
                    status,
                    PromotionPhase::Superseded,
                    sentence,
                    Vec::new(),
                )
                .await;
        }
        let app = self
            .caches
            .applications
            .get(&Key::new(key.namespace.clone(), environment.name_any()));
        let pods = self.caches.pods.in_namespace(&environment.spec.namespace);
        let outcome = plan::outcome(&plan::Progress {
            app: app.as_deref(),
            revision: &status.revision,
            elapsed,
            limit: self.deploy_limit.as_secs(),
            trouble: evidence::trouble(&pods, started),
        });
        match outcome {
            Outcome::Wait(sentence) => {
                if status.message != sentence {
                    status.message = sentence;
                    self.write(key, &status).await?;
                }
                let left = self.deploy_limit.as_secs().saturating_sub(elapsed);
                Ok(Next::After(Duration::from_secs(left.clamp(1, 30))))
            }
            Outcome::Succeeded => {
                let sentence = format!(
                    "{} is healthy in {}",
                    status.release, environment.spec.stage
                );
                self.end(
                    key,
                    promotion,
                    status,
                    PromotionPhase::Succeeded,
                    sentence,
                    Vec::new(),
                )
                .await
            }
            Outcome::Failed(sentence) => {
                let mut found = self.gather(&environment, &pods, started).await;
                if let Some(previous) =
                    Some(&status.previous).filter(|p| !p.is_empty() && **p != status.release)
                {
                    let back = environment.spec.promotion.auto_rollback;
                    found.push(if back && !promotion.spec.goes_back() {
                        "next: it is taken back by itself; fix forward with a new commit".into()
                    } else {
                        format!(
                            "next: fix forward with a new commit, or `towpath rollback {} -m WHY` goes back to {previous}",
                            environment.name_any()
                        )
                    });
                }
                self.end(
                    key,
                    promotion,
                    status,
                    PromotionPhase::Failed,
                    sentence,
                    found,
                )
                .await
            }
        }
    }

    fn environment(&self, key: &Key, promotion: &Promotion) -> Option<Arc<Environment>> {
        self.caches.environments.get(&Key::new(
            key.namespace.clone(),
            promotion.spec.environment.clone(),
        ))
    }

    async fn end(
        &self,
        key: &Key,
        promotion: &Promotion,
        mut status: PromotionStatus,
        phase: PromotionPhase,
        sentence: String,
        evidence: Vec<String>,
    ) -> Result<Next, Error> {
        status.phase = phase;
        status.message = sentence;
        status.evidence = evidence;
        status.finished_at = Some(self.clock.rfc3339());
        self.write(key, &status).await?;
        let about = reference(promotion);
        if phase == PromotionPhase::Succeeded {
            self.events
                .normal(&about, "Promoted", "Promote", status.message.clone())
                .await;
        } else {
            self.events
                .warning(&about, "PromotionFailed", "Promote", status.message.clone())
                .await;
        }
        Ok(Next::Wait)
    }

    async fn write(&self, key: &Key, status: &PromotionStatus) -> Result<(), Error> {
        let api: Api<Promotion> = Api::namespaced(self.client.clone(), &key.namespace);
        let what = format!("update promotion {key}");
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

    // What is rolled back must not come again by itself.
    async fn hold_bad(
        &self,
        key: &Key,
        promotion: &Promotion,
        status: &PromotionStatus,
    ) -> Result<(), Error> {
        if status.previous.is_empty() || status.previous == status.release {
            return Ok(());
        }
        let bad = Key::new(key.namespace.clone(), status.previous.clone());
        let held = self
            .caches
            .releases
            .get(&bad)
            .is_none_or(|release| release.spec.hold.is_some());
        if held {
            return Ok(());
        }
        let hold = Hold {
            reason: format!(
                "rolled back in {}: {}",
                promotion.spec.environment, promotion.spec.reason
            ),
            by: promotion.spec.by.clone(),
            since: self.clock.rfc3339(),
        };
        let api: Api<Release> = Api::namespaced(self.client.clone(), &key.namespace);
        let what = format!("hold release {bad}");
        let patch = Patch::Merge(json!({"spec": {"hold": hold}}));
        match within(&what, api.patch(&bad.name, &PatchParams::default(), &patch)).await? {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }
}

fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_read_from_the_end() {
        let message = "deploy x\n\nTowpath-Release: a\nTowpath-Release: b\n";
        assert_eq!(trailer(message, "Towpath-Release"), Some("b"));
        assert_eq!(trailer(message, "Towpath-Commit"), None);
    }
}
