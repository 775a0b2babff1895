//! `towpath rollback ENV -m WHY`.

use super::promote::{Wait, create, finish};
use super::reference::{self, Project};
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use kube::ResourceExt;
use towpath_kit::kinds::PromotionSpec;

/// Restore the previous release of an environment, by a commit
///
/// The release that runs now is put on hold: no environment takes it until someone lifts the
/// hold (towpath unhold).
///
/// Examples:
///   towpath rollback prd -m "5xx on checkout"
///   towpath rollback stg --to 9be01aa -m "slow start" --wait
///   towpath rollback hello-prd -m "wrong config" -q
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Environment (its stage or full name)
    environment: String,
    /// Commit or release to restore [default: the last healthy one before]
    #[arg(long, value_name = "REF")]
    to: Option<String>,
    /// Why; it stands in the history and on the held release
    #[arg(short, long)]
    message: String,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    wait: Wait,
}

/// Creates the rollback promotion.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let client = &connection.client;
    let environment =
        reference::environment(client, &args.project.project, &args.environment).await?;
    let release = match &args.to {
        Some(to) => reference::release(client, &args.project.project, to)
            .await?
            .name_any(),
        None => String::new(),
    };
    let spec = PromotionSpec {
        environment: environment.name_any(),
        release,
        kind: "rollback".into(),
        reason: args.message,
        ..PromotionSpec::default()
    };
    let promotion = create(client, &args.project.project, spec).await?;
    finish(&context, &connection, &promotion, &args.wait).await
}
