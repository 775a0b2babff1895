//! `towpath unhold REF`.

use super::reference::{self, Project};
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use towpath_kit::kinds::Release;

/// Lift the hold of a release, so that environments may take it again
///
/// Examples:
///   towpath unhold 4f2c91e
///   towpath unhold hello-4f2c91e0a1b2
///   towpath unhold 4f2c91e -p shop
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Commit or release
    #[arg(value_name = "REF")]
    reference: String,
    #[command(flatten)]
    project: Project,
}

/// Removes `spec.hold`.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let project = &args.project.project;
    let release = reference::release(&connection.client, project, &args.reference).await?;
    let api: Api<Release> = Api::namespaced(connection.client.clone(), project);
    let patch = Patch::Merge(serde_json::json!({"spec": {"hold": null}}));
    api.patch(&release.name_any(), &PatchParams::default(), &patch)
        .await?;
    println!("{} may be promoted again", release.name_any());
    Ok(Exit::Reached)
}
