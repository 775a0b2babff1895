//! `towpath alerts`: what fires, who is told, and whether telling works.

use std::collections::BTreeMap;

use super::ask::{as_data, send};
use super::print::{age, table};
use crate::cli::{Context, Output};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use serde_json::Value;
use std::time::Duration;

/// Longer than all integrations of a receiver may take to be tested.
const LIMIT: Duration = Duration::from_secs(300);

/// Show alerts, and test who is told of them
///
/// Examples:
///   towpath alerts
///   towpath alerts --all severity=critical
///   towpath alerts receivers
///   towpath alerts test team
#[derive(clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Silenced and inhibited ones too
    #[arg(short, long)]
    all: bool,
    /// Only alerts with these labels, e.g. severity=critical
    matchers: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show receivers and how telling them went
    Receivers,
    /// Send a message by every integration of a receiver
    Test {
        /// Its name
        receiver: String,
    },
}

/// Asks the server; what it refuses is said.
pub(super) async fn ask(request: reqwest::RequestBuilder) -> Result<Value, Problem> {
    send(request, LIMIT).await?.taken()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Runs the subcommand.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    match args.command {
        None => alerts(&context, &connection, args.all, &args.matchers).await,
        Some(Command::Receivers) => receivers(&context, &connection).await,
        Some(Command::Test { receiver }) => test(&context, &connection, &receiver).await,
    }
}

async fn alerts(
    context: &Context,
    connection: &Connection,
    all: bool,
    matchers: &[String],
) -> Result<Exit, Problem> {
    let shown = if all { "true" } else { "false" };
    let mut query = vec![("silenced", shown), ("inhibited", shown)];
    query.extend(matchers.iter().map(|matcher| ("filter", matcher.as_str())));
    let request = connection
        .request(reqwest::Method::GET, "/alertmanager/api/v2/alerts")
        .query(&query);
    let answer = ask(request).await?;
    if as_data(context, &answer) {
        return Ok(Exit::Reached);
    }
    let mut rows = Vec::new();
    for alert in list(&answer) {
        let labels: BTreeMap<String, String> =
            serde_json::from_value(alert["labels"].clone()).unwrap_or_default();
        let name = labels.get("alertname").cloned().unwrap_or_default();
        if context.quiet || context.output == Output::Name {
            println!("{name}");
            continue;
        }
        let status = &alert["status"];
        let quiet: Vec<&str> = ["silencedBy", "inhibitedBy", "mutedBy"]
            .iter()
            .flat_map(|by| list(&status[*by]))
            .map(text)
            .collect();
        let state = match quiet.is_empty() {
            true => text(&status["state"]).to_owned(),
            false => format!("{} by {}", text(&status["state"]), quiet.join(", ")),
        };
        let receivers: Vec<&str> = list(&alert["receivers"])
            .iter()
            .map(|receiver| text(&receiver["name"]))
            .collect();
        let severity = labels.get("severity").cloned().unwrap_or_default();
        let said = &alert["annotations"];
        let summary = [text(&said["summary"]), text(&said["description"])]
            .into_iter()
            .find(|text| !text.is_empty());
        rows.push(vec![
            name,
            severity,
            age(alert["startsAt"].as_str()),
            state,
            receivers.join(", "),
            summary.unwrap_or_default().to_owned(),
        ]);
    }
    let header = [
        "ALERT",
        "SEVERITY",
        "SINCE",
        "STATE",
        "RECEIVERS",
        "SUMMARY",
    ];
    table(&header, rows);
    Ok(Exit::Reached)
}

async fn receivers(context: &Context, connection: &Connection) -> Result<Exit, Problem> {
    let request = connection.request(reqwest::Method::GET, "/api/v1/receivers");
    let answer = ask(request).await?;
    if as_data(context, &answer) {
        return Ok(Exit::Reached);
    }
    let mut rows = Vec::new();
    for receiver in list(&answer["receivers"]) {
        let name = text(&receiver["name"]);
        if context.quiet || context.output == Output::Name {
            println!("{name}");
            continue;
        }
        let throttle = match &receiver["throttle"] {
            Value::Null => String::new(),
            of => format!(
                "{} at once, then one in {}",
                of["burst"],
                text(&of["every"])
            ),
        };
        let integrations = list(&receiver["integrations"]);
        if integrations.is_empty() {
            let none = "tells nobody".to_owned();
            rows.push(vec![
                name.to_owned(),
                none,
                String::new(),
                throttle.clone(),
                String::new(),
            ]);
        }
        for of in integrations {
            let status = &of["status"];
            let (word, why) = match (status["failing"].as_bool(), &status["lastError"]) {
                (None, _) => ("not used yet".to_owned(), ""),
                (Some(true), why) => ("failing".to_owned(), text(why)),
                (Some(false), why) => {
                    let at = age(status["lastDelivery"].as_str());
                    (format!("told {at} ago"), text(why))
                }
            };
            let why = match (why, status["lastFailure"].as_str()) {
                ("", _) | (_, None) => String::new(),
                (why, at) => format!("{} ago: {why}", age(at)),
            };
            let integration = text(&of["name"]).to_owned();
            rows.push(vec![
                name.to_owned(),
                integration,
                word,
                throttle.clone(),
                why,
            ]);
        }
    }
    let header = [
        "RECEIVER",
        "INTEGRATION",
        "STATE",
        "THROTTLE",
        "LAST FAILURE",
    ];
    table(&header, rows);
    Ok(Exit::Reached)
}

async fn test(context: &Context, connection: &Connection, receiver: &str) -> Result<Exit, Problem> {
    let mut name = String::new();
    for byte in receiver.bytes() {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            true => name.push(byte.into()),
            false => name.push_str(&format!("%{byte:02X}")),
        }
    }
    let path = format!("/api/v1/receivers/{name}/test");
    let answer = ask(connection.request(reqwest::Method::POST, &path)).await?;
    let results = list(&answer["results"]);
    let failed = results.iter().filter(|of| of["delivered"] != true).count();
    if !as_data(context, &answer) {
        if results.is_empty() {
            println!("{receiver} tells nobody");
        }
        for of in results {
            match of["delivered"] == true {
                true => println!("✔ {}", text(&of["integration"])),
                false => println!("✘ {}: {}", text(&of["integration"]), text(&of["error"])),
            }
        }
    }
    Ok(match failed {
        0 => Exit::Reached,
        _ => Exit::Failed,
    })
}
