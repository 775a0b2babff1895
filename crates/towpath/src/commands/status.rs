//! `towpath status`: the Now lists, or one commit's journey.

use super::print::{age, table, word};
use super::reference::Project;
use crate::cli::{Context, Output};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use towpath_kit::kinds::{Environment, Phase, Promotion, PromotionPhase, Release, Run};

/// Show what needs you, what moves and what is broken; or one commit's journey
///
/// Examples:
///   towpath status
///   towpath status 4f2c91e
///   towpath status -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Commit (or its beginning)
    #[arg(value_name = "COMMIT")]
    commit: Option<String>,
    #[command(flatten)]
    project: Project,
}

#[derive(serde::Serialize)]
struct Seen {
    runs: Vec<Run>,
    releases: Vec<Release>,
    environments: Vec<Environment>,
    promotions: Vec<Promotion>,
}

/// Prints it.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let mut seen = observe(&connection, &args.project.project).await?;
    if let Some(commit) = &args.commit {
        seen.narrow(commit);
        if seen.runs.is_empty() && seen.releases.is_empty() {
            return Err(Problem::new(
                Exit::NotFound,
                "no-commit",
                format!("nothing is known of commit {commit}"),
            )
            .next("towpath status"));
        }
    }
    match context.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&seen).unwrap_or_default()
        ),
        Output::Yaml => println!("{}", serde_saphyr::to_string(&seen).unwrap_or_default()),
        _ if args.commit.is_some() => journey(&seen),
        _ => now(&seen),
    }
    Ok(Exit::Reached)
}

async fn observe(connection: &Connection, project: &str) -> Result<Seen, Problem> {
    let client = &connection.client;
    let everything = ListParams::default();
    let runs = Api::<Run>::namespaced(client.clone(), project);
    let releases = Api::<Release>::namespaced(client.clone(), project);
    let environments = Api::<Environment>::namespaced(client.clone(), project);
    let promotions = Api::<Promotion>::namespaced(client.clone(), project);
    let (runs, releases, environments, promotions) = tokio::try_join!(
        runs.list(&everything),
        releases.list(&everything),
        environments.list(&everything),
        promotions.list(&everything)
    )?;
    let mut seen = Seen {
        runs: runs.items,
        releases: releases.items,
        environments: environments.items,
        promotions: promotions.items,
    };
    seen.runs
        .sort_by_key(|r| std::cmp::Reverse(r.creation_timestamp()));
    seen.environments.sort_by_key(|e| e.spec.order);
    Ok(seen)
}

impl Seen {
    fn narrow(&mut self, commit: &str) {
        self.runs.retain(|r| r.spec.sha.starts_with(commit));
        self.releases.retain(|r| r.spec.sha.starts_with(commit));
        let names: Vec<String> = self.releases.iter().map(|r| r.name_any()).collect();
        self.promotions.retain(|p| {
            let promoted = p
                .status
                .as_ref()
                .map(|s| s.release.clone())
                .unwrap_or_default();
            names.contains(&p.spec.release) || names.contains(&promoted)
        });
    }
}

fn short(sha: &str) -> String {
    sha.get(..7).unwrap_or(sha).to_string()
}

fn now(seen: &Seen) {
    let waiting: Vec<String> = seen
        .promotions
        .iter()
        .filter(|p| {
            p.status
                .as_ref()
                .is_some_and(|s| s.phase == PromotionPhase::WaitingForApproval)
        })
        .map(|p| {
            format!(
                "  approve {}: towpath approve {}",
                p.spec.release,
                p.name_any()
            )
        })
        .collect();
    section("Needs you", &waiting);
    let moving: Vec<String> = seen
        .runs
        .iter()
        .filter(|r| r.status.as_ref().is_none_or(|s| !s.phase.is_final()))
        .map(|r| {
            format!(
                "  run {} of {} {}",
                r.name_any(),
                short(&r.spec.sha),
                words(r)
            )
        })
        .chain(seen.promotions.iter().filter(|p| deploying(p)).map(|p| {
            let message = p
                .status
                .as_ref()
                .map(|s| s.message.clone())
                .unwrap_or_default();
            format!(
                "  promotion {} to {}: {message}",
                p.spec.release, p.spec.environment
            )
        }))
        .collect();
    section("Moving now", &moving);
    let broken: Vec<String> = seen
        .environments
        .iter()
        .filter_map(|e| e.status.as_ref().map(|s| (e, s)))
        .filter(|(_, s)| s.health == "Degraded" || s.sync == "OutOfSync")
        .map(|(e, s)| format!("  {} {}: {}", e.spec.stage, word(&s.health), s.message))
        .chain(latest_failed(&seen.runs))
        .collect();
    section("Broken", &broken);
    table(
        &[
            "ENVIRONMENT",
            "RELEASE",
            "COMMIT",
            "HEALTH",
            "SYNC",
            "SINCE",
        ],
        seen.environments.iter().map(environment_row).collect(),
    );
}

fn latest_failed(runs: &[Run]) -> Option<String> {
    let last = runs.first()?;
    let status = last.status.as_ref().filter(|s| s.phase == Phase::Failed)?;
    Some(format!(
        "  run {} of {}: {}",
        last.name_any(),
        short(&last.spec.sha),
        status.message
    ))
}

fn deploying(promotion: &Promotion) -> bool {
    let phase = promotion
        .status
        .as_ref()
        .map(|s| s.phase)
        .unwrap_or_default();
    matches!(phase, PromotionPhase::Deploying | PromotionPhase::Waiting)
}

fn words(run: &Run) -> String {
    let status = run.status.clone().unwrap_or_default();
    let active = status
        .jobs
        .iter()
        .filter(|j| j.phase == Phase::Running)
        .map(|j| j.name.clone());
    let active: Vec<String> = active.collect();
    if active.is_empty() {
        format!("{:?}", status.phase)
    } else {
        format!("in {}", active.join(", "))
    }
}

fn environment_row(environment: &Environment) -> Vec<String> {
    let status = environment.status.clone().unwrap_or_default();
    let or = |text: String| {
        if text.is_empty() {
            "-".to_string()
        } else {
            text
        }
    };
    vec![
        environment.spec.stage.clone(),
        or(status.release),
        or(short(&status.sha)),
        word(&or(status.health)),
        or(status.sync),
        age(status.since.as_deref()),
    ]
}

fn section(title: &str, lines: &[String]) {
    if lines.is_empty() {
        println!("{title}: nothing");
    } else {
        println!("{title}");
        lines.iter().for_each(|l| println!("{l}"));
    }
}

fn journey(seen: &Seen) {
    for run in &seen.runs {
        let status = run.status.clone().unwrap_or_default();
        println!(
            "{} {} by {}",
            short(&run.spec.sha),
            status.title,
            run.spec.actor
        );
        println!(
            "{} run {} ({})",
            word(&format!("{:?}", status.phase)),
            run.name_any(),
            status.workflow_name
        );
        for finding in &status.findings {
            println!(
                "   {}:{}:{}: {}",
                finding.file, finding.line, finding.column, finding.message
            );
        }
        for job in &status.jobs {
            println!(
                "   {} {} {}",
                word(&format!("{:?}", job.phase)),
                job.name,
                job.message
            );
        }
        for gate in &status.gates {
            let verdict = if gate.passed { "Succeeded" } else { "Failed" };
            println!("   {} gate {}: {}", word(verdict), gate.gate, gate.message);
        }
    }
    for release in &seen.releases {
        let hold = release
            .spec
            .hold
            .as_ref()
            .map(|h| format!(" on hold by {}: {}", h.by, h.reason));
        println!("release {}{}", release.name_any(), hold.unwrap_or_default());
    }
    for promotion in &seen.promotions {
        let status = promotion.status.clone().unwrap_or_default();
        let phase = word(&format!("{:?}", status.phase));
        println!(
            "{phase} {} to {}: {}",
            promotion.spec.kind, promotion.spec.environment, status.message
        );
        status.evidence.iter().for_each(|e| println!("   {e}"));
    }
}
