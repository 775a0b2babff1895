//! `openapi.yaml`: what the API speaks, for programs that make clients.
//!
//! Operations and their parameters are upstream's, of the level that is spoken; what is said about
//! them is short. Answers are described by their envelope alone.

use std::fmt::Write as _;

use super::Call;
use super::fault::Fault;
use super::reply::Reply;

/// How an operation is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verbs {
    Get,
    /// GET with parameters, POST with the same in a form.
    Either,
    /// POST and PUT with parameters.
    Change,
    /// POST with a body of its own, answered without one.
    Push,
    /// Kept, and always refused.
    Delete,
}
use Verbs::{Change, Delete, Either, Get, Push};

/// Path, how it is asked, what it does, parameters: one that is needed ends in `!`.
type Operation = (&'static str, Verbs, &'static str, &'static [&'static str]);

const OPERATIONS: &[Operation] = &[
    (
        "/query",
        Either,
        "Evaluates a query at one time",
        &[
            "query!",
            "time",
            "timeout",
            "limit",
            "lookback_delta",
            "stats",
        ],
    ),
    (
        "/query_range",
        Either,
        "Evaluates a query over a range of times",
        &[
            "query!",
            "start!",
            "end!",
            "step!",
            "timeout",
            "limit",
            "lookback_delta",
            "stats",
        ],
    ),
    (
        "/query_exemplars",
        Either,
        "Exemplars of the series of a query",
        &["query!", "start", "end"],
    ),
    ("/format_query", Either, "Lays a query out", &["query!"]),
    ("/parse_query", Either, "The tree of a query", &["query!"]),
    (
        "/labels",
        Either,
        "Names of labels",
        &["start", "end", "match[]", "limit"],
    ),
    (
        "/label/{name}/values",
        Get,
        "Values of a label",
        &["name!", "start", "end", "match[]", "limit"],
    ),
    (
        "/series",
        Either,
        "Series by their labels",
        &["match[]!", "start", "end", "limit"],
    ),
    ("/series", Delete, "Not implemented, as upstream", &[]),
    (
        "/metadata",
        Get,
        "Type, unit and help of metrics",
        &["limit", "limit_per_metric", "metric"],
    ),
    ("/scrape_pools", Get, "Names of scrape configurations", &[]),
    ("/targets", Get, "What is scraped", &["scrapePool", "state"]),
    (
        "/targets/metadata",
        Get,
        "What targets say about their metrics",
        &["match_target", "metric", "limit"],
    ),
    (
        "/targets/relabel_steps",
        Get,
        "What relabelling makes of a target, step by step",
        &["scrapePool!", "labels!"],
    ),
    (
        "/rules",
        Get,
        "Rules and how they do",
        &[
            "type",
            "rule_name[]",
            "rule_group[]",
            "file[]",
            "match[]",
            "exclude_alerts",
            "group_limit",
            "group_next_token",
        ],
    ),
    ("/alerts", Get, "Alerts of all rules", &[]),
    ("/alertmanagers", Get, "Who is told of alerts", &[]),
    ("/status/config", Get, "The configuration in effect", &[]),
    (
        "/status/runtimeinfo",
        Get,
        "The process and its limits",
        &[],
    ),
    ("/status/buildinfo", Get, "What answers", &[]),
    ("/status/flags", Get, "Settings as flags", &[]),
    ("/status/tsdb", Get, "What the head has most of", &["limit"]),
    ("/status/tsdb/blocks", Get, "Segments on the disk", &[]),
    ("/status/walreplay", Get, "How far the log was read", &[]),
    (
        "/admin/tsdb/delete_series",
        Change,
        "Deletes samples of series",
        &["match[]!", "start", "end"],
    ),
    (
        "/admin/tsdb/clean_tombstones",
        Change,
        "Frees what deleted samples take",
        &[],
    ),
    (
        "/admin/tsdb/snapshot",
        Change,
        "Refused: there are no snapshots here",
        &["skip_head"],
    ),
    ("/read", Push, "Remote read", &[]),
    ("/write", Push, "Remote write 1.0 and 2.0", &[]),
    ("/otlp/v1/metrics", Push, "Metrics of OpenTelemetry", &[]),
    ("/notifications", Get, "What users are to be told", &[]),
    ("/features", Get, "What this server can do", &[]),
];

/// A stream needs what the older version of the format cannot say.
const LIVE: Operation = (
    "/notifications/live",
    Get,
    "The same as a stream of events",
    &[],
);

/// Schema and description of a parameter.
fn parameter(name: &str) -> (&'static str, &'static str) {
    const TEXT: &str = "{type: string}";
    const NUMBER: &str = "{type: integer, format: int64}";
    const TIME: &str =
        "{oneOf: [{type: string, format: date-time}, {type: number, format: unixtime}]}";
    const TEXTS: &str = "{type: array, items: {type: string}}";
    match name {
        "query" => (TEXT, "The query"),
        "time" => (TIME, "When it is evaluated; now where it is left out"),
        "start" => (TIME, "The first time"),
        "end" => (TIME, "The last time"),
        "step" => (TEXT, "Between two times: a duration, or seconds"),
        "timeout" => (TEXT, "The longest it may take"),
        "lookback_delta" => (TEXT, "How old a sample may be"),
        "stats" => (TEXT, "Whether the answer says what it took; `all` for more"),
        "match[]" => (TEXTS, "A selector of series"),
        "limit" => (NUMBER, "The most that is told; 0 for all"),
        "limit_per_metric" => (NUMBER, "The most that is told of a metric"),
        "group_limit" => (NUMBER, "The most groups"),
        "group_next_token" => (TEXT, "Where the page before ended"),
        "rule_name[]" => (TEXTS, "A name of rules"),
        "rule_group[]" => (TEXTS, "A name of groups"),
        "file[]" => (TEXTS, "A file of rules"),
        "type" => (TEXT, "`alert` or `record`"),
        "exclude_alerts" => (TEXT, "Whether alerts are left out"),
        "state" => (TEXT, "`active`, `dropped` or `any`"),
        "scrapePool" => (TEXT, "A scrape configuration"),
        "labels" => (TEXT, "Labels of a target, as JSON"),
        "match_target" => (TEXT, "A selector of targets"),
        "metric" => (TEXT, "A metric"),
        "name" => (TEXT, "A label"),
        "skip_head" => (TEXT, "Whether the head is left out"),
        _ => (TEXT, ""),
    }
}

/// Writes one operation. Texts have no quotes, and what YAML would read otherwise is quoted.
fn operation(out: &mut String, of: &Operation, verb: &str, form: bool) {
    let (path, verbs, words, parameters) = of;
    let id = path
        .trim_matches('/')
        .replace(['/', '_'], "-")
        .replace(['{', '}'], "");
    let _ = write!(
        out,
        "    {verb}:\n      operationId: {verb}-{id}\n      summary: '{words}'\n"
    );
    let split = |text: &'static str| match text.strip_suffix('!') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let all = parameters.iter().map(|text| split(text));
    if form {
        let needed: Vec<String> = all
            .clone()
            .filter(|(_, needed)| *needed)
            .map(|(name, _)| format!("'{name}'"))
            .collect();
        out.push_str("      requestBody:\n        required: true\n        content:\n");
        out.push_str("          application/x-www-form-urlencoded:\n            schema:\n");
        out.push_str("              type: object\n");
        if !needed.is_empty() {
            let _ = writeln!(out, "              required: [{}]", needed.join(", "));
        }
        out.push_str("              properties:\n");
        for (name, _) in all {
            let (schema, _) = parameter(name);
            let _ = writeln!(out, "                '{name}': {schema}");
        }
    } else if !parameters.is_empty() {
        out.push_str("      parameters:\n");
        for (name, needed) in all {
            let (schema, said) = parameter(name);
            let place = match path.contains(&format!("{{{name}}}")) {
                true => "path",
                false => "query",
            };
            let _ = writeln!(
                out,
                "        - {{name: '{name}', in: {place}, required: {needed}, description: '{said}', schema: {schema}}}"
            );
        }
    }
    out.push_str("      responses:\n");
    match verbs {
        Push => out.push_str("        '204': {description: Taken}\n"),
        _ => answer(out, "'200'", "Well", "Answer"),
    }
    answer(out, "default", "Refused", "Error");
}

fn answer(out: &mut String, status: &str, words: &str, schema: &str) {
    let _ = writeln!(
        out,
        "        {status}: {{description: {words}, content: {{application/json: {{schema: {{$ref: '#/components/schemas/{schema}'}}}}}}}}"
    );
}

const SCHEMAS: &str = "components:
  schemas:
    Answer:
      type: object
      required: [status]
      properties:
        status: {type: string, enum: [success]}
        data: {}
        warnings: {type: array, items: {type: string}}
        infos: {type: array, items: {type: string}}
    Error:
      type: object
      required: [status, errorType, error]
      properties:
        status: {type: string, enum: [error]}
        errorType: {type: string}
        error: {type: string}
        data: {}
";

fn page(version: &str, own: &str) -> String {
    let mut out = format!(
        "openapi: {version}\ninfo:\n  title: Prometheus API\n  description: The HTTP API of Prometheus, as Towpath speaks it\n  version: '{own}'\nservers:\n  - url: /prometheus/api/v1\npaths:\n"
    );
    let live = (version != "3.1.0").then_some(&LIVE);
    let mut last = "";
    for of in OPERATIONS.iter().chain(live) {
        if of.0 != last {
            let _ = writeln!(out, "  {}:", of.0);
            last = of.0;
        }
        let verbs: &[(&str, bool)] = match of.1 {
            Get => &[("get", false)],
            Either => &[("get", false), ("post", true)],
            Change => &[("put", false), ("post", false)],
            Push => &[("post", false)],
            Delete => &[("delete", false)],
        };
        for (verb, form) in verbs {
            operation(&mut out, of, verb, *form);
        }
    }
    out + SCHEMAS
}

/// The page, in version 3.1 of the format unless 3.2 is asked for.
pub(super) fn show(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let version = match call.form.get("openapi_version") {
        "3.2" | "3.2.0" => "3.2.0",
        _ => "3.1.0",
    };
    let text = page(version, &call.api.settings.version);
    let out = reply.raw("application/yaml; charset=utf-8");
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
