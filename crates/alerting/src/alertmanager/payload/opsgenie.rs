//! Opsgenie: alerts that are made, changed and closed.

use serde_json::{Map, Value, json};

use super::making::{Making, named, put};
use super::talk::{Request, by_status, cut};
use super::{Way, each, hash};

/// The longest message, in characters.
const MESSAGE_CHARS: usize = 130;

/// Parts between commas that are not empty.
fn parts(text: &str) -> Vec<&str> {
    let parts = text.trim().split(',');
    parts.filter(|part| !part.is_empty()).collect()
}

pub(super) fn opsgenie(making: &Making<'_>) -> Result<Way, String> {
    let default = |name: &str| named(&format!("opsgenie.default.{name}"));
    let api = making.base("api_url", "https://api.opsgenie.com");
    let key = making.secret("api_key")?;
    let key = making.fill(&key)?.trim().to_owned();
    making.mask.borrow_mut().add(&key);
    let alias = hash(&making.message.group_key);
    let source = making.text("source", &default("source"))?;
    let own = |what: &str| format!("{api}v2/alerts/{alias}/{what}?identifierType=alias");
    let mut requests = Vec::new();
    if !making.firing() {
        requests.push(Request::post(own("close"), json!({"source": source})));
    } else {
        let message = cut(making.text("message", &default("message"))?, MESSAGE_CHARS);
        let description = making.text("description", &default("description"))?;
        let mut body = Map::new();
        body.insert("alias".into(), alias.clone().into());
        body.insert("message".into(), message.clone().into());
        put(&mut body, "description", description.clone());
        body.insert("details".into(), details(making)?);
        body.insert("source".into(), source.into());
        let responders = responders(making)?;
        if !responders.is_empty() {
            body.insert("responders".into(), responders.into());
        }
        for list in ["tags", "actions"] {
            let text = making.text(list, "")?;
            let parts = parts(&text);
            if !parts.is_empty() {
                body.insert(list.into(), parts.into());
            }
        }
        for field in ["note", "priority", "entity"] {
            put(&mut body, field, making.text(field, "")?);
        }
        requests.push(Request::post(format!("{api}v2/alerts"), body.into()));
        if making.of.flag("update_alerts", false) {
            let mut changed = |what: &str, text: String| {
                let mut body = Map::new();
                put(&mut body, what, text);
                let mut request = Request::post(own(what), body.into());
                request.method = "PUT";
                requests.push(request);
            };
            changed("message", message);
            changed("description", description);
        }
    }
    let requests = requests
        .into_iter()
        .map(|request| request.header("Authorization", format!("GenieKey {key}")));
    Ok(each(requests, by_status))
}

fn details(making: &Making<'_>) -> Result<Value, String> {
    let mut details = making.message.common_labels();
    let own = making.of.field("details").and_then(Value::as_object);
    for (name, template) in own.into_iter().flatten() {
        let value = making.fill(template.as_str().unwrap_or_default())?;
        details.insert(name.clone(), value);
    }
    Ok(json!(details))
}

fn responders(making: &Making<'_>) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    for given in making.list("responders")?.unwrap_or_default() {
        let text = |name: &str| given[name].as_str().unwrap_or_default();
        // Names made from labels may come to nothing.
        if ["id", "name", "username", "type"]
            .iter()
            .all(|name| text(name).is_empty())
        {
            continue;
        }
        if text("type") == "teams" {
            let teams = parts(text("name"));
            out.extend(
                teams
                    .iter()
                    .map(|team| json!({"name": team, "type": "team"})),
            );
            continue;
        }
        let mut made = Map::new();
        for name in ["id", "name", "username"] {
            put(&mut made, name, text(name).to_owned());
        }
        made.insert("type".into(), text("type").into());
        out.push(made.into());
    }
    Ok(out)
}
