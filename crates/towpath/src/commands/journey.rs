//! One commit's way, live: spinners on a terminal, one line per change without one.

use super::promote;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use futures::stream::{BoxStream, SelectAll, StreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use towpath_kit::kinds::{Environment, Phase, Promotion, PromotionPhase, Run};

/// What to wait for.
pub struct Goal {
    /// Namespace.
    pub project: String,
    /// `Repository`.
    pub repository: String,
    /// Commit.
    pub sha: String,
    /// Environment's stage or name; none means the end of the run.
    pub stage: Option<String>,
}

enum Seen {
    Run(Run),
    Promotion(Promotion),
    Environment(Environment),
}

/// Follows until the goal is reached or cannot be reached any more.
pub async fn follow(connection: &Connection, goal: &Goal) -> Result<Exit, Problem> {
    let mut events = SelectAll::new();
    let client = &connection.client;
    events.push(watch::<Run>(client, goal, Seen::Run));
    events.push(watch::<Promotion>(client, goal, Seen::Promotion));
    events.push(watch::<Environment>(client, goal, Seen::Environment));
    let mut view = View::new();
    let mut promoted: BTreeMap<String, Promotion> = BTreeMap::new();
    let mut here: Option<Environment> = None;
    while let Some(event) = events.next().await {
        match event {
            Seen::Run(run)
                if run.spec.sha == goal.sha && run.spec.repository == goal.repository =>
            {
                show_run(&mut view, &run);
                if let Some(exit) = run_end(&run, goal, &mut view) {
                    return Ok(exit);
                }
            }
            Seen::Promotion(promotion) => {
                if promotion.spec.release.contains(&goal.sha[..12]) {
                    let status = promotion.status.clone().unwrap_or_default();
                    let line = format!("{:?} {}", status.phase, status.message);
                    view.show(
                        &format!("deploy to {}", promotion.spec.environment),
                        &line,
                        status.phase.is_final(),
                    );
                    promoted.insert(promotion.name_any(), promotion);
                }
                if let Some(bad) = promotion_end(&promoted, goal, &mut view) {
                    let say = |line: &str| view.note(line);
                    return Ok(promote::after_failure(client, bad, say).await);
                }
            }
            Seen::Environment(environment) if wanted(&environment, goal) => {
                let status = environment.status.clone().unwrap_or_default();
                if status.sha == goal.sha {
                    let line = format!("{} {} {}", status.health, status.sync, status.message);
                    view.show(&environment.spec.stage, &line, status.health == "Healthy");
                }
                here = Some(environment);
            }
            _ => {}
        }
        if here
            .as_ref()
            .is_some_and(|environment| arrived(environment, &promoted, goal))
        {
            return Ok(Exit::Reached);
        }
    }
    Err(Problem::new(
        Exit::Unreachable,
        "watch",
        "the server ended the watch",
    ))
}

// Until the promotion has ended, the health that an environment shows may still be that of the
// release before.
fn arrived(environment: &Environment, promoted: &BTreeMap<String, Promotion>, goal: &Goal) -> bool {
    let Some(status) = &environment.status else {
        return false;
    };
    let ended = |p: &Promotion| {
        p.status
            .as_ref()
            .is_some_and(|s| s.phase == PromotionPhase::Succeeded)
    };
    status.sha == goal.sha
        && status.health == "Healthy"
        && status.sync == "Synced"
        && promoted
            .values()
            .any(|p| p.spec.environment == environment.name_any() && ended(p))
}

fn wanted(environment: &Environment, goal: &Goal) -> bool {
    let stage = goal.stage.as_deref();
    environment.spec.repository == goal.repository
        && (stage == Some(environment.spec.stage.as_str())
            || stage == Some(environment.name_any().as_str()))
}

fn watch<K>(client: &Client, goal: &Goal, wrap: fn(K) -> Seen) -> BoxStream<'static, Seen>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), &goal.project);
    let events = watcher::watcher(api, watcher::Config::default().streaming_lists());
    let paced = events.then(|event| async {
        if event.is_err() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        event
    });
    let objects = paced.filter_map(move |event| async move {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => Some(wrap(object)),
            _ => None,
        }
    });
    objects.boxed()
}

fn show_run(view: &mut View, run: &Run) {
    let status = run.status.clone().unwrap_or_default();
    for job in &status.jobs {
        let step = job
            .steps
            .iter()
            .rfind(|s| s.phase == Phase::Running)
            .map(|s| s.name.clone());
        let failed = job
            .steps
            .iter()
            .find(|s| s.phase == Phase::Failed)
            .map(|s| format!("at step {}", s.name));
        let detail = failed.or(step).unwrap_or_else(|| job.message.clone());
        view.show(
            &job.name,
            &format!("{:?} {detail}", job.phase),
            job.phase.is_final(),
        );
    }
}

fn run_end(run: &Run, goal: &Goal, view: &mut View) -> Option<Exit> {
    let status = run.status.clone().unwrap_or_default();
    if !status.phase.is_final() || status.attempt < run.spec.attempt {
        return None;
    }
    if status.phase == Phase::Succeeded {
        view.show("run", &format!("Succeeded {}", run.name_any()), true);
        return goal.stage.is_none().then_some(Exit::Reached);
    }
    view.show(
        "run",
        &format!("{:?} {}", status.phase, status.message),
        true,
    );
    for finding in &status.findings {
        view.note(&format!(
            "{}:{}:{}: {}",
            finding.file, finding.line, finding.column, finding.message
        ));
    }
    for gate in status.gates.iter().filter(|g| !g.passed) {
        view.note(&format!("gate {}: {}", gate.gate, gate.message));
    }
    view.note(&format!("towpath logs --run {} --failed", run.name_any()));
    Some(Exit::Failed)
}

fn promotion_end<'p>(
    promotions: &'p BTreeMap<String, Promotion>,
    goal: &Goal,
    view: &mut View,
) -> Option<&'p Promotion> {
    use towpath_kit::kinds::PromotionPhase::{Failed, Refused};
    let stage = goal.stage.as_deref()?;
    let bad = promotions.values().find(|p| {
        let phase = p.status.as_ref().map(|s| s.phase).unwrap_or_default();
        p.spec.environment.ends_with(stage) && matches!(phase, Failed | Refused)
    })?;
    bad.status
        .iter()
        .flat_map(|s| &s.evidence)
        .for_each(|line| view.note(line));
    Some(bad)
}

/// Live lines: a spinner each on a terminal that wants it, else one line per change.
struct View {
    bars: Option<MultiProgress>,
    lines: BTreeMap<String, (String, Option<ProgressBar>)>,
    begin: Instant,
}

impl View {
    fn new() -> Self {
        let plain = std::env::var_os("ACCESSIBLE").is_some()
            || std::env::var("TERM").is_ok_and(|t| t == "dumb")
            || !std::io::stderr().is_terminal();
        let bars = (!plain).then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self {
            bars,
            lines: BTreeMap::new(),
            begin: towpath_stdx::Clock::monotonic(&towpath_stdx::SystemClock),
        }
    }

    fn show(&mut self, name: &str, text: &str, ended: bool) {
        let text = text.trim().to_string();
        let bars = self.bars.as_ref();
        let entry = self.lines.entry(name.to_string()).or_insert_with(|| {
            let bar = bars.map(|bars| {
                let bar = bars.add(ProgressBar::new_spinner());
                let style = ProgressStyle::with_template("{spinner} {prefix:24} {wide_msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(name.to_string());
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            (String::new(), bar)
        });
        if entry.0 == text {
            return;
        }
        entry.0 = text.clone();
        match &entry.1 {
            Some(bar) if ended => bar.finish_with_message(text),
            Some(bar) => bar.set_message(text),
            None => eprintln!(
                "{:6.1} s  {name}: {text}",
                self.begin.elapsed().as_secs_f64()
            ),
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.println(format!("    {text}"));
            }
            None => eprintln!("    {text}"),
        }
    }
}
