//! `towpath run …`.

use super::reference::Project;
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use kube::ResourceExt;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use std::collections::BTreeMap;
use towpath_kit::kinds::{Run, RunSpec, labels};

/// Start, repeat or cancel a run
///
/// Examples:
///   towpath run list
///   towpath run start hello .github/workflows/delivery.yml --ref main
///   towpath run again hello-3f9a1c --failed
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    project: Project,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List runs, newest first
    List,
    /// Start a workflow that has `workflow_dispatch`
    Start {
        /// Repository
        repository: String,
        /// Path of the workflow file
        workflow: String,
        /// Branch
        #[arg(long = "ref", default_value = "main")]
        branch: String,
        /// Input as NAME=VALUE
        #[arg(short, long = "input")]
        inputs: Vec<String>,
    },
    /// Run again
    Again {
        /// Run
        name: String,
        /// Only the jobs that did not succeed, and what needs them
        #[arg(long)]
        failed: bool,
    },
    /// Stop
    Cancel {
        /// Run
        name: String,
    },
}

/// Runs the subcommand.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let api: Api<Run> = Api::namespaced(connection.client.clone(), &args.project.project);
    match args.command {
        Command::List => list(&context, &api).await,
        Command::Start {
            repository,
            workflow,
            branch,
            inputs,
        } => {
            start(
                &connection,
                &api,
                &args.project.project,
                repository,
                workflow,
                branch,
                inputs,
            )
            .await
        }
        Command::Again { name, failed } => {
            let attempt = api.get(&name).await?.spec.attempt + 1;
            let spec = serde_json::json!({"spec": {"attempt": attempt, "failedOnly": failed, "cancel": false}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(spec))
                .await?;
            println!("{name} runs again, attempt {attempt}");
            Ok(Exit::Reached)
        }
        Command::Cancel { name } => {
            let patch = Patch::Merge(serde_json::json!({"spec": {"cancel": true}}));
            api.patch(&name, &PatchParams::default(), &patch).await?;
            println!("{name} is being cancelled");
            Ok(Exit::Reached)
        }
    }
}

async fn list(context: &Context, api: &Api<Run>) -> Result<Exit, Problem> {
    let mut runs = api.list(&ListParams::default()).await?.items;
    runs.sort_by_key(|r| std::cmp::Reverse(r.creation_timestamp()));
    super::print::objects(
        context,
        &runs,
        &["NAME", "COMMIT", "WORKFLOW", "PHASE", "WHY"],
        |r| {
            let status = r.status.clone().unwrap_or_default();
            let sha = r.spec.sha.get(..7).unwrap_or(&r.spec.sha).to_string();
            let phase = super::print::word(&format!("{:?}", status.phase));
            vec![
                r.name_any(),
                sha,
                status.workflow_name,
                phase,
                status.message,
            ]
        },
    );
    Ok(Exit::Reached)
}

async fn start(
    connection: &Connection,
    api: &Api<Run>,
    project: &str,
    repository: String,
    workflow: String,
    branch: String,
    inputs: Vec<String>,
) -> Result<Exit, Problem> {
    let path = format!("/api/v1/repos/{project}/{repository}/commits?ref={branch}&limit=1");
    let response = connection.request(reqwest::Method::GET, &path).send().await;
    let commits: serde_json::Value = match response {
        Ok(response) if response.status().is_success() => response.json().await.unwrap_or_default(),
        Ok(response) => {
            return Err(Problem::new(
                Exit::NotFound,
                "no-branch",
                format!("{repository} has no branch {branch}"),
            )
            .why(format!("the server answered {}", response.status())));
        }
        Err(error) => return Err(Problem::new(Exit::Unreachable, "server", error.to_string())),
    };
    let list = commits
        .as_array()
        .or_else(|| commits.get("commits").and_then(|c| c.as_array()));
    let sha = list
        .and_then(|c| c.first())
        .and_then(|c| c.get("sha"))
        .and_then(|s| s.as_str())
        .unwrap_or_default();
    let pairs: Option<BTreeMap<String, String>> = inputs
        .iter()
        .map(|i| {
            i.split_once('=')
                .map(|(n, v)| (n.to_string(), v.to_string()))
        })
        .collect();
    let inputs = pairs
        .ok_or_else(|| Problem::new(Exit::Failed, "bad-input", "an input is not NAME=VALUE"))?;
    let labels = BTreeMap::from([
        (labels::REPOSITORY.to_string(), repository.clone()),
        (labels::COMMIT.to_string(), sha.to_string()),
    ]);
    let run = Run {
        metadata: ObjectMeta {
            generate_name: Some(format!("{repository}-")),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: RunSpec {
            repository,
            ref_: format!("refs/heads/{branch}"),
            sha: sha.into(),
            event: "workflow_dispatch".into(),
            workflow,
            actor: "admin".into(),
            inputs,
            attempt: 1,
            ..RunSpec::default()
        },
        status: None,
    };
    println!(
        "{}",
        api.create(&PostParams::default(), &run).await?.name_any()
    );
    Ok(Exit::Reached)
}
