//! Selection by the few fields a kind offers for it.

use super::Error;
use serde_json::Value;

/// A field selector: all terms hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Field {
    /// `(path, value, whether it must be equal)`.
    pub terms: Vec<(String, String, bool)>,
}

impl Field {
    /// Parses `a.b=c,d!=e`; a backslash escapes `,`, `=` and itself in values.
    pub fn parse(text: &str) -> Result<Field, Error> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let bad = || Error::Field(text.to_string(), term.to_string());
            let at = term.find(['=', '!']).ok_or_else(bad)?;
            let (path, rest) = term.split_at(at);
            let (value, equal) = rest
                .strip_prefix("!=")
                .map(|value| (value, false))
                .or_else(|| rest.strip_prefix("==").map(|value| (value, true)))
                .or_else(|| rest.strip_prefix('=').map(|value| (value, true)))
                .ok_or_else(bad)?;
            terms.push((path.to_string(), unescape(value).ok_or_else(bad)?, equal));
        }
        Ok(Field { terms })
    }

    /// Refuses terms that objects of this kind cannot be selected by. `extra` are the selectable
    /// fields of a custom resource (`.spec.color` or `spec.color`).
    pub fn check(&self, group: &str, kind: &str, extra: &[&str]) -> Result<(), Error> {
        for (path, ..) in &self.terms {
            let known = selectable(group, kind).contains(&path.as_str())
                || extra
                    .iter()
                    .any(|field| field.trim_start_matches('.') == path);
            if !known {
                return Err(Error::Unsupported(path.clone()));
            }
        }
        Ok(())
    }

    /// Whether `object` matches. A missing field counts as empty text.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms
            .iter()
            .all(|(path, wanted, equal)| (field_text(object, path) == *wanted) == *equal)
    }

    /// The value that `metadata.name` must have, where the selector asks for one.
    pub fn name(&self) -> Option<&str> {
        let term = self
            .terms
            .iter()
            .find(|(path, _, equal)| path == "metadata.name" && *equal)?;
        Some(&term.1)
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('\\' | ',' | '=') => out.push(c),
                _ => return None,
            },
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// The fields that objects of a built-in kind can be selected by.
pub fn selectable(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("", "Pod") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["metadata.name", "spec.unschedulable"],
        ("", "Namespace") => &["metadata.name", "status.phase"],
        ("", "Secret") => &["metadata.name", "metadata.namespace", "type"],
        ("", "Service") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.clusterIP",
            "spec.type",
        ],
        ("", "ReplicationController") => {
            &["metadata.name", "metadata.namespace", "status.replicas"]
        }
        ("apps", "ReplicaSet") => &["metadata.name", "metadata.namespace", "status.replicas"],
        ("batch", "Job") => &["metadata.name", "metadata.namespace", "status.successful"],
        ("" | "events.k8s.io", "Event") => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reportingController",
        ],
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            &["metadata.name", "spec.signerName"]
        }
        _ => &["metadata.name", "metadata.namespace"],
    }
}

/// The text of a selectable field of an object; empty where it is missing.
pub fn field_text(object: &Value, path: &str) -> String {
    let first = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| plain(object, path))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    };
    match path {
        "spec.unschedulable" | "spec.hostNetwork" => match plain(object, path).as_str() {
            "" => "false".into(),
            text => text.into(),
        },
        "status.successful" => first(&["status.succeeded", "status.successful"]),
        "status.replicas" => match plain(object, path).as_str() {
            "" => "0".into(),
            text => text.into(),
        },
        "source" => first(&[
            "source.component",
            "reportingComponent",
            "deprecatedSource.component",
        ]),
        "reportingComponent" | "reportingController" => {
            first(&["reportingComponent", "reportingController"])
        }
        _ => match path.split_once('.') {
            Some(("involvedObject" | "regarding", rest)) => first(&[
                &format!("involvedObject.{rest}"),
                &format!("regarding.{rest}"),
            ]),
            _ => plain(object, path),
        },
    }
}

fn plain(object: &Value, path: &str) -> String {
    let found = path
        .split('.')
        .try_fold(object, |value, key| value.get(key));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn field_selectors() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        let selector =
            Field::parse("metadata.name=a,spec.nodeName!=n2,status.phase==Running").unwrap();
        assert!(selector.matches(&pod));
        assert_eq!(selector.name(), Some("a"));
        selector.check("", "Pod", &[]).unwrap();
        assert!(
            Field::parse("spec.foo=x")
                .unwrap()
                .check("", "Pod", &[])
                .is_err()
        );
        Field::parse("spec.foo=x")
            .unwrap()
            .check("x", "Y", &[".spec.foo"])
            .unwrap();
        assert!(Field::parse("abc").is_err());
        assert_eq!(Field::parse(r"a=b\,c").unwrap().terms[0].1, "b,c");
        assert!(
            Field::parse("spec.hostNetwork=false")
                .unwrap()
                .matches(&pod)
        );
    }
}
