//! The policies that a namespace's labels ask for.

use serde_json::Value;
use std::fmt;
use towpath_api::field::FieldError;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// Which release's idea of it; `None` is the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) level: Level,
    pub(super) minor: Option<u32>,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.minor {
            Some(minor) => write!(f, "{level}:v1.{minor}"),
            None => write!(f, "{level}:latest"),
        }
    }
}

/// One policy for each way to react.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) enforce: Policy,
    pub(super) audit: Policy,
    pub(super) warn: Policy,
}

/// Reads a namespace's labels; also gives what is wrong with them.
pub(super) fn of_labels(labels: &Value) -> (Policies, Vec<FieldError>) {
    let mut errors = Vec::new();
    let enforce = read(labels, "enforce", Level::Restricted, &mut errors);
    let audit = read(labels, "audit", Level::Privileged, &mut errors);
    let mut warn = read(labels, "warn", Level::Privileged, &mut errors);
    let says = |key: &str| labels[format!("{PREFIX}{key}")].as_str();
    let known = says("enforce").is_some_and(|text| level(text).is_some());
    // Who is refused from a level on is warned from it on, unless told otherwise.
    if says("warn").is_none() && known && enforce.level > warn.level {
        warn.level = enforce.level;
        if says("warn-version").is_none() {
            warn.minor = enforce.minor;
        }
    }
    let policies = Policies {
        enforce,
        audit,
        warn,
    };
    (policies, errors)
}

fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn read(labels: &Value, mode: &str, broken: Level, errors: &mut Vec<FieldError>) -> Policy {
    let mut policy = Policy {
        level: Level::Privileged,
        minor: None,
    };
    let mut wrong = |key: &str, text: &str, why: &str| {
        errors.push(FieldError::invalid(
            format!("metadata.labels[{key}]"),
            text,
            why,
        ));
    };
    let key = format!("{PREFIX}{mode}");
    if let Some(text) = labels[key.as_str()].as_str() {
        policy.level = level(text).unwrap_or_else(|| {
            wrong(
                &key,
                text,
                "must be one of privileged, baseline, restricted",
            );
            broken
        });
    }
    let key = format!("{PREFIX}{mode}-version");
    if let Some(text) = labels[key.as_str()].as_str() {
        match minor(text) {
            Some(minor) => policy.minor = minor,
            None => wrong(&key, text, "must be \"latest\" or \"v1.x\""),
        }
    }
    policy
}

fn minor(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let digits = text.strip_prefix("v1.")?;
    let plain =
        digits.bytes().all(|c| c.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok().map(Some))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_to_policies() {
        let (policies, errors) = of_labels(&json!({
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": "v1.24",
            "pod-security.kubernetes.io/audit": "strict",
            "pod-security.kubernetes.io/audit-version": "v1.024"
        }));
        assert_eq!(policies.enforce.to_string(), "baseline:v1.24");
        assert_eq!(policies.warn.to_string(), "baseline:v1.24");
        assert_eq!(policies.audit.to_string(), "privileged:latest");
        assert_eq!(errors.len(), 2);
        assert_eq!(
            of_labels(&Value::Null).0.enforce.to_string(),
            "privileged:latest"
        );
    }
}
