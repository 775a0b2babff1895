//! `towpath why [ENV]`: what is wrong, and which change is behind it.

use super::print::age;
use super::reference::{self, Project};
use crate::cli::{Context, Output};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use serde_json::Value;

/// Say what is wrong in an environment and which change is behind it
///
/// Exit code 0: nothing is wrong. 1: something is, and this is why.
///
/// Examples:
///   towpath why dev
///   towpath why prd --workload web --felt errors
///   towpath why --namespace kube-system -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Environment (its stage or full name)
    #[arg(required_unless_present = "namespace")]
    environment: Option<String>,
    /// A namespace instead of an environment
    #[arg(short, long, conflicts_with = "environment")]
    namespace: Option<String>,
    /// Only this workload
    #[arg(short, long)]
    workload: Option<String>,
    /// Its kind [default: Deployment]
    #[arg(long, requires = "workload")]
    kind: Option<String>,
    /// What is felt though the objects look well
    #[arg(long, requires = "workload", value_parser = ["errors", "latency", "leak"])]
    felt: Option<String>,
    #[command(flatten)]
    project: Project,
}

/// Asks and prints.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let namespace = match (&args.namespace, &args.environment) {
        (Some(namespace), _) => namespace.clone(),
        (None, name) => {
            let name = name.as_deref().unwrap_or_default();
            let found =
                reference::environment(&connection.client, &args.project.project, name).await?;
            found.spec.namespace
        }
    };
    let given = [
        ("namespace", Some(&namespace)),
        ("workload", args.workload.as_ref()),
        ("kind", args.kind.as_ref()),
        ("felt", args.felt.as_ref()),
    ];
    let query: Vec<(&str, &String)> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let unreachable =
        |error: reqwest::Error| Problem::new(Exit::Unreachable, "server", error.to_string());
    let response = connection
        .request(reqwest::Method::GET, "/api/v1/why")
        .query(&query)
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status();
    let answer: Value = response.json().await.map_err(unreachable)?;
    if !status.is_success() {
        let said = ["message", "error"].map(|key| text(&answer[key]));
        let exit = match status.as_u16() {
            401 | 403 => Exit::Denied,
            _ => Exit::Failed,
        };
        return Err(
            Problem::new(exit, "why", said.concat()).why(format!("the server answered {status}"))
        );
    }
    match context.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&answer).unwrap_or_default()
        ),
        Output::Yaml => println!("{}", serde_saphyr::to_string(&answer).unwrap_or_default()),
        _ => print(&namespace, &answer),
    }
    Ok(match answer["symptom"].is_null() {
        true => Exit::Reached,
        false => Exit::Failed,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn object(value: &Value) -> String {
    let name = format!("{} {}", text(&value["kind"]), text(&value["name"]));
    name.trim().to_string()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn print(namespace: &str, answer: &Value) {
    for unseen in list(&answer["unseen"]) {
        println!("! not looked at: {}", text(unseen));
    }
    if answer["symptom"].is_null() {
        println!("✔ nothing is wrong in {namespace}");
        let changes = list(&answer["changes"]);
        if let Some(last) = changes.first() {
            println!("  last change {}", change(last));
        }
        return;
    }
    for finding in list(&answer["findings"]) {
        let count = match finding["count"].as_u64() {
            Some(count) if count > 1 => format!(" ({count} pods)"),
            _ => String::new(),
        };
        println!(
            "✘ {}{count}: {}",
            object(&finding["workload"]),
            text(&finding["words"])
        );
    }
    let causes = list(&answer["causes"]);
    println!();
    if causes.is_empty() {
        println!("No change of the last day explains it.");
    }
    for (place, cause) in causes.iter().enumerate() {
        let culprit = &cause["culprit"];
        let words = match culprit["is"].as_str() {
            Some("change") => change(&culprit["change"]),
            _ => format!(
                "no change: {} {}",
                object(&culprit["finding"]["workload"]),
                text(&culprit["finding"]["words"])
            ),
        };
        let sure = cause["score"].as_f64().unwrap_or(0.0) * 100.0;
        println!("{}. {sure:.0} %  {words}", place + 1);
        for evidence in list(&cause["evidence"]) {
            println!("     for it: {}", text(evidence));
        }
        for dissent in list(&cause["dissent"]) {
            println!("     against: {}", text(dissent));
        }
    }
    for looked in list(&answer["looked"]) {
        let output = text(&looked["output"]);
        if output.trim().is_empty() {
            continue;
        }
        let step = &looked["step"];
        let title = match step["look"].as_str() {
            Some("logs") => format!(
                "last lines of {} in {}",
                text(&step["container"]),
                object(&step["pod"])
            ),
            _ => format!("events of {}", object(&step["of"])),
        };
        println!("\n── {title}");
        for line in output.trim_end().lines() {
            println!("   {line}");
        }
    }
}

fn change(change: &Value) -> String {
    let mut words = format!("{} {}", object(&change["object"]), text(&change["words"]));
    let seconds = change["at"].as_u64().map(|millis| millis / 1_000);
    if let Some(at) = seconds.map(towpath_stdx::clock::rfc3339) {
        words = format!("{words}, {} ago", age(Some(&at)));
    }
    for (key, name) in [("by", "by"), ("commit", "commit"), ("release", "release")] {
        let value = text(&change[key]);
        if !value.is_empty() {
            let short = if key == "commit" {
                value.get(..12).unwrap_or(&value)
            } else {
                &value
            };
            words = format!("{words}, {name} {short}");
        }
    }
    words
}
