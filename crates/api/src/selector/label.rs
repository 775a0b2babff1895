//! Selection by labels, in the form of query strings and as objects.

use super::Error;
use serde_json::{Map, Value};

/// What one requirement asks of a label.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// The value is one of those (`=`, `==`, `in`).
    In,
    /// The label is missing or has another value (`!=`, `notin`).
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    Missing,
    /// The value is a number above.
    Greater(i64),
    /// The value is a number below.
    Less(i64),
}

/// One requirement.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// What is asked.
    pub operator: Operator,
    /// Values for `In` and `NotIn`.
    pub values: Vec<String>,
}

/// A label selector: all requirements hold. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Label {
    /// The requirements.
    pub requirements: Vec<Requirement>,
    never: bool,
}

impl Label {
    /// Parses the form used in query strings: `a=b,c!=d,e in (f,g),h,!i,j>1`.
    pub fn parse(text: &str) -> Result<Label, Error> {
        super::parse::parse(text)
    }

    pub(super) fn of(requirements: Vec<Requirement>) -> Label {
        Label {
            requirements,
            never: false,
        }
    }

    /// Reads a `LabelSelector` object; `null` matches nothing, `{}` everything.
    pub fn from_object(selector: &Value) -> Result<Label, Error> {
        let Some(selector) = selector.as_object() else {
            return Ok(Label {
                never: true,
                ..Label::default()
            });
        };
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            requirements.extend(labels.iter().map(|(key, value)| equals(key, value)));
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.map(Vec::as_slice).unwrap_or_default() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::Missing,
                other => return Err(Error::Operator(other.to_string())),
            };
            let values = expression["values"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            requirements.push(Requirement {
                key: expression["key"].as_str().unwrap_or_default().to_string(),
                operator,
                values: values
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_string)
                    .collect(),
            });
        }
        Ok(Label {
            requirements,
            never: false,
        })
    }

    /// A selector that asks for exactly these labels (`spec.selector` of Services and
    /// ReplicationControllers).
    pub fn from_map(labels: &Map<String, Value>) -> Label {
        Label {
            requirements: labels
                .iter()
                .map(|(key, value)| equals(key, value))
                .collect(),
            never: false,
        }
    }

    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.never
    }

    /// Whether an object with `labels` (`metadata.labels`, or anything else for none) matches.
    pub fn matches(&self, labels: &Value) -> bool {
        self.matches_with(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether an object matches whose labels are looked up by `label`.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.never
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.holds(label(&requirement.key)))
    }
}

fn equals(key: &str, value: &Value) -> Requirement {
    let value = value.as_str().unwrap_or_default().to_string();
    Requirement {
        key: key.to_string(),
        operator: Operator::In,
        values: vec![value],
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|known| known == value);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::Missing => value.is_none(),
            Operator::Greater(bound) => number().is_some_and(|number| number > bound),
            Operator::Less(bound) => number().is_some_and(|number| number < bound),
        }
    }
}

impl std::fmt::Display for Label {
    /// The form used in query strings and in `status.selector` of Scale.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted: Vec<&Requirement> = self.requirements.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for (at, requirement) in sorted.into_iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let mut values = requirement.values.clone();
            values.sort();
            let (key, list) = (&requirement.key, values.join(","));
            match &requirement.operator {
                Operator::In if values.len() == 1 => write!(f, "{key}={list}")?,
                Operator::In => write!(f, "{key} in ({list})")?,
                Operator::NotIn if values.len() == 1 => write!(f, "{key}!={list}")?,
                Operator::NotIn => write!(f, "{key} notin ({list})")?,
                Operator::Exists => f.write_str(key)?,
                Operator::Missing => write!(f, "!{key}")?,
                Operator::Greater(bound) => write!(f, "{key}>{bound}")?,
                Operator::Less(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        for yes in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "tier in (front, back)",
            "missing notin (x)",
            "app",
            "!none",
            "n>4",
            "n<6",
            "app=web,tier=front",
        ] {
            assert!(Label::parse(yes).unwrap().matches(&labels), "{yes}");
        }
        for no in [
            "app=db",
            "none",
            "!app",
            "tier notin (front)",
            "n>5",
            "app=web,none",
        ] {
            assert!(!Label::parse(no).unwrap().matches(&labels), "{no}");
        }
        for bad in [
            "=", "a=b,", "a in b", "a in (b", "a b", "-a=b", "a=b=c", "a>x", ",",
        ] {
            assert!(Label::parse(bad).is_err(), "{bad}");
        }
        for (list, values) in [
            ("()", 1),
            ("(,)", 1),
            ("(a,,b)", 3),
            ("(a,b,)", 3),
            ("(,a)", 2),
        ] {
            let label = Label::parse(&format!("x in {list}")).unwrap();
            assert_eq!(label.requirements[0].values.len(), values, "{list}");
        }
        assert_eq!(
            Label::parse("b in (y,x),a=1,!c").unwrap().to_string(),
            "a=1,b in (x,y),!c"
        );
    }

    #[test]
    fn label_selector_objects() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]});
        let selector = Label::from_object(&selector).unwrap();
        assert!(selector.matches(&json!({"a": "b", "c": ""})));
        assert!(!selector.matches(&json!({"a": "b"})));
        assert!(
            !Label::from_object(&Value::Null)
                .unwrap()
                .matches(&json!({}))
        );
        assert!(
            Label::from_object(&json!({}))
                .unwrap()
                .matches(&Value::Null)
        );
        assert!(
            Label::from_object(&json!({"matchExpressions": [{"key": "c", "operator": "Is"}]}))
                .is_err()
        );
    }
}
