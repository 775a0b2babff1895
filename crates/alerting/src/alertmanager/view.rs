//! What templates of messages see: the names are upstream's.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_query::template::{Member, Object, Time, Value, html};

use super::alert::{Alert, fingerprint};
use super::message::Message;

/// How texts are put before templates: as they are, or safe for HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    Html,
}

impl Escape {
    fn text(self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::Html => html(text),
        }
    }
}

/// Names with values, `KV` upstream.
#[derive(Debug)]
struct Pairs(BTreeMap<String, String>, Escape);

impl Pairs {
    fn value(map: BTreeMap<String, String>, escape: Escape) -> Value {
        Value::Object(Arc::new(Self(map, escape)))
    }

    /// In order, the alert's name first.
    fn sorted(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| (name.clone(), self.1.text(value)))
            .collect();
        pairs.sort_by_key(|(name, _)| name != "alertname");
        pairs
    }
}

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn member(&self, name: &str) -> Option<Member> {
        match name {
            "SortedPairs" | "Names" | "Values" | "String" => Some(Member::Method(0)),
            "Remove" => Some(Member::Method(1)),
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let sorted = self.sorted();
        match (name, arguments) {
            ("SortedPairs", _) => Ok(Value::Object(Arc::new(Sorted(sorted)))),
            ("Names", _) => Ok(Value::texts(sorted.into_iter().map(|(name, _)| name))),
            ("Values", _) => Ok(Value::texts(sorted.into_iter().map(|(_, value)| value))),
            ("String", _) => Ok(Value::text(self.text())),
            ("Remove", [Value::List(names)]) => {
                let mut left = self.0.clone();
                for name in names.items.iter().filter_map(Value::as_str) {
                    left.remove(name);
                }
                Ok(Self::value(left, self.1))
            }
            (name, _) => Err(format!("wrong type for value of {name}")),
        }
    }

    fn as_value(&self) -> Value {
        Value::text_map(self.0.iter().map(|(n, v)| (n.clone(), self.1.text(v))))
    }

    fn text(&self) -> String {
        shown(&self.sorted())
    }
}

fn shown(pairs: &[(String, String)]) -> String {
    let each: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    each.join(", ")
}

/// Pairs in order.
#[derive(Debug)]
struct Sorted(Vec<(String, String)>);

impl Object for Sorted {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn member(&self, name: &str) -> Option<Member> {
        matches!(name, "Names" | "Values" | "String").then_some(Member::Method(0))
    }

    fn call(&self, name: &str, _: &[Value]) -> Result<Value, String> {
        Ok(match name {
            "Names" => Value::texts(self.0.iter().map(|(name, _)| name.as_str())),
            "Values" => Value::texts(self.0.iter().map(|(_, value)| value.as_str())),
            _ => Value::text(self.text()),
        })
    }

    fn as_value(&self) -> Value {
        Value::list(self.0.iter().map(|(name, value)| {
            Value::map([
                ("Name", Value::text(name.as_str())),
                ("Value", Value::text(value.as_str())),
            ])
        }))
    }

    fn text(&self) -> String {
        shown(&self.0)
    }
}

#[derive(Debug)]
struct One {
    alert: Alert,
    firing: bool,
    escape: Escape,
}

fn time(ms: i64) -> Value {
    Value::Time(Time::from_millis(ms))
}

/// The time of what has no end.
pub(super) const NEVER_MS: i64 = -62_135_596_800_000;

impl Object for One {
    fn type_name(&self) -> &str {
        "template.Alert"
    }

    fn member(&self, name: &str) -> Option<Member> {
        let alert = &self.alert;
        Some(Member::Field(match name {
            "Status" => Value::text(if self.firing { "firing" } else { "resolved" }),
            "Labels" => Pairs::value(alert.labels.clone(), self.escape),
            "Annotations" => Pairs::value(alert.annotations.clone(), self.escape),
            "StartsAt" => time(alert.starts_at),
            "EndsAt" if self.firing => time(NEVER_MS),
            "EndsAt" => time(alert.ends_at),
            "GeneratorURL" => Value::text(self.escape.text(&alert.generator_url)),
            "Fingerprint" => Value::text(format!("{:016x}", fingerprint(&alert.labels))),
            _ => return None,
        }))
    }

    fn text(&self) -> String {
        format!("{:?}", self.alert.labels)
    }
}

/// All alerts of a message.
#[derive(Debug)]
struct Many(Vec<Arc<One>>);

impl Object for Many {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn member(&self, name: &str) -> Option<Member> {
        matches!(name, "Firing" | "Resolved").then_some(Member::Method(0))
    }

    fn call(&self, name: &str, _: &[Value]) -> Result<Value, String> {
        let firing = name == "Firing";
        let some = self.0.iter().filter(|one| one.firing == firing);
        Ok(Value::Object(Arc::new(Self(some.cloned().collect()))))
    }

    fn as_value(&self) -> Value {
        Value::list(self.0.iter().map(|one| Value::Object(one.clone())))
    }

    fn text(&self) -> String {
        format!("{} alerts", self.0.len())
    }
}

/// A message as templates see it.
pub(super) fn data(message: &Message, escape: Escape) -> Value {
    let alerts = message.alerts.iter().map(|(alert, firing)| {
        Arc::new(One {
            alert: alert.clone(),
            firing: *firing,
            escape,
        })
    });
    let pairs = |map: &BTreeMap<String, String>| Pairs::value(map.clone(), escape);
    Value::map([
        ("Receiver", Value::text(escape.text(&message.receiver))),
        ("Status", Value::text(message.status())),
        ("Alerts", Value::Object(Arc::new(Many(alerts.collect())))),
        ("GroupLabels", pairs(&message.group_labels)),
        ("CommonLabels", pairs(&message.common_labels())),
        ("CommonAnnotations", pairs(&message.common_annotations())),
        ("ExternalURL", Value::text(message.external_url.as_str())),
        ("NotificationReason", Value::text("")),
    ])
}
