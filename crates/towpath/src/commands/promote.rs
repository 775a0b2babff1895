//! `towpath promote REF ENV`.

use super::reference::{self, Project};
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use futures::StreamExt;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::time::Duration;
use towpath_kit::kinds::{Environment, Promotion, PromotionPhase, PromotionSpec};

// A way back begins at once or not at all; how long it takes is its own matter.
const BACK_BEGINS: Duration = Duration::from_secs(10);
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Bring a release into an environment
///
/// REF is a commit (or its beginning), a release's name, or @stage for what runs there.
///
/// Examples:
///   towpath promote 4f2c91e stg
///   towpath promote @dev stg --wait
///   towpath promote @stg prd -m "release 12"
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Commit, release or @stage
    #[arg(value_name = "REF")]
    reference: String,
    /// Environment (its stage or full name)
    environment: String,
    /// Why
    #[arg(short, long, default_value = "")]
    message: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    wait: Wait,
}

/// Whether to wait for the end.
#[derive(Clone, Debug, clap::Args)]
pub struct Wait {
    /// Wait until it ended or waits for a person
    #[arg(short, long)]
    pub wait: bool,
    /// Seconds to wait at most; the operation goes on
    #[arg(long, default_value_t = 600)]
    pub timeout: u64,
    /// Whether enough people have approved, so that waiting for approval is no end but the past.
    #[arg(skip)]
    pub approved: bool,
}

/// Creates the promotion.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let client = &connection.client;
    let release = reference::release(client, &args.project.project, &args.reference).await?;
    let environment =
        reference::environment(client, &args.project.project, &args.environment).await?;
    let spec = PromotionSpec {
        environment: environment.name_any(),
        release: release.name_any(),
        kind: "promote".into(),
        reason: args.message,
        ..PromotionSpec::default()
    };
    let promotion = create(client, &args.project.project, spec).await?;
    finish(&context, &connection, &promotion, &args.wait).await
}

/// Creates a promotion object with a generated name.
pub async fn create(
    client: &Client,
    project: &str,
    spec: PromotionSpec,
) -> Result<Promotion, Problem> {
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-{}-", spec.environment, spec.kind)),
        namespace: Some(project.into()),
        ..ObjectMeta::default()
    };
    let promotion = Promotion {
        metadata,
        spec,
        status: None,
    };
    Ok(Api::namespaced(client.clone(), project)
        .create(&PostParams::default(), &promotion)
        .await?)
}

/// Prints what was made and, where asked, waits for its end.
pub async fn finish(
    context: &Context,
    connection: &Connection,
    promotion: &Promotion,
    wait: &Wait,
) -> Result<Exit, Problem> {
    if context.quiet || context.output == crate::cli::Output::Name {
        println!("{}", promotion.name_any());
    } else if context.output == crate::cli::Output::Json {
        println!("{}", serde_json::to_string(promotion).unwrap_or_default());
    } else {
        println!(
            "promotion {} of {} to {}",
            promotion.name_any(),
            promotion.spec.release,
            promotion.spec.environment
        );
    }
    if !wait.wait {
        return Ok(Exit::Reached);
    }
    let limit = Duration::from_secs(wait.timeout);
    match tokio::time::timeout(limit, follow(&connection.client, promotion, wait.approved)).await {
        Ok(result) => result,
        Err(_) => {
            eprintln!(
                "still going after {} s; it goes on: towpath status",
                wait.timeout
            );
            Ok(Exit::TimedOut)
        }
    }
}

async fn follow(client: &Client, promotion: &Promotion, approved: bool) -> Result<Exit, Problem> {
    let namespace = promotion.namespace().unwrap_or_default();
    let api: Api<Promotion> = Api::namespaced(client.clone(), &namespace);
    let config =
        watcher::Config::default().fields(&format!("metadata.name={}", promotion.name_any()));
    let mut events = Box::pin(watcher::watcher(api, config.streaming_lists()));
    let mut shown = String::new();
    while let Some(event) = events.next().await {
        let Ok(watcher::Event::Apply(now) | watcher::Event::InitApply(now)) = event else {
            continue;
        };
        let status = now.status.unwrap_or_default();
        let line = format!("{:?}: {}", status.phase, status.message);
        if line != shown {
            eprintln!("{line}");
            shown = line;
        }
        let past = approved && status.phase == PromotionPhase::WaitingForApproval;
        if let Some(exit) = end(status.phase).filter(|_| !past) {
            status
                .evidence
                .iter()
                .filter(|_| exit != Exit::Reached)
                .for_each(|e| eprintln!("  {e}"));
            let failed = status.phase == PromotionPhase::Failed;
            return Ok(match failed {
                true => after_failure(client, promotion, |line| eprintln!("{line}")).await,
                false => exit,
            });
        }
    }
    Err(Problem::new(
        Exit::Unreachable,
        "watch",
        "the watch ended before the promotion did",
    ))
}

/// How a failed promotion ends: where its environment takes releases back by itself, that is
/// waited for.
pub async fn after_failure(client: &Client, failed: &Promotion, mut say: impl FnMut(&str)) -> Exit {
    let namespace = failed.namespace().unwrap_or_default();
    let environments: Api<Environment> = Api::namespaced(client.clone(), &namespace);
    let environment = environments.get_opt(&failed.spec.environment).await;
    let takes_back = environment
        .ok()
        .flatten()
        .is_some_and(|e| e.spec.promotion.auto_rollback);
    let refused = failed
        .status
        .as_ref()
        .is_some_and(|s| s.phase == PromotionPhase::Refused);
    if !takes_back || refused || failed.spec.goes_back() {
        return Exit::Failed;
    }
    let api: Api<Promotion> = Api::namespaced(client.clone(), &namespace);
    let name = PromotionSpec::way_back(&failed.name_any());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(watcher::watcher(api, config.streaming_lists()));
    let mut begun = false;
    loop {
        // None is made where nothing was healthy before, or someone was faster.
        let limit = if begun { NEVER } else { BACK_BEGINS };
        let Ok(Some(event)) = tokio::time::timeout(limit, events.next()).await else {
            return Exit::Failed;
        };
        let Ok(watcher::Event::Apply(now) | watcher::Event::InitApply(now)) = event else {
            continue;
        };
        if !begun {
            say(&format!("taking it back: {name}"));
            begun = true;
        }
        let status = now.status.unwrap_or_default();
        if status.phase.is_final() {
            say(&format!("{:?}: {}", status.phase, status.message));
            return match status.phase {
                PromotionPhase::Succeeded => Exit::RolledBack,
                _ => Exit::Failed,
            };
        }
    }
}

fn end(phase: PromotionPhase) -> Option<Exit> {
    match phase {
        PromotionPhase::Succeeded => Some(Exit::Reached),
        PromotionPhase::WaitingForApproval => Some(Exit::WaitingForHuman),
        PromotionPhase::Failed | PromotionPhase::Refused => Some(Exit::Failed),
        PromotionPhase::Cancelled | PromotionPhase::Superseded => Some(Exit::Failed),
        PromotionPhase::Waiting | PromotionPhase::Deploying => None,
    }
}
