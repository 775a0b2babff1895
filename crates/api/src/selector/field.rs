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

    /// Whether `object` matches. A missing field counts as empty text.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|(path, wanted, equal)| {
            let found = field_text(object, path);
            let found = if found.is_empty() {
                missing(path)
            } else {
                &found
            };
            (found == wanted) == *equal
        })
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

const EVENT: &[&str] = &[
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
];

/// The fields beside name and namespace that objects of a built-in kind can be selected by, under
/// the names they have in the version that is stored.
pub fn selectable(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("", "Pod") => &[
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
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "ReplicationController") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        ("" | "events.k8s.io", "Event") => EVENT,
        ("certificates.k8s.io", "CertificateSigningRequest") => &["spec.signerName"],
        ("resource.k8s.io", "ResourceSlice") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    }
}

/// The stored name of a field that a selector names, or why objects of the kind cannot be selected
/// by it.
pub fn resolve<'a>(
    group: &str,
    version: &str,
    kind: &str,
    path: &'a str,
) -> Result<&'a str, Error> {
    let known = selectable(group, kind);
    let stored = match (group, kind, path) {
        ("", "Pod", "spec.host") => Some("spec.nodeName"),
        ("events.k8s.io", "Event", _) => match path {
            "reportingController" => Some("reportingComponent"),
            "reason" | "type" => Some(path),
            path => path.strip_prefix("regarding.").and_then(|rest| {
                let stored = |known: &&&str| known.strip_prefix("involvedObject.") == Some(rest);
                EVENT.iter().find(stored).copied()
            }),
        },
        _ => known.contains(&path).then_some(path),
    };
    let everywhere = match (group, kind, path) {
        (_, _, "metadata.name") => true,
        (
            "" | "certificates.k8s.io" | "resource.k8s.io",
            "Node" | "Namespace" | "CertificateSigningRequest" | "ResourceSlice",
            _,
        ) => false,
        (_, _, path) => path == "metadata.namespace",
    };
    if everywhere {
        return Ok(path);
    }
    stored.ok_or_else(|| {
        Error::Unsupported(match (group, kind) {
            ("batch", "Job") => format!("field label {path:?} not supported for Job"),
            ("resource.k8s.io", "ResourceSlice") => format!(
                "field label not supported for {group}/{version}, Kind={kind}: {path}"
            ),
            _ if known.is_empty() => format!(
                "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ),
            _ => format!("field label not supported: {path}"),
        })
    })
}

/// What counts where an object has nothing in a field.
pub fn missing(path: &str) -> &'static str {
    match path {
        "spec.unschedulable" | "spec.hostNetwork" => "false",
        "status.successful" | "status.replicas" => "0",
        _ => "",
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
        "status.successful" => first(&["status.succeeded", "status.successful"]),
        // Upstream gives it no text.
        "status.podIPs" => String::new(),
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
        assert_eq!(resolve("", "v1", "Pod", "spec.host"), Ok("spec.nodeName"));
        assert!(resolve("", "v1", "Pod", "spec.foo").is_err());
        assert!(resolve("", "v1", "Node", "metadata.namespace").is_err());
        assert_eq!(
            resolve("events.k8s.io", "v1", "Event", "regarding.name"),
            Ok("involvedObject.name")
        );
        assert!(Field::parse("abc").is_err());
        assert_eq!(Field::parse(r"a=b\,c").unwrap().terms[0].1, "b,c");
    }
}
