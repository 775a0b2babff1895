//! One step after the other: condition, inputs, run, environment files, result.

use super::limits::Counts;
use super::process::{Ended, Limits};
use super::state::{StepResult, word};
use super::step::Context;
use super::{Job, Post, artifact, cache, checkout, gates, image, setup, shell};
use crate::commands;
use crate::expr::{Scope, condition, interpolate, value_of};
use crate::job::Event;
use crate::workflow::Step;
use crate::workflow::builtin::{self, Kind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;
use towpath_daemon::CancellationToken;
use towpath_kit::kinds::Phase;

const LIMIT_FILE_BYTES: u64 = 16 << 20;
const LIMIT_SUMMARY_BYTES: u64 = 1 << 20;

// How a step's work ended.
struct Outcome {
    phase: Phase,
    exit_code: Option<i32>,
    message: Option<String>,
}

impl Outcome {
    fn failed(message: impl Into<String>) -> Self {
        Self {
            phase: Phase::Failed,
            exit_code: None,
            message: Some(message.into()),
        }
    }
}

// The files a step writes to, made fresh for it.
struct CommandFiles {
    env: PathBuf,
    output: PathBuf,
    path: PathBuf,
    state: PathBuf,
    summary: PathBuf,
}

impl CommandFiles {
    fn create(temp: &Path, step: u32) -> Result<Self, String> {
        let dir = temp.join("_runner_file_commands");
        std::fs::create_dir_all(&dir).map_err(|e| format!("create {}: {e}", dir.display()))?;
        let file = |name: &str| -> Result<PathBuf, String> {
            let path = dir.join(format!("{name}_{step}"));
            std::fs::write(&path, "").map_err(|e| format!("create {}: {e}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            env: file("set_env")?,
            output: file("set_output")?,
            path: file("add_path")?,
            state: file("save_state")?,
            summary: file("step_summary")?,
        })
    }

    fn variables(&self) -> [(&'static str, &Path); 5] {
        [
            ("GITHUB_ENV", &self.env),
            ("GITHUB_OUTPUT", &self.output),
            ("GITHUB_PATH", &self.path),
            ("GITHUB_STATE", &self.state),
            ("GITHUB_STEP_SUMMARY", &self.summary),
        ]
    }
}

impl Job {
    /// Runs one step, or says that it is skipped.
    pub(super) async fn step(&mut self, number: u32, step: &Step) {
        self.notice_cancel();
        let evaluated = self.state.evaluate(&step.env, &BTreeMap::new());
        let own: BTreeMap<String, String> =
            evaluated.clone().unwrap_or_default().into_iter().collect();
        let wanted = {
            let contexts = self.state.contexts(&own);
            let hash =
                |patterns: &[String]| super::files::hash(&self.state.places.workspace, patterns);
            let scope = Scope {
                contexts: &contexts,
                status: self.state.status(),
                hash_files: Some(&hash),
            };
            let name = step
                .name
                .as_ref()
                .map(|n| interpolate(n, &scope).unwrap_or_else(|_| n.clone()));
            let name = self.sink.mask_text(&name.unwrap_or_else(|| step.title()));
            (
                condition(step.condition.as_deref().unwrap_or(""), &scope),
                name,
            )
        };
        let (run, name) = wanted;
        let outcome = match (run, evaluated) {
            (Ok(false), _) => {
                self.sink.event(Event::StepEnded {
                    step: number,
                    conclusion: Phase::Skipped,
                    exit_code: None,
                });
                return self.remember(step, Phase::Skipped, Phase::Skipped, Vec::new());
            }
            (Err(error), _) => {
                self.sink.event(Event::StepStarted {
                    step: number,
                    name: name.clone(),
                });
                (Outcome::failed(format!("if: {error}")), Vec::new())
            }
            (_, Err(error)) => {
                self.sink.event(Event::StepStarted {
                    step: number,
                    name: name.clone(),
                });
                (Outcome::failed(format!("env {error}")), Vec::new())
            }
            (Ok(true), Ok(_)) => {
                self.sink.event(Event::StepStarted {
                    step: number,
                    name: name.clone(),
                });
                self.work(number, step, own).await
            }
        };
        self.finish(number, step, &name, outcome.0, outcome.1);
    }

    // Says how it ended, and keeps what later steps may ask.
    fn finish(
        &mut self,
        number: u32,
        step: &Step,
        name: &str,
        outcome: Outcome,
        outputs: Vec<(String, String)>,
    ) {
        if let Some(message) = &outcome.message {
            self.sink.error(number, message);
        }
        let forgiven = outcome.phase == Phase::Failed && self.forgiven(step);
        let conclusion = if forgiven {
            Phase::Succeeded
        } else {
            outcome.phase
        };
        self.sink.event(Event::StepEnded {
            step: number,
            conclusion,
            exit_code: outcome.exit_code,
        });
        if conclusion == Phase::Failed {
            self.state.failed = true;
            let message = outcome.message.unwrap_or_else(|| "failed".into());
            self.first_failure
                .get_or_insert(format!("step {number} ({name}): {message}"));
        }
        self.remember(step, outcome.phase, conclusion, outputs);
    }

    fn forgiven(&self, step: &Step) -> bool {
        let Some(text) = &step.continue_on_error else {
            return false;
        };
        let contexts = self.state.contexts(&BTreeMap::new());
        let scope = Scope::new(&contexts, self.state.status());
        interpolate(text, &scope).is_ok_and(|t| t.trim() == "true")
    }

    fn remember(
        &mut self,
        step: &Step,
        outcome: Phase,
        conclusion: Phase,
        outputs: Vec<(String, String)>,
    ) {
        if let Some(id) = &step.id {
            let result = StepResult {
                outputs: outputs.into_iter().collect(),
                outcome: word(outcome),
                conclusion: word(conclusion),
            };
            self.state.steps.push((id.clone(), result));
        }
    }

    fn limits(&self, step: &Step, own: &BTreeMap<String, String>) -> Result<Limits, String> {
        let contexts = self.state.contexts(own);
        let scope = Scope::new(&contexts, self.state.status());
        let mut deadline = if self.state.cancelled {
            self.cancel_deadline
        } else {
            Some(self.deadline)
        };
        if let Some(text) = &step.timeout_minutes {
            let minutes = value_of(text, &scope)
                .map_err(|e| format!("timeout-minutes: {e}"))?
                .to_number();
            if !minutes.is_finite() || minutes <= 0.0 {
                return Err("timeout-minutes is not a number above 0".into());
            }
            let own =
                Instant::now() + Duration::from_secs_f64((minutes * 60.0).min(35.0 * 86_400.0));
            deadline = Some(deadline.map_or(own, |d| d.min(own)));
        }
        // Once cancelled, steps that run all the same are not cancelled by that again; the same
        // holds for a limit.
        let cancel = CancellationToken::new();
        let mut sources = Vec::new();
        if !self.state.cancelled {
            sources.push(self.cancel.clone());
        }
        if !self.watch.stop.is_cancelled() {
            sources.push(self.watch.stop.clone());
        }
        let (target, guard) = (cancel.clone(), cancel.child_token());
        if !sources.is_empty() {
            towpath_daemon::spawn("step limits", async move {
                let any =
                    futures::future::select_all(sources.iter().map(|s| Box::pin(s.cancelled())));
                tokio::select! {
                    _ = any => target.cancel(),
                    () = guard.cancelled() => {}
                }
            });
        }
        Ok(Limits { cancel, deadline })
    }

    async fn work(
        &mut self,
        number: u32,
        step: &Step,
        own: BTreeMap<String, String>,
    ) -> (Outcome, Vec<(String, String)>) {
        let prepared = self.prepare_step(number, step, &own);
        let (files, env, with, limits) = match prepared {
            Ok(prepared) => prepared,
            Err(message) => return (Outcome::failed(message), Vec::new()),
        };
        let text = {
            let contexts = self.state.contexts(&own);
            let hash =
                |patterns: &[String]| super::files::hash(&self.state.places.workspace, patterns);
            let scope = Scope {
                contexts: &contexts,
                status: self.state.status(),
                hash_files: Some(&hash),
            };
            let directory = step.working_directory.as_ref().or(self
                .state
                .job
                .defaults
                .working_directory
                .as_ref());
            let evaluate = |text: Option<&String>| text.map(|t| interpolate(t, &scope)).transpose();
            let shell = step
                .shell
                .as_ref()
                .or(self.state.job.defaults.shell.as_ref());
            let all = (|| {
                Ok::<_, String>((
                    evaluate(step.run.as_ref())?,
                    evaluate(shell)?,
                    evaluate(directory)?,
                ))
            })();
            match all {
                Ok(all) => all,
                Err(message) => return (Outcome::failed(message), Vec::new()),
            }
        };
        let mut context = Context {
            number,
            sink: self.sink.clone(),
            job: &self.state.job,
            places: &self.state.places,
            env,
            with,
            server: &self.server,
            limits: limits.clone(),
            outputs: Vec::new(),
            exports: Vec::new(),
            posts: Vec::new(),
        };
        let (run, shell, directory) = text;
        let before = Counts::now();
        let stopped_before = self.watch.stop.is_cancelled();
        let ended = match (run, &step.uses) {
            (Some(script), _) => {
                let directory = context.places.workspace.join(directory.unwrap_or_default());
                shell::script(&mut context, &script, shell.as_deref(), &directory, &limits).await
            }
            (None, Some(uses)) => builtin(&mut context, uses, &limits).await,
            (None, None) => Err("the step has neither run nor uses".into()),
        };
        let (mut outputs, exports, posts) = (context.outputs, context.exports, context.posts);
        self.posts.extend(
            posts
                .into_iter()
                .map(|p| (format!("Post {}", step.title()), p)),
        );
        self.state.env.extend(exports);
        let stopped = !stopped_before && self.watch.stop.is_cancelled();
        let mut outcome = self.judge(ended, &limits, stopped);
        // Ends the task that waits for a reason to cancel.
        limits.cancel.cancel();
        match before.since().or_else(|| likely(&outcome)) {
            Some(hit) if outcome.phase == Phase::Failed && !stopped => {
                name_limit(&mut outcome, hit)
            }
            Some(hit) if outcome.phase == Phase::Succeeded => self.sink.warning(number, hit),
            _ => {}
        }
        match self.read_files(number, &files) {
            Ok(more) => outputs.extend(more),
            Err(message) if outcome.phase == Phase::Succeeded => outcome = Outcome::failed(message),
            Err(message) => self.sink.error(number, &message),
        }
        (outcome, outputs)
    }

    #[allow(clippy::type_complexity)]
    fn prepare_step(
        &self,
        number: u32,
        step: &Step,
        own: &BTreeMap<String, String>,
    ) -> Result<
        (
            CommandFiles,
            BTreeMap<String, String>,
            Vec<(String, String)>,
            Limits,
        ),
        String,
    > {
        let files = CommandFiles::create(&self.state.places.temp, number)?;
        let mut env = self.state.base_environment();
        env.extend(own.clone());
        for (name, path) in files.variables() {
            env.insert(name.into(), path.to_string_lossy().into_owned());
        }
        env.insert(
            "GITHUB_ACTION".into(),
            step.id.clone().unwrap_or_else(|| format!("__run_{number}")),
        );
        let with = self
            .state
            .evaluate(&step.with, own)
            .map_err(|e| format!("with {e}"))?;
        let limits = self.limits(step, own)?;
        Ok((files, env, with, limits))
    }

    fn judge(&mut self, ended: Result<Ended, String>, limits: &Limits, stopped: bool) -> Outcome {
        let code = |code: i32| Outcome {
            phase: if code == 0 {
                Phase::Succeeded
            } else {
                Phase::Failed
            },
            exit_code: Some(code),
            message: (code != 0).then(|| format!("process completed with exit code {code}")),
        };
        match ended {
            Ok(Ended::Code(0)) => code(0),
            // However the step ended by it: killed, cancelled, or failed by what it started.
            _ if stopped => Outcome::failed(self.watch.why().unwrap_or_default()),
            Ok(Ended::Code(n)) => code(n),
            Ok(Ended::Signal(signal)) => Outcome {
                phase: Phase::Failed,
                exit_code: Some(128 + signal),
                message: Some(format!("process was ended by signal {signal}")),
            },
            Ok(Ended::Cancelled) => Outcome {
                phase: Phase::Cancelled,
                exit_code: None,
                message: Some("cancelled".into()),
            },
            Ok(Ended::TimedOut) => {
                let job_over =
                    Instant::now() >= self.deadline && limits.deadline >= Some(self.deadline);
                if job_over && !self.state.cancelled {
                    self.notice_cancel();
                    return Outcome::failed(format!(
                        "the job took longer than {} minutes",
                        self.state.job.timeout_minutes
                    ));
                }
                Outcome::failed("the step took too long")
            }
            Err(message) => Outcome::failed(message),
        }
    }

    // What the step wrote to its files takes effect for the steps after it.
    fn read_files(
        &mut self,
        number: u32,
        files: &CommandFiles,
    ) -> Result<Vec<(String, String)>, String> {
        let read = |path: &Path, limit: u64, name: &str| -> Result<String, String> {
            let bytes = towpath_stdx::bounded::read_file(path, limit)
                .map_err(|e| format!("{name}: {e}"))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let summary = read(&files.summary, LIMIT_SUMMARY_BYTES, "GITHUB_STEP_SUMMARY")?;
        if !summary.trim().is_empty() {
            self.sink.log(
                number,
                &format!("##[group]Summary\n{}\n##[endgroup]", summary.trim_end()),
            );
        }
        let env = read(&files.env, LIMIT_FILE_BYTES, "GITHUB_ENV")?;
        for (name, value) in commands::parse_pairs(&env).map_err(|e| format!("GITHUB_ENV {e}"))? {
            if !commands::may_set(&name) {
                return Err(format!("GITHUB_ENV cannot set {name}"));
            }
            self.state.env.insert(name, value);
        }
        let path = read(&files.path, LIMIT_FILE_BYTES, "GITHUB_PATH")?;
        self.state.path.extend(
            path.lines()
                .map(str::trim)
                .filter(|l| !l.is_empty())
                .map(str::to_string),
        );
        let output = read(&files.output, LIMIT_FILE_BYTES, "GITHUB_OUTPUT")?;
        commands::parse_pairs(&output).map_err(|e| format!("GITHUB_OUTPUT {e}"))
    }

    /// Runs what a step left for the end.
    pub(super) async fn post(&mut self, number: u32, title: &str, post: Post) {
        self.notice_cancel();
        let Post::SaveCache { key, path } = post;
        if self.state.failed || self.state.cancelled {
            return;
        }
        self.sink.event(Event::StepStarted {
            step: number,
            name: title.to_string(),
        });
        let context = Context {
            number,
            sink: self.sink.clone(),
            job: &self.state.job,
            places: &self.state.places,
            env: self.state.base_environment(),
            with: Vec::new(),
            server: &self.server,
            limits: Limits {
                cancel: self.cancel.clone(),
                deadline: Some(self.deadline),
            },
            outputs: Vec::new(),
            exports: Vec::new(),
            posts: Vec::new(),
        };
        // A cache that cannot be saved costs time later; it does not make the job wrong.
        if let Err(message) = cache::save(&context, &key, &path).await {
            self.sink
                .warning(number, &format!("cache not saved: {message}"));
        }
        self.sink.event(Event::StepEnded {
            step: number,
            conclusion: Phase::Succeeded,
            exit_code: None,
        });
    }
}

// Where the control group cannot be seen, the way a step ended still tells: nothing but the
// kernel kills inside a job, and a program that cannot be started has no process left for it.
fn likely(outcome: &Outcome) -> Option<&'static str> {
    let message = outcome.message.as_deref().unwrap_or_default();
    match outcome.exit_code {
        Some(137) => {
            Some("it was killed, most likely because the job used more memory than its limit")
        }
        Some(254) => Some("the job most likely reached its limit of processes"),
        None if message.contains("os error 11") => Some("the job reached its limit of processes"),
        _ => None,
    }
}

fn name_limit(outcome: &mut Outcome, hit: &str) {
    let message = outcome.message.take().unwrap_or_default();
    outcome.message = Some(format!("{message}: {hit}"));
}

async fn builtin(context: &mut Context<'_>, uses: &str, limits: &Limits) -> Result<Ended, String> {
    let Some((found, version)) = builtin::find(uses) else {
        return Err(format!("{uses} is not a built-in step"));
    };
    let lines: Vec<String> = context
        .with
        .iter()
        .map(|(k, v)| format!("{k}: {}", v.trim_end()))
        .collect();
    context.group(&format!("Run {uses} (built in)"), &lines);
    let deadline = limits
        .deadline
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
    let work = async {
        match found.kind {
            Kind::Checkout => checkout::run(context).await,
            Kind::UploadArtifact => artifact::upload(context).await,
            Kind::DownloadArtifact => artifact::download(context).await,
            Kind::Cache => cache::run(context, true).await,
            Kind::CacheRestore => cache::run(context, false).await,
            Kind::CacheSave => {
                let (key, path) = (
                    context.input("key").to_string(),
                    context.input("path").to_string(),
                );
                cache::save(context, &key, &path).await
            }
            Kind::BuildPush => image::build_push(context).await,
            Kind::NotNeeded => {
                context.log("Not needed here: images are built and kept by this server.");
                Ok(())
            }
            Kind::Setup(tool) => setup::run(context, tool, version).await,
            Kind::GateCoverage => gates::coverage(context).await,
            Kind::GateSecrets => gates::secrets(context).await,
            Kind::GateVulnerabilities => gates::vulnerabilities(context).await,
        }
    };
    tokio::select! {
        biased;
        result = work => result.map(|()| Ended::Code(0)),
        () = limits.cancel.cancelled() => Ok(Ended::Cancelled),
        () = tokio::time::sleep_until(deadline) => Ok(Ended::TimedOut),
    }
}
