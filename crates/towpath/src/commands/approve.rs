//! `towpath approve ENV`.

use super::promote::{Wait, finish};
use super::reference::{self, Project};
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use towpath_kit::kinds::{Approval, Promotion, PromotionPhase};
use towpath_stdx::{Clock, SystemClock};

/// Approve the promotion that waits for it
///
/// Examples:
///   towpath approve prd
///   towpath approve prd -m "checked the diff" --wait
///   towpath approve hello-prd-promote-x7k2f
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Environment (stage or name), or the promotion's name
    #[arg(value_name = "ENV|PROMOTION")]
    target: String,
    /// Why
    #[arg(short, long, default_value = "")]
    message: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    wait: Wait,
}

/// Adds an approval in the caller's name.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let api: Api<Promotion> = Api::namespaced(connection.client.clone(), &args.project.project);
    let waiting = find(&connection, &api, &args).await?;
    let mut approvals = waiting.spec.approvals.clone();
    // The server writes the caller's own name over `by`.
    approvals.push(Approval {
        by: String::new(),
        at: SystemClock.rfc3339(),
        reason: args.message,
    });
    let patch = serde_json::json!({
        "metadata": {"resourceVersion": waiting.resource_version()},
        "spec": {"approvals": approvals},
    });
    let environment = reference::environment(
        &connection.client,
        &args.project.project,
        &waiting.spec.environment,
    )
    .await?;
    let wanted = environment.spec.promotion.approvals as usize;
    let wait = Wait {
        approved: approvals.len() >= wanted,
        ..args.wait
    };
    let done = api
        .patch(
            &waiting.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    finish(&context, &connection, &done, &wait).await
}

async fn find(
    connection: &Connection,
    api: &Api<Promotion>,
    args: &Args,
) -> Result<Promotion, Problem> {
    if let Some(found) = api.get_opt(&args.target).await? {
        return Ok(found);
    }
    let environment =
        reference::environment(&connection.client, &args.project.project, &args.target).await?;
    let all = api.list(&ListParams::default()).await?;
    let waits = |p: &Promotion| {
        p.status
            .as_ref()
            .is_some_and(|s| s.phase == PromotionPhase::WaitingForApproval)
    };
    all.items
        .into_iter()
        .find(|p| p.spec.environment == environment.name_any() && waits(p))
        .ok_or_else(|| {
            Problem::new(
                Exit::NotFound,
                "nothing-waits",
                format!("no promotion to {} waits for approval", args.target),
            )
            .next("towpath status")
        })
}
