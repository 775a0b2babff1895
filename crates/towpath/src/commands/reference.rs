//! `REF`: a commit id (or its beginning), a release's name, or `@stage` for what runs there.

use crate::exit::{Exit, Problem};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use towpath_kit::kinds::{Environment, Release};

/// Where to look: the project namespace and, where it has several, the repository.
#[derive(Clone, Debug, clap::Args)]
pub struct Project {
    /// Project (namespace) [default: demo]
    #[arg(short = 'p', long, env = "TOWPATH_PROJECT", default_value = "demo")]
    pub project: String,
}

/// The release that `reference` names.
pub async fn release(client: &Client, project: &str, reference: &str) -> Result<Release, Problem> {
    if let Some(stage) = reference.strip_prefix('@') {
        let environment = environment(client, project, stage).await?;
        let name = environment.status.map(|s| s.release).unwrap_or_default();
        if name.is_empty() {
            return Err(Problem::new(
                Exit::NotFound,
                "nothing-deployed",
                format!("nothing runs in {stage}"),
            ));
        }
        return Ok(Api::<Release>::namespaced(client.clone(), project)
            .get(&name)
            .await?);
    }
    let all = Api::<Release>::namespaced(client.clone(), project)
        .list(&ListParams::default())
        .await?;
    let hex = reference.len() >= 4 && reference.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found: Vec<Release> = all
        .items
        .into_iter()
        .filter(|r| r.name_any() == reference || (hex && r.spec.sha.starts_with(reference)))
        .collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Problem::new(
            Exit::NotFound,
            "no-release",
            format!("no release of {reference}"),
        )
        .why("a release exists once the commit's run has succeeded and built an image")
        .next("towpath status")
        .next(format!("kubectl -n {project} get releases"))),
        _ => Err(Problem::new(
            Exit::Conflict,
            "ambiguous",
            format!("{reference} names {} releases", found.len()),
        )
        .next("give more digits of the commit")),
    }
}

/// The environment that a name or stage names.
pub async fn environment(
    client: &Client,
    project: &str,
    name: &str,
) -> Result<Environment, Problem> {
    let all = Api::<Environment>::namespaced(client.clone(), project)
        .list(&ListParams::default())
        .await?;
    let known: Vec<String> = all.items.iter().map(|e| e.spec.stage.clone()).collect();
    let mut found: Vec<Environment> = all
        .items
        .into_iter()
        .filter(|e| e.name_any() == name || e.spec.stage == name)
        .collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Problem::new(
            Exit::NotFound,
            "no-environment",
            format!("no environment {name} in {project}"),
        )
        .why(format!(
            "there are: {}",
            if known.is_empty() {
                "none".into()
            } else {
                known.join(", ")
            }
        ))),
        _ => Err(Problem::new(
            Exit::Conflict,
            "ambiguous",
            format!("several environments have the stage {name}"),
        )
        .next("give the environment's full name")),
    }
}
