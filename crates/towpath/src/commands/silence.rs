//! `towpath silence`: alerts about which nobody wants to hear for a while.

use super::alerts::{ask, list, text};
use super::ask::as_data;
use super::print::table;
use crate::cli::{Context, Output};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use serde_json::{Value, json};
use towpath_alerting::alertmanager::{DURING, UNTIL, parse_matchers};
use towpath_query::promql::parse_duration;
use towpath_stdx::{Clock, SystemClock};

/// List, make and end silences
///
/// Examples:
///   towpath silence
///   towpath silence add alertname=PodNotReady namespace=shop --for 2h --comment "moving it"
///   towpath silence add severity=warning --for 30d --until-resolved --comment "known"
///   towpath silence add job=backup --for 90d --during "[{times: [{start_time: '22:00', end_time: '24:00'}]}]" --comment nightly
///   towpath silence expire ID
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show silences that count or will count
    List {
        /// Those that are over, too
        #[arg(short, long)]
        all: bool,
    },
    /// Make one
    Add {
        /// What an alert must be, e.g. alertname=Hot or instance=~"a.*"
        #[arg(required = true)]
        matchers: Vec<String>,
        /// For how long
        #[arg(long = "for", default_value = "1h")]
        lasts: String,
        /// Why
        #[arg(short, long)]
        comment: String,
        /// Who makes it [default: the user]
        #[arg(long)]
        author: Option<String>,
        /// End it once nothing fires any more that it was made for
        #[arg(long)]
        until_resolved: bool,
        /// Count only at these times: time intervals as the configuration has them
        #[arg(long)]
        during: Option<String>,
        /// Something else to say, e.g. ticket=T-1
        #[arg(long = "annotation", value_name = "NAME=VALUE")]
        annotations: Vec<String>,
    },
    /// End some
    Expire {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

const SILENCES: &str = "/alertmanager/api/v2/silences";

/// Runs the subcommand.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    match args.command.unwrap_or(Command::List { all: false }) {
        Command::List { all } => show(&context, &connection, all).await,
        Command::Expire { ids } => {
            for id in ids {
                let path = format!("/alertmanager/api/v2/silence/{id}");
                ask(connection.request(reqwest::Method::DELETE, &path)).await?;
            }
            Ok(Exit::Reached)
        }
        add => {
            let body = made(add)?;
            let request = connection.request(reqwest::Method::POST, SILENCES);
            let answer = ask(request.json(&body)).await?;
            if !as_data(&context, &answer) {
                println!("{}", text(&answer["silenceID"]));
            }
            Ok(Exit::Reached)
        }
    }
}

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(Exit::Failed, "silence", why.into())
}

/// What is posted for a new one.
fn made(add: Command) -> Result<Value, Problem> {
    let Command::Add {
        matchers,
        lasts,
        comment,
        author,
        until_resolved,
        during,
        annotations,
    } = add
    else {
        return Err(bad("nothing to make"));
    };
    let mut conditions = Vec::new();
    for text in &matchers {
        for matcher in parse_matchers(text).map_err(bad)? {
            let op = matcher.op.text();
            conditions.push(json!({
                "name": matcher.name, "value": matcher.value,
                "isRegex": op.ends_with('~'), "isEqual": op.starts_with('='),
            }));
        }
    }
    let mut said = serde_json::Map::new();
    for pair in &annotations {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| bad(format!("{pair} is not NAME=VALUE")))?;
        said.insert(name.to_owned(), value.into());
    }
    if until_resolved {
        said.insert(UNTIL.to_owned(), "resolved".into());
    }
    if let Some(during) = during {
        said.insert(DURING.to_owned(), during.into());
    }
    let lasts = parse_duration(&lasts).map_err(bad)?.unsigned_abs() / 1000;
    let now = SystemClock.since_epoch().as_secs();
    let user = || std::env::var("USER").unwrap_or_else(|_| "towpath".to_owned());
    Ok(json!({
        "matchers": conditions,
        "startsAt": towpath_stdx::clock::rfc3339(now),
        "endsAt": towpath_stdx::clock::rfc3339(now + lasts),
        "createdBy": author.unwrap_or_else(user),
        "comment": comment,
        "annotations": said,
    }))
}

async fn show(context: &Context, connection: &Connection, all: bool) -> Result<Exit, Problem> {
    let request = connection.request(reqwest::Method::GET, SILENCES);
    let answer = ask(request).await?;
    let silences: Vec<Value> = list(&answer)
        .iter()
        .filter(|silence| all || silence["status"]["state"] != "expired")
        .cloned()
        .collect();
    if as_data(context, &Value::Array(silences.clone())) {
        return Ok(Exit::Reached);
    }
    if context.quiet || context.output == Output::Name {
        for silence in &silences {
            println!("{}", text(&silence["id"]));
        }
        return Ok(Exit::Reached);
    }
    let rows = silences.iter().map(|silence| {
        let matchers: Vec<String> = list(&silence["matchers"])
            .iter()
            .map(|of| {
                let op = match (of["isEqual"] != false, of["isRegex"] == true) {
                    (true, false) => "=",
                    (false, false) => "!=",
                    (true, true) => "=~",
                    (false, true) => "!~",
                };
                format!("{}{op}{}", text(&of["name"]), text(&of["value"]))
            })
            .collect();
        let said = &silence["annotations"];
        let mut state = text(&silence["status"]["state"]).to_owned();
        if said[DURING].is_string() {
            state += ", recurring";
        }
        if said[UNTIL].is_string() {
            state += ", until resolved";
        }
        [
            text(&silence["id"]).to_owned(),
            matchers.join(" "),
            state,
            text(&silence["endsAt"]).to_owned(),
            text(&silence["createdBy"]).to_owned(),
            text(&silence["comment"]).to_owned(),
        ]
        .to_vec()
    });
    let header = ["ID", "MATCHERS", "STATE", "ENDS", "BY", "COMMENT"];
    table(&header, rows.collect());
    Ok(Exit::Reached)
}
