//! `towpath logs --run RUN`.

use crate::cli::Context;
use crate::commands::reference::Project;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use futures::StreamExt;
use kube::api::Api;
use std::io::Write;
use towpath_kit::kinds::{JobStatus, Phase, Run, StepStatus};

/// Whose steps, and which of them.
#[derive(clap::Args)]
pub(super) struct Steps {
    /// Run whose steps are wanted
    #[arg(long)]
    run: Option<String>,
    /// Only steps that failed
    #[arg(long, requires = "run")]
    failed: bool,
    /// Only this job
    #[arg(long, requires = "run")]
    job: Option<String>,
    #[command(flatten)]
    project: Project,
}

/// Prints them; exit 1 where the run failed.
pub(super) async fn run(context: Context, args: Steps) -> Result<Exit, Problem> {
    let Some(name) = &args.run else {
        let what = "nothing is asked for";
        return Err(Problem::new(Exit::Failed, "usage", what)
            .why("steps of a run are named by --run, other lines are asked for by query")
            .next("towpath logs query '{namespace=\"hello-dev\"}'"));
    };
    let connection = Connection::open(&context.config).await?;
    let project = &args.project.project;
    let run = Api::<Run>::namespaced(connection.client.clone(), project)
        .get(name)
        .await?;
    let status = run.status.unwrap_or_default();
    for finding in &status.findings {
        println!(
            "{}:{}:{}: {}",
            finding.file, finding.line, finding.column, finding.message
        );
    }
    for job in status
        .jobs
        .iter()
        .filter(|j| args.job.as_ref().is_none_or(|id| *id == j.id))
    {
        for step in job
            .steps
            .iter()
            .filter(|s| !args.failed || s.phase == Phase::Failed)
        {
            step_log(&connection, project, name, job, step).await?;
        }
        // What ended the job from outside stands in no step's log.
        if job.phase == Phase::Failed && !job.message.is_empty() {
            println!("job {}: {}", job.name, job.message);
        }
    }
    Ok(if status.phase == Phase::Failed {
        Exit::Failed
    } else {
        Exit::Reached
    })
}

async fn step_log(
    connection: &Connection,
    project: &str,
    run: &str,
    job: &JobStatus,
    step: &StepStatus,
) -> Result<(), Problem> {
    eprintln!(
        "== {} / {} {} ({:?})",
        job.name, step.number, step.name, step.phase
    );
    let path = format!(
        "/api/v1/runs/{project}/{run}/jobs/{}/steps/{}/log",
        job.id, step.number
    );
    let lost = |e: reqwest::Error| {
        Problem::new(Exit::Unreachable, "server", "the log could not be read").why(e.to_string())
    };
    let response = connection
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .map_err(lost)?;
    if !response.status().is_success() {
        eprintln!("   (no log: the server answered {})", response.status());
        return Ok(());
    }
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(lost)?;
        if std::io::stdout().write_all(&chunk).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
