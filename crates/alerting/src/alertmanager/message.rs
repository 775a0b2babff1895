//! One message about a group of alerts, and the texts that are made of it.

use std::collections::BTreeMap;

use towpath_query::template::{
    Functions, Kind, Limits, Member, MissingKey, Templates, Time, Value,
};

use super::alert::Alert;
use super::view::{Escape, data};

/// A message about a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who is told.
    pub receiver: String,
    /// What names the group.
    pub group_key: String,
    /// Labels its alerts share by its route.
    pub group_labels: BTreeMap<String, String>,
    /// Its alerts, and whether each fires; those that fire first.
    pub alerts: Vec<(Alert, bool)>,
    /// Where this server is reached.
    pub external_url: String,
    /// The time it is made, in milliseconds since the epoch.
    pub now: i64,
    /// The same for every attempt at telling the same.
    pub id: String,
}

fn common<'a>(
    mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut out = maps.next().cloned().unwrap_or_default();
    for map in maps {
        out.retain(|name, value| map.get(name) == Some(value));
    }
    out
}

impl Message {
    /// `firing` as long as one of its alerts fires.
    pub fn status(&self) -> &'static str {
        match self.alerts.iter().any(|(_, firing)| *firing) {
            true => "firing",
            false => "resolved",
        }
    }

    /// Labels all alerts share.
    pub fn common_labels(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|(alert, _)| &alert.labels))
    }

    /// Annotations all alerts share.
    pub fn common_annotations(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|(alert, _)| &alert.annotations))
    }
}

/// The texts there are without templates of one's own. They say what upstream's say.
const STANDARD: &str = include_str!("standard.tmpl");

/// Templates of messages: ours, and those of the configuration over them.
#[derive(Clone, Debug)]
pub struct Messages(Templates);

fn text(values: &[Value], at: usize) -> &str {
    values.get(at).and_then(Value::as_str).unwrap_or_default()
}

/// Fields of an alert, in JSON and in templates.
const ALERT_FIELDS: &[(&str, &str)] = &[
    ("status", "Status"),
    ("labels", "Labels"),
    ("annotations", "Annotations"),
    ("startsAt", "StartsAt"),
    ("endsAt", "EndsAt"),
    ("generatorURL", "GeneratorURL"),
    ("fingerprint", "Fingerprint"),
];

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Missing | Value::Nil => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) | Value::Duration(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(text) => (&**text).into(),
        Value::List(list) => list.items.iter().map(json).collect(),
        Value::Map(map) => map
            .entries
            .iter()
            .map(|(k, v)| (k.clone(), json(v)))
            .collect(),
        Value::Time(time) => time.format("2006-01-02T15:04:05.999999999Z07:00").into(),
        Value::Object(object) if object.type_name() == "template.Alert" => {
            let fields = ALERT_FIELDS.iter().filter_map(|(name, member)| {
                let Some(Member::Field(value)) = object.member(member) else {
                    return None;
                };
                Some(((*name).to_owned(), json(&value)))
            });
            serde_json::Value::Object(fields.collect())
        }
        Value::Object(object) => match object.as_value() {
            Value::Missing => object.text().into(),
            value => json(&value),
        },
    }
}

fn regex(pattern: &str) -> Result<regex::Regex, String> {
    towpath_query::go_regex::anywhere(pattern, 1 << 20)
}

fn functions(now: i64) -> Functions<'static> {
    use Kind::{Any, Named, Text, Texts};
    let mut f = Functions::new();
    f.add("toUpper", &[Text], None, |_, v| {
        Ok(Value::text(text(v, 0).to_uppercase()))
    });
    f.add("toLower", &[Text], None, |_, v| {
        Ok(Value::text(text(v, 0).to_lowercase()))
    });
    f.add("title", &[Text], None, |_, v| {
        let mut within = false;
        let made: String = text(v, 0)
            .chars()
            .flat_map(|c| {
                let first = !within;
                within = c.is_alphanumeric() || (within && c == '\'');
                let changed: String = match first {
                    true => c.to_uppercase().collect(),
                    false => c.to_lowercase().collect(),
                };
                changed.chars().collect::<Vec<_>>()
            })
            .collect();
        Ok(Value::text(made))
    });
    f.add("trimSpace", &[Text], None, |_, v| {
        Ok(Value::text(text(v, 0).trim()))
    });
    f.add("join", &[Text, Texts], None, |_, v| match &v[1] {
        Value::List(list) => {
            let items: Vec<&str> = list.items.iter().filter_map(Value::as_str).collect();
            Ok(Value::text(items.join(text(v, 0))))
        }
        _ => Ok(Value::text("")),
    });
    f.add("match", &[Text, Text], None, |_, v| {
        Ok(Value::Bool(regex(text(v, 0))?.is_match(text(v, 1))))
    });
    f.add("reReplaceAll", &[Text, Text, Text], None, |_, v| {
        let made = regex(text(v, 0))?;
        Ok(Value::text(
            made.replace_all(text(v, 2), text(v, 1)).as_ref(),
        ))
    });
    for name in ["safeHtml", "safeUrl"] {
        f.add(name, &[Text], None, |_, v| Ok(v[0].clone()));
    }
    f.add("urlUnescape", &[Text], None, |_, v| {
        unescape(text(v, 0)).map(Value::text)
    });
    f.add("stringSlice", &[], Some(Text), |_, v| {
        Ok(Value::texts(v.iter().filter_map(Value::as_str)))
    });
    f.add("date", &[Text, Named("time.Time")], None, |_, v| {
        match &v[1] {
            Value::Time(time) => Ok(Value::text(time.format(text(v, 0)))),
            _ => Ok(Value::Nil),
        }
    });
    f.add("tz", &[Text, Named("time.Time")], None, |_, v| {
        match &v[1] {
            Value::Time(time) => Ok(Value::Time(zoned(text(v, 0), time)?)),
            _ => Ok(Value::Nil),
        }
    });
    f.add("since", &[Named("time.Time")], None, move |_, v| {
        match &v[0] {
            Value::Time(time) => {
                let span = i128::from(now) * 1_000_000 - time.nanos;
                Ok(Value::Duration(i64::try_from(span).unwrap_or(i64::MAX)))
            }
            _ => Ok(Value::Nil),
        }
    });
    f.add("humanizeDuration", &[Any], None, |_, v| {
        crate::rules::humanized_duration(&v[0]).map(Value::text)
    });
    f.add("toJson", &[Any], None, |_, v| {
        Ok(Value::text(json(&v[0]).to_string()))
    });
    f
}

fn zoned(name: &str, time: &Time) -> Result<Time, String> {
    let zone = jiff::tz::TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))?;
    let at = jiff::Timestamp::from_nanosecond(time.nanos).map_err(|e| e.to_string())?;
    let told = zone.to_offset_info(at);
    Ok(Time {
        nanos: time.nanos,
        offset: told.offset().seconds(),
        zone: told.abbreviation().into(),
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|d| d.unwrap_or(b'?'));
                let digits = std::str::from_utf8(&digits).unwrap_or("?");
                let byte = u8::from_str_radix(digits, 16)
                    .map_err(|_| format!("invalid URL escape \"%{digits}\""))?;
                out.push(byte);
            }
            byte => out.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

impl Messages {
    /// Ours, and those of files, each with its name, over them.
    ///
    /// # Errors
    /// A file is no template.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let functions = functions(0);
        let mut templates = Templates::new("standard").missing_key(MissingKey::Zero);
        let standard = [("standard", STANDARD)];
        for (name, text) in standard.into_iter().chain(files) {
            let added = templates.add(name, text, &functions);
            added.map_err(|error| error.message)?;
        }
        Ok(Self(templates))
    }

    /// A text with its templates filled in.
    ///
    /// # Errors
    /// It is no template, or fails.
    pub fn text(&self, text: &str, message: &Message) -> Result<String, String> {
        self.expand(text, message, Escape::None)
    }

    /// The same for HTML: what alerts say is made safe.
    ///
    /// # Errors
    /// It is no template, or fails.
    pub fn html(&self, text: &str, message: &Message) -> Result<String, String> {
        self.expand(text, message, Escape::Html)
    }

    fn expand(&self, text: &str, message: &Message, escape: Escape) -> Result<String, String> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let functions = functions(message.now);
        let mut templates = self.0.clone();
        templates.add("", text, &functions).map_err(|e| e.message)?;
        let data = data(message, escape);
        templates
            .run_named("", &functions, &data, Limits::default())
            .map_err(|error| error.message)
    }
}
