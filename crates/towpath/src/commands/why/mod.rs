//! `towpath why [CASE|ENV|REF]`: what is wrong, and which change is behind it.

pub(crate) mod ask;
pub(crate) mod print;

use super::cases;
use super::reference::{self, Project};
use crate::cli::Context;
use crate::commands::ask::as_data;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use ask::ask;
use kube::api::{Api, ListParams};
use print::{list, text};
use serde_json::Value;
use towpath_kit::kinds::Environment;

/// Say what is wrong and which change is behind it
///
/// Of a case (as `towpath cases` lists them), of an environment as it is now, or of a commit or
/// release: the cases that it is behind, or the environment that it runs in. Without anything it
/// lists the open cases.
///
/// Exit code 0: nothing is wrong. 1: something is, and this is why.
///
/// Examples:
///   towpath why
///   towpath why c-3f9k2m0q7x1a4b5c
///   towpath why dev
///   towpath why 4f2c91e
///   towpath why prd --workload web --felt errors
///   towpath why --namespace kube-system -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Case, environment (its stage or full name), commit or release
    #[arg(value_name = "CASE|ENV|REF")]
    about: Option<String>,
    /// List the open cases
    #[arg(long, conflicts_with_all = ["about", "namespace"])]
    list: bool,
    /// A namespace instead of an environment
    #[arg(short, long, conflicts_with = "about")]
    namespace: Option<String>,
    /// Only this workload
    #[arg(short, long)]
    workload: Option<String>,
    /// Its kind [default: Deployment]
    #[arg(long, requires = "workload")]
    kind: Option<String>,
    /// What is felt though neither objects nor metrics show it
    #[arg(long, requires = "workload", value_parser = ["errors", "latency", "leak"])]
    felt: Option<String>,
    #[command(flatten)]
    project: Project,
}

/// Asks and prints.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    if let Some(namespace) = &args.namespace {
        return explain(&context, &connection, &args, namespace).await;
    }
    let Some(about) = &args.about else {
        if args.workload.is_some() {
            return Err(Problem::new(
                Exit::Failed,
                "no-namespace",
                "a workload needs an environment or a namespace",
            )
            .next("towpath why ENV --workload NAME")
            .next("towpath why --namespace NAME --workload NAME"));
        }
        return cases::open(&context, &connection).await;
    };
    if is_case(about) {
        let case = ask(&connection, &format!("/api/v1/cases/{about}"), &[]).await;
        let case = case.map_err(|problem| problem.next("towpath cases --state all"))?;
        shown(&context, &case, || print::case(&case));
        return Ok(match case["state"].as_str() {
            Some("closed") => Exit::Reached,
            _ => Exit::Failed,
        });
    }
    let project = &args.project.project;
    match reference::environment(&connection.client, project, about).await {
        Ok(found) => explain(&context, &connection, &args, &found.spec.namespace).await,
        Err(problem) if problem.exit != Exit::NotFound => Err(problem),
        Err(unknown) => of_release(&context, &connection, &args, about, unknown).await,
    }
}

fn is_case(text: &str) -> bool {
    let hex = text.strip_prefix("c-").unwrap_or_default();
    hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Cases that a commit or release is behind; else what the environment says that it runs in.
async fn of_release(
    context: &Context,
    connection: &Connection,
    args: &Args,
    about: &str,
    unknown: Problem,
) -> Result<Exit, Problem> {
    let asked = [("limit", "500".to_string())];
    let answer = ask(connection, "/api/v1/cases", &asked).await?;
    let hex = about.len() >= 4 && about.bytes().all(|b| b.is_ascii_hexdigit());
    let behind = |case: &&Value| {
        let cause = &case["cause"];
        text(&cause["release"]) == about || (hex && text(&cause["commit"]).starts_with(about))
    };
    let found: Vec<Value> = list(&answer["cases"])
        .iter()
        .filter(behind)
        .cloned()
        .collect();
    if !found.is_empty() {
        return Ok(cases::print(context, found));
    }
    let project = &args.project.project;
    let release = reference::release(&connection.client, project, about).await;
    let Ok(release) = release else {
        return Err(unknown
            .state(format!(
                "{about} is no case, environment, commit or release"
            ))
            .next("towpath cases --state all")
            .next("towpath status"));
    };
    let name = release.metadata.name.unwrap_or_default();
    let all = Api::<Environment>::namespaced(connection.client.clone(), project)
        .list(&ListParams::default())
        .await?;
    let runs = all.items.iter().find(|environment| {
        let status = environment.status.as_ref();
        status.is_some_and(|status| status.release == name)
    });
    match runs {
        Some(environment) => explain(context, connection, args, &environment.spec.namespace).await,
        None => {
            let words = format!("no case names {name}, and it runs nowhere now");
            shown(context, &Value::Null, || println!("✔ {words}"));
            Ok(Exit::Reached)
        }
    }
}

async fn explain(
    context: &Context,
    connection: &Connection,
    args: &Args,
    namespace: &str,
) -> Result<Exit, Problem> {
    let mut query = vec![("namespace", namespace.to_string())];
    let given = [
        ("workload", &args.workload),
        ("kind", &args.kind),
        ("felt", &args.felt),
    ];
    let given = given.into_iter();
    query.extend(given.filter_map(|(name, value)| Some((name, value.clone()?))));
    let answer = ask(connection, "/api/v1/why", &query).await?;
    shown(context, &answer, || print::explanation(namespace, &answer));
    Ok(match answer["symptom"].is_null() {
        true => Exit::Reached,
        false => Exit::Failed,
    })
}

/// Prints for programs what they asked for, else for people.
fn shown(context: &Context, answer: &Value, people: impl FnOnce()) {
    if !as_data(context, answer) {
        people();
    }
}
