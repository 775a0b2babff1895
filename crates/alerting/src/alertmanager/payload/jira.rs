//! Jira: the issue of a group is looked for, made or changed, and moved on.

use serde_json::{Map, Value, json};
use towpath_query::promql::parse_duration;

use super::making::{Making, named};
use super::talk::{Answer, Fault, Next, Payload, Request, Talk, by_status, cut};
use super::{Way, hash};

enum Stage {
    Begin,
    Searched,
    Written,
    Transitions,
    Moved,
}

struct Jira {
    api: String,
    search: Request,
    fields: Map<String, Value>,
    /// Fields that stay as they are in an issue that exists.
    keep: Vec<&'static str>,
    firing: bool,
    transition: String,
    /// The issue's key, and whether it is done.
    issue: Option<(String, bool)>,
    stage: Stage,
}

/// `summary` and `description` are a template, or an object with one.
fn template(making: &Making<'_>, field: &str) -> (String, bool) {
    let usual = || named(&format!("jira.default.{field}"));
    match making.of.field(field) {
        Some(Value::String(text)) => (text.clone(), true),
        Some(Value::Object(map)) => (
            map.get("template")
                .and_then(Value::as_str)
                .map_or_else(usual, str::to_owned),
            map.get("enable_update").and_then(Value::as_bool) != Some(false),
        ),
        _ => (usual(), true),
    }
}

pub(super) fn jira(making: &Making<'_>) -> Result<Way, String> {
    let api = making.base("api_url", "");
    let firing = making.firing();
    let label = format!("ALERT{{{}}}", hash(&making.message.group_key));
    let project = making.text("project", "")?;
    let mut fields = Map::new();
    let own = making.of.field("fields").and_then(Value::as_object);
    let mut keep = Vec::new();
    fields.insert("project".into(), json!({"key": project}));
    fields.insert(
        "issuetype".into(),
        json!({"name": making.text("issue_type", "")?}),
    );
    let (summary, changed) = template(making, "summary");
    if !changed {
        keep.push("summary");
    }
    fields.insert("summary".into(), cut(making.fill(&summary)?, 255).into());
    let (description, changed) = template(making, "description");
    if !changed {
        keep.push("description");
    }
    let description = cut(making.fill(&description)?, 32_767);
    if api.ends_with("/3/") {
        // Version 3 takes a document and no text.
        if !description.trim().is_empty() {
            let document: Value = serde_json::from_str(description.trim())
                .map_err(|_| "description: invalid JSON for API v3".to_owned())?;
            fields.insert("description".into(), document);
        }
    } else if !description.is_empty() {
        fields.insert("description".into(), description.into());
    }
    let mut labels: Vec<String> = Vec::new();
    for given in making.list("labels")?.unwrap_or_default() {
        labels.extend(given.as_str().map(str::to_owned));
    }
    labels.push(label.clone());
    labels.sort();
    fields.insert("labels".into(), labels.into());
    let priority = making.text("priority", &named("jira.default.priority"))?;
    if !priority.is_empty() {
        fields.insert("priority".into(), json!({"name": priority}));
    }
    for (name, value) in own.into_iter().flatten() {
        fields.insert(name.clone(), making.typed(value)?);
    }
    let transition = match firing {
        true => making.of.text("reopen_transition"),
        false => making.of.text("resolve_transition"),
    };
    let search = search(making, &api, &project, &label, firing)?;
    Ok(Way::Talk(Box::new(Jira {
        api,
        search,
        fields,
        keep,
        firing,
        transition: transition.to_owned(),
        issue: None,
        stage: Stage::Begin,
    })))
}

fn quoted(text: &str) -> String {
    towpath_query::promql::quote(text)
}

fn search(
    making: &Making<'_>,
    api: &str,
    project: &str,
    label: &str,
    firing: bool,
) -> Result<Request, String> {
    let mut query = String::new();
    let never = making.of.text("wont_fix_resolution");
    if !never.is_empty() {
        query += &format!("resolution != {} and ", quoted(never));
    }
    let reopened = match making.of.field("reopen_duration").and_then(Value::as_str) {
        Some(text) => parse_duration(text)? / 60_000,
        None => 0,
    };
    let reopens = !making.of.text("reopen_transition").is_empty() && reopened > 0;
    query += &match firing && reopens {
        true => format!("(resolutiondate is EMPTY OR resolutiondate >= -{reopened}m) and "),
        false => "statusCategory != Done and ".to_owned(),
    };
    query += &format!(
        "project={} and labels={} order by status ASC,resolutiondate DESC",
        quoted(project),
        quoted(label)
    );
    let host = api
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let cloud = match making.of.text("api_type") {
        "cloud" => true,
        "datacenter" => false,
        _ => host.is_some_and(|host| host.ends_with("atlassian.net")),
    };
    let url = match cloud {
        true => format!("{api}search/jql").replacen("/rest/api/2/", "/rest/api/3/", 1),
        false => format!("{api}search"),
    };
    let body = json!({"fields": ["status"], "jql": query, "maxResults": 2});
    Ok(Request::post(url, body).header("Accept-Language", "en"))
}

impl Jira {
    fn ask(&self, method: &'static str, path: &str, body: Option<Value>) -> Next {
        Next::Ask(Request {
            method,
            url: format!("{}{path}", self.api),
            headers: vec![
                ("Accept-Language".into(), "en".into()),
                ("Content-Type".into(), "application/json".into()),
            ],
            body: body.map_or(Payload::None, Payload::Json),
        })
    }

    fn write(&mut self, found: &Value) -> Next {
        let first = &found["issues"][0];
        let Some(key) = first["key"].as_str() else {
            // What is over needs no new issue.
            if !self.firing {
                return Next::Done;
            }
            let fields = self.fields.clone();
            return self.ask("POST", "issue", Some(json!({"fields": fields})));
        };
        let status = &first["fields"]["status"];
        if !status.is_null() {
            let done = status["statusCategory"]["key"] == "done";
            self.issue = Some((key.to_owned(), done));
        }
        let mut fields = self.fields.clone();
        for field in &self.keep {
            fields.remove(*field);
        }
        let path = format!("issue/{key}");
        self.ask("PUT", &path, Some(json!({"fields": fields})))
    }
}

impl Talk for Jira {
    fn next(&mut self, answer: Option<Answer>) -> Result<Next, Fault> {
        let said = match &answer {
            None => Value::Null,
            Some(answer) => {
                by_status(answer)?;
                answer.json().unwrap_or_default()
            }
        };
        match self.stage {
            Stage::Begin => {
                self.stage = Stage::Searched;
                Ok(Next::Ask(self.search.clone()))
            }
            Stage::Searched => {
                self.stage = Stage::Written;
                if !said["issues"].is_array() {
                    return Err(Fault::refused("Jira answers no list of issues"));
                }
                Ok(self.write(&said))
            }
            Stage::Written => match &self.issue {
                Some((key, done)) if self.firing == *done && !self.transition.is_empty() => {
                    self.stage = Stage::Transitions;
                    Ok(self.ask("GET", &format!("issue/{key}/transitions"), None))
                }
                _ => Ok(Next::Done),
            },
            Stage::Transitions => {
                let all = said["transitions"].as_array();
                let mut all = all.into_iter().flatten();
                let found = all.find(|one| one["name"] == self.transition.as_str());
                let (Some(found), Some((key, _))) = (found, &self.issue) else {
                    let why = format!("Jira knows no transition {}", self.transition);
                    return Err(Fault::refused(why));
                };
                self.stage = Stage::Moved;
                let body = json!({"transition": {"id": found["id"]}});
                Ok(self.ask("POST", &format!("issue/{key}/transitions"), Some(body)))
            }
            Stage::Moved => Ok(Next::Done),
        }
    }
}
