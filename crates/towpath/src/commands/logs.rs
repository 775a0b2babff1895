//! `towpath logs --run RUN`.

use super::reference::Project;
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use futures::StreamExt;
use kube::api::Api;
use std::io::Write;
use towpath_kit::kinds::{JobStatus, Phase, Run, StepStatus};

/// Show the logs of a run's steps
///
/// Examples:
///   towpath logs --run hello-3f9a1c
///   towpath logs --run hello-3f9a1c --failed
///   towpath logs --run hello-3f9a1c --job test
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Run
    #[arg(long)]
    run: String,
    /// Only steps that failed
    #[arg(long)]
    failed: bool,
    /// Only this job
    #[arg(long)]
    job: Option<String>,
    #[command(flatten)]
    project: Project,
}

/// Prints them; exit 1 where the run failed.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let project = &args.project.project;
    let run = Api::<Run>::namespaced(connection.client.clone(), project)
        .get(&args.run)
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
            step_log(&connection, project, &args.run, job, step).await?;
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
