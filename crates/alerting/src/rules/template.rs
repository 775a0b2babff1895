//! Templates of labels and annotations, with the functions Prometheus gives them.

use std::sync::Arc;

use regex::Regex;
use towpath_query::promql::{InstantSample, parse_duration};
use towpath_query::template::{
    Functions, Kind, Limits, Member, MissingKey, Object, Templates, Value, url_query,
};

use super::humanize;

/// What every template of an alert starts with.
const VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// The longest program a regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// A sample as templates see it.
#[derive(Debug)]
struct Sample {
    labels: Value,
    value: Value,
}

const SAMPLE: &str = "*template.sample";

impl Object for Sample {
    fn type_name(&self) -> &str {
        SAMPLE
    }

    fn member(&self, name: &str) -> Option<Member> {
        Some(Member::Field(match name {
            "Labels" => self.labels.clone(),
            "Value" => self.value.clone(),
            _ => return None,
        }))
    }

    fn text(&self) -> String {
        let shown = |value: &Value| match value {
            Value::Float(number) => towpath_query::promql::format_general(*number),
            Value::Object(object) => object.text(),
            Value::Map(map) => {
                let entries: Vec<String> = map
                    .entries
                    .iter()
                    .map(|(name, value)| format!("{name}:{}", value.as_str().unwrap_or("")))
                    .collect();
                format!("map[{}]", entries.join(" "))
            }
            _ => String::new(),
        };
        format!("&{{{} {}}}", shown(&self.labels), shown(&self.value))
    }
}

/// A histogram, which templates can only print.
#[derive(Debug)]
struct Printed(String);

impl Object for Printed {
    fn type_name(&self) -> &str {
        "*histogram.FloatHistogram"
    }

    fn member(&self, _: &str) -> Option<Member> {
        None
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

fn value_of(sample: &InstantSample) -> Value {
    match &sample.histogram {
        Some(histogram) => Value::Object(Arc::new(Printed(histogram.to_string()))),
        None => Value::Float(sample.value),
    }
}

fn samples(vector: &[InstantSample]) -> Value {
    Value::list(vector.iter().map(|sample| {
        Value::Object(Arc::new(Sample {
            labels: Value::text_map(sample.labels.iter()),
            value: value_of(sample),
        }))
    }))
}

/// Answers queries of templates.
pub(super) type Query<'a> = dyn Fn(&str) -> Result<Vec<InstantSample>, String> + 'a;

/// What templates of one alerting rule at one time have in common.
pub struct Expander<'a> {
    functions: Functions<'a>,
    name: String,
    external_labels: Value,
    external_url: &'a str,
}

/// What one template is about.
pub struct Data {
    value: Value,
}

fn text(values: &[Value], at: usize) -> &str {
    values.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn regex(pattern: &str) -> Result<Regex, String> {
    towpath_query::go_regex::anywhere(pattern, REGEX_BYTES)
        .map_err(|error| format!("regexp: Compile({pattern:?}): {error}"))
}

/// The host and the port of an address.
fn split_host_port(address: &str) -> Option<(&str, &str)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':')?;
        return (!port.contains(['[', ']', ':'])).then_some((host, port));
    }
    let (host, port) = address.rsplit_once(':')?;
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

fn strip_domain(address: &str) -> String {
    let (host, port) = split_host_port(address).unwrap_or((address, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    match port {
        "" => host.to_owned(),
        port => format!("{host}:{port}"),
    }
}

/// Every word with its first letter large; the others stay.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        match within {
            false => out.extend(c.to_uppercase()),
            true => out.push(c),
        }
        // An apostrophe or a point within a word does not end it.
        within = c.is_alphanumeric() || (within && matches!(c, '\'' | '’' | '.' | '_' | ':'));
    }
    out
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The way to the page that shows an expression.
pub(super) fn link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", url_query(expr))
}

fn sorted(label: &str, list: &Value) -> Value {
    let Value::List(list) = list else {
        return list.clone();
    };
    let key = |value: &Value| match value {
        Value::Object(object) => match object.member("Labels") {
            Some(Member::Field(Value::Map(map))) => map
                .entries
                .get(label)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let mut items = list.items.clone();
    items.sort_by_cached_key(key);
    Value::list(items)
}

fn label_of(sample: &Value, label: &str) -> Result<Value, String> {
    let Value::Object(object) = sample else {
        return Err("runtime error: invalid memory address or nil pointer dereference".to_owned());
    };
    match object.member("Labels") {
        Some(Member::Field(Value::Map(map))) => Ok(match map.entries.get(label) {
            Some(value) => value.clone(),
            None => Value::text(""),
        }),
        _ => Ok(Value::text("")),
    }
}

/// The functions; those that ask have `query`, `now` is in milliseconds.
fn functions<'a>(query: &'a Query<'a>, now: i64, external_url: &'a str) -> Functions<'a> {
    use Kind::{Any, List, Named, Text};
    let mut f = Functions::new();
    f.add("query", &[Text], None, move |call, v| {
        call.charge(1000)?;
        let vector = query(text(v, 0))?;
        call.charge(vector.len() as u64 * 10)?;
        Ok(samples(&vector))
    });
    f.add("first", &[List], None, |_, v| match &v[0] {
        Value::List(list) if !list.items.is_empty() => Ok(list.items[0].clone()),
        _ => Err("first() called on vector with no elements".to_owned()),
    });
    f.add("label", &[Text, Named(SAMPLE)], None, |_, v| {
        label_of(&v[1], text(v, 0))
    });
    f.add("strvalue", &[Named(SAMPLE)], None, |_, v| {
        label_of(&v[0], "__value__")
    });
    f.add("value", &[Named(SAMPLE)], None, |_, v| match &v[0] {
        Value::Object(object) => match object.member("Value") {
            Some(Member::Field(value)) => Ok(value),
            _ => Ok(Value::Nil),
        },
        _ => Err("runtime error: invalid memory address or nil pointer dereference".to_owned()),
    });
    f.add("args", &[], Some(Any), |_, v| {
        Ok(Value::map(
            v.iter()
                .enumerate()
                .map(|(at, value)| (format!("arg{at}"), value.clone())),
        ))
    });
    f.add("reReplaceAll", &[Text, Text, Text], None, |_, v| {
        let found = regex(text(v, 0))?;
        Ok(Value::text(
            found.replace_all(text(v, 2), text(v, 1)).as_ref(),
        ))
    });
    f.add("match", &[Text, Text], None, |_, v| {
        Ok(Value::Bool(regex(text(v, 0))?.is_match(text(v, 1))))
    });
    f.add("safeHtml", &[Text], None, |_, v| Ok(v[0].clone()));
    f.add("title", &[Text], None, |_, v| {
        Ok(Value::text(title(text(v, 0))))
    });
    f.add("toUpper", &[Text], None, |_, v| {
        Ok(Value::text(text(v, 0).to_uppercase()))
    });
    f.add("toLower", &[Text], None, |_, v| {
        Ok(Value::text(text(v, 0).to_lowercase()))
    });
    f.add("graphLink", &[Text], None, |_, v| {
        Ok(Value::text(link(text(v, 0), 0)))
    });
    f.add("tableLink", &[Text], None, |_, v| {
        Ok(Value::text(link(text(v, 0), 1)))
    });
    f.add("sortByLabel", &[Text, List], None, |_, v| {
        Ok(sorted(text(v, 0), &v[1]))
    });
    f.add("stripPort", &[Text], None, |_, v| {
        let address = text(v, 0);
        Ok(Value::text(
            split_host_port(address).map_or(address, |(host, _)| host),
        ))
    });
    f.add("stripDomain", &[Text], None, |_, v| {
        Ok(Value::text(strip_domain(text(v, 0))))
    });
    let mut human = |name, shown: fn(f64) -> Result<String, String>| {
        f.add(name, &[Any], None, move |_, v| {
            Ok(Value::text(shown(humanize::number(&v[0])?)?))
        });
    };
    human("humanize", |v| Ok(humanize::plain(v)));
    human("humanize1024", |v| Ok(humanize::binary(v)));
    human("humanizeDuration", |v| Ok(humanize::duration(v)));
    human("humanizePercentage", |v| Ok(humanize::percentage(v)));
    human("humanizeTimestamp", humanize::timestamp);
    f.add("toTime", &[Any], None, |_, v| {
        Ok(Value::Time(humanize::time(humanize::number(&v[0])?)?))
    });
    f.add("toDuration", &[Any], None, |_, v| {
        Ok(Value::Duration((humanize::number(&v[0])? * 1e9) as i64))
    });
    f.add("now", &[], None, move |_, _| {
        Ok(Value::Float(now as f64 / 1000.0))
    });
    f.add("pathPrefix", &[], None, move |_, _| {
        Ok(Value::text(path_of(external_url)))
    });
    f.add("externalURL", &[], None, move |_, _| {
        Ok(Value::text(external_url))
    });
    f.add("parseDuration", &[Text], None, |_, v| {
        let (sign, bare) = match text(v, 0).strip_prefix('-') {
            Some(bare) => (-1.0, bare),
            None => (1.0, text(v, 0)),
        };
        Ok(Value::Float(sign * parse_duration(bare)? as f64 / 1000.0))
    });
    f.add("urlQueryEscape", &[Text], None, |_, v| {
        Ok(Value::text(url_query(text(v, 0))))
    });
    f
}

/// Whether a text is a template of an alert.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(alert: &str, text: &str) -> Result<(), String> {
    let query = |_: &str| Ok(Vec::new());
    let functions = functions(&query, 0, "");
    let name = format!("__alert_{alert}");
    Templates::parse(&name, &format!("{VARIABLES}{text}"), &functions)
        .map(drop)
        .map_err(|error| error.message)
}

impl<'a> Expander<'a> {
    /// For the templates of an alert; `now` is in milliseconds.
    pub fn new(
        alert: &str,
        now: i64,
        query: &'a Query<'a>,
        external_labels: &'a [(String, String)],
        external_url: &'a str,
    ) -> Self {
        let labels = external_labels.iter();
        Self {
            functions: functions(query, now, external_url),
            name: format!("__alert_{alert}"),
            external_labels: Value::text_map(labels.map(|(n, v)| (n.as_str(), v.as_str()))),
            external_url,
        }
    }

    /// What templates see of a sample.
    pub fn data(&self, sample: &InstantSample) -> Data {
        Data {
            value: Value::map([
                ("Labels", Value::text_map(sample.labels.iter())),
                ("ExternalLabels", self.external_labels.clone()),
                ("ExternalURL", Value::text(self.external_url)),
                ("Value", value_of(sample)),
            ]),
        }
    }

    /// A text with its templates filled in. What goes wrong is said in the text.
    pub fn expand(&self, text: &str, data: &Data) -> String {
        if !text.contains("{{") {
            return text.to_owned();
        }
        let name = &self.name;
        let mut templates = Templates::new(name).missing_key(MissingKey::Zero);
        let made = templates
            .add(name, &format!("{VARIABLES}{text}"), &self.functions)
            .map_err(|error| format!("error parsing template {name}: {error}"))
            .and_then(|()| {
                templates
                    .run(&self.functions, &data.value, Limits::default())
                    .map_err(|error| format!("error executing template {name}: {error}"))
            });
        made.unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    }
}
