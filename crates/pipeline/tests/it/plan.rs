//! Scripts: a workflow, `===`, then commands and what was planned after each.
//!
//! `plan` decides and does it · `end ROW PHASE [name=value]` a job ends by itself · `pod ROW
//! REASON` its pod ends without a word · `gone ROW` its pod vanishes · `cancel` · `rerun failed`
//! · `earlier NAME GROUP waiting|holding` / `later` runs in the way · `time SECONDS` passes.

use std::collections::BTreeMap;
use towpath_kit::kinds::{Phase, RunSpec, RunStatus};
use towpath_pipeline::run::contexts::Facts;
use towpath_pipeline::run::observed::{Ended, PodState, Progress};
use towpath_pipeline::run::plan::{Action, Earlier, Observed, plan};
use towpath_pipeline::workflow::{Read, read};
use towpath_stdx::clock::rfc3339;

struct World {
    facts: Facts,
    read: Read,
    status: RunStatus,
    progress: BTreeMap<String, Progress>,
    pods: BTreeMap<String, PodState>,
    earlier: Vec<Earlier>,
    held: BTreeMap<String, String>,
    seconds: u64,
}

impl World {
    fn plan(&mut self) -> String {
        let images = BTreeMap::from([("ubuntu-latest".to_string(), "image".to_string())]);
        let now = rfc3339(1_800_000_000 + self.seconds);
        let plan = plan(&Observed {
            facts: &self.facts,
            read: &self.read,
            status: &self.status,
            progress: &self.progress,
            pods: &self.pods,
            earlier: &self.earlier,
            held: &self.held,
            images: &images,
            now: &now,
        });
        self.status = plan.status;
        let mut out = format!("  run {:?}: {}\n", self.status.phase, self.status.message);
        for job in &self.status.jobs {
            out.push_str(&format!(
                "  {} {:?} [{}]: {}\n",
                job.id, job.phase, job.name, job.message
            ));
        }
        for action in plan.actions {
            match &action {
                Action::Start(start) => {
                    out.push_str(&format!(
                        "  -> start {} timeout {}\n",
                        start.row, start.timeout_minutes
                    ));
                    let name = self
                        .status
                        .jobs
                        .iter()
                        .find(|j| j.id == start.row)
                        .unwrap()
                        .pod
                        .clone();
                    self.pods.insert(
                        start.row.clone(),
                        PodState {
                            name,
                            started: true,
                            ..PodState::default()
                        },
                    );
                    let progress = Progress {
                        started: true,
                        ..Progress::default()
                    };
                    self.progress.insert(start.row.clone(), progress);
                }
                Action::Stop { pod } => {
                    let row = self.pods.iter_mut().find(|(_, p)| p.name == *pod);
                    let row = row.map(|(row, p)| {
                        p.deleting = true;
                        row.clone()
                    });
                    out.push_str(&format!(
                        "  -> stop {}\n",
                        row.unwrap_or_else(|| pod.clone())
                    ));
                }
                Action::Remove { row } => {
                    self.pods.remove(row);
                    self.progress.remove(row);
                    out.push_str(&format!("  -> remove {row}\n"));
                }
                Action::CancelRun { name } => out.push_str(&format!("  -> cancel run {name}\n")),
            }
        }
        out
    }

    fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["plan"] => return self.plan(),
            ["end", row, phase, rest @ ..] => {
                let conclusion = match *phase {
                    "Succeeded" => Phase::Succeeded,
                    "Failed" => Phase::Failed,
                    _ => Phase::Cancelled,
                };
                let outputs = rest
                    .iter()
                    .filter_map(|p| p.split_once('='))
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect();
                let message = if conclusion == Phase::Failed {
                    "step 1 (x): exit code 1"
                } else {
                    ""
                };
                self.progress.entry(row.to_string()).or_default().ended = Some(Ended {
                    conclusion,
                    message: message.into(),
                    outputs,
                });
            }
            ["pod", row, reason @ ..] => {
                let pod = self.pods.get_mut(*row).unwrap();
                pod.ended = true;
                pod.reason = reason.join(" ");
                self.progress
                    .entry(row.to_string())
                    .or_default()
                    .stream_over = true;
            }
            ["gone", row] => drop(self.pods.remove(*row)),
            ["cancel"] => self.facts.spec.cancel = true,
            ["rerun", "failed"] => {
                self.facts.spec.attempt += 1;
                self.facts.spec.failed_only = true;
                self.facts.spec.cancel = false;
            }
            ["earlier", name, group, state] => {
                let waiting = *state == "waiting";
                self.earlier.push(Earlier {
                    name: name.to_string(),
                    group: Some(group.to_string()),
                    waiting,
                    since: String::new(),
                });
            }
            ["later"] => self.earlier.clear(),
            ["time", seconds] => self.seconds += seconds.parse::<u64>().unwrap(),
            _ => panic!("unknown command {line:?}"),
        }
        String::new()
    }
}

#[test]
fn scripts() {
    for path in super::corpus("plan", "txt") {
        let text = std::fs::read_to_string(&path).unwrap();
        let (source, script) = text.split_once("===\n").unwrap();
        let spec = RunSpec {
            repository: "hello".into(),
            ref_: "refs/heads/main".into(),
            sha: "1".repeat(40),
            event: "push".into(),
            workflow: ".github/workflows/w.yml".into(),
            actor: "admin".into(),
            attempt: 1,
            ..RunSpec::default()
        };
        let mut world = World {
            facts: Facts {
                namespace: "demo".into(),
                name: "hello-1".into(),
                spec,
                workflow_name: "w".into(),
                ..Facts::default()
            },
            read: read(".github/workflows/w.yml", source.as_bytes()),
            status: RunStatus::default(),
            progress: BTreeMap::new(),
            pods: BTreeMap::new(),
            earlier: Vec::new(),
            held: BTreeMap::new(),
            seconds: 0,
        };
        let mut out = format!("{source}===\n");
        for line in script.lines().filter(|l| !l.starts_with("  ")) {
            out.push_str(&format!("{line}\n{}", world.command(line)));
            // What was decided holds: deciding again from the same world changes nothing.
            if line == "plan" {
                let pods = world.pods.clone();
                world.plan();
                let status = world.status.clone();
                world.plan();
                assert_eq!(
                    world.status,
                    status,
                    "{}: {line} is not stable",
                    path.display()
                );
                world.pods = pods;
            }
        }
        super::expect(&path, &out);
    }
}
