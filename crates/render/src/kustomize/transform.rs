//! Namespace, name, label, annotation, image and replica transformations.

use super::fieldspec::{FieldSpec, Make};
use super::resource::Resource;
use super::spec::{Image, Kustomization, Labels};
use super::tables;
use crate::Finding;
use crate::yaml::{Node, Value};
use regex::Regex;
use std::collections::HashSet;

fn place(finding: Finding, resource: &Resource) -> Finding {
    let mut finding = finding.in_file(&resource.file);
    finding.message = format!("{}: {}", resource.describe(), finding.message);
    finding
}

/// Moves everything that lives in a namespace to another one.
pub(super) fn namespace(resources: &mut [Resource], namespace: &str) -> Result<(), Finding> {
    if namespace.is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(resources.len());
    let mut set = |node: &mut Node| -> Result<(), Finding> {
        node.value = Node::string(namespace).value;
        Ok(())
    };
    for resource in resources.iter_mut() {
        resource.remember_id();
        let (group, kind) = (
            resource.gvk().group.to_string(),
            resource.kind().to_string(),
        );
        if !resource.cluster_scoped() {
            resource.set_namespace(namespace);
        } else if group.is_empty() && kind == "Namespace" {
            resource.set_name(namespace);
        }
        if matches!(kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
            for subject in resource
                .node
                .get_mut("subjects")
                .and_then(Node::as_list_mut)
                .into_iter()
                .flatten()
            {
                if subject.text_at(&["name"]) == Some("default")
                    && let Some(map) = subject.as_map_mut()
                {
                    map.insert("namespace".into(), Node::string(namespace));
                }
            }
        }
        for spec in tables::NAMESPACES.iter() {
            if spec.selects(resource.gvk()) {
                spec.apply(&mut resource.node, Make::Scalar, &mut set)?;
            }
        }
        if !seen.insert(resource.key()) {
            let message = format!(
                "two objects become {} in namespace {namespace}",
                resource.describe()
            );
            return Err(Finding::error("kustomize/conflict", message).in_file(&resource.file));
        }
    }
    Ok(())
}

/// Adds a prefix and then a suffix to names.
pub(super) fn names(resources: &mut [Resource], spec: &Kustomization) {
    for (prefix, suffix) in [
        (spec.name_prefix.as_str(), ""),
        ("", spec.name_suffix.as_str()),
    ] {
        if prefix.is_empty() && suffix.is_empty() {
            continue;
        }
        for resource in resources.iter_mut() {
            let (_, kind, _) = resource.original();
            if matches!(kind, "CustomResourceDefinition" | "Namespace")
                || (kind == "APIService" && resource.gvk().group == "apiregistration.k8s.io")
            {
                continue;
            }
            if prefix.is_empty() {
                resource.suffixes.push(suffix.to_string());
            } else {
                resource.prefixes.push(prefix.to_string());
            }
            resource.remember_id();
            let name = format!("{prefix}{}{suffix}", resource.name());
            resource.set_name(&name);
        }
    }
}

/// `labels` and then `commonLabels`.
pub(super) fn labels(resources: &mut [Resource], spec: &Kustomization) -> Result<(), Finding> {
    for labels in &spec.labels {
        put_pairs(resources, &labels.pairs, &label_specs(labels))?;
    }
    put_pairs(resources, &spec.common_labels, &tables::COMMON_LABELS)
}

fn label_specs(labels: &Labels) -> Vec<FieldSpec> {
    let base: &[FieldSpec] = if labels.selectors {
        &tables::COMMON_LABELS
    } else if labels.templates {
        &tables::TEMPLATE_LABELS
    } else {
        &tables::OBJECT_LABELS
    };
    labels.fields.iter().chain(base).cloned().collect()
}

/// `commonAnnotations`.
pub(super) fn annotations(resources: &mut [Resource], spec: &Kustomization) -> Result<(), Finding> {
    put_pairs(resources, &spec.common_annotations, &tables::ANNOTATIONS)
}

fn put_pairs(
    resources: &mut [Resource],
    pairs: &[(String, String)],
    specs: &[FieldSpec],
) -> Result<(), Finding> {
    if pairs.is_empty() {
        return Ok(());
    }
    let mut set = |node: &mut Node| -> Result<(), Finding> {
        let at = node.at;
        let Some(map) = node.as_map_mut() else {
            return Err(
                Finding::error("kustomize/path", "expected a map of labels").at(at.line, at.column)
            );
        };
        for (key, value) in pairs {
            map.insert(key.clone(), Node::string(value.clone()));
        }
        Ok(())
    };
    for resource in resources {
        for spec in specs {
            if spec.selects(resource.gvk()) {
                let done = spec.apply(&mut resource.node, Make::Map, &mut set);
                done.map_err(|finding| place(finding, resource))?;
            }
        }
    }
    Ok(())
}

/// `replicas`.
pub(super) fn replicas(
    resources: &mut [Resource],
    wanted: &[(String, i64)],
) -> Result<(), Finding> {
    for (name, count) in wanted {
        let mut found = false;
        for resource in resources.iter_mut() {
            for spec in tables::REPLICAS.iter() {
                let gvk = resource.gvk();
                let by_name = (resource.name() == name && spec.selects(gvk))
                    || resource
                        .previous
                        .iter()
                        .any(|p| p.name == *name && spec.kind == p.kind);
                if !by_name {
                    continue;
                }
                found = true;
                if spec.selects(gvk) {
                    let mut set = |node: &mut Node| -> Result<(), Finding> {
                        node.value = Node::int(*count).value;
                        Ok(())
                    };
                    spec.apply(&mut resource.node, Make::Scalar, &mut set)?;
                }
            }
        }
        if !found {
            let message = format!(
                "no Deployment, ReplicaSet, ReplicationController or StatefulSet is called {name}"
            );
            return Err(Finding::error("kustomize/replicas", message));
        }
    }
    Ok(())
}

/// `images`.
pub(super) fn images(resources: &mut [Resource], images: &[Image]) -> Result<(), Finding> {
    for image in images {
        let matcher = Matcher::new(&image.name)?;
        let mut set = |node: &mut Node| -> Result<(), Finding> {
            if let Some(new) = node
                .text()
                .filter(|text| matcher.matches(text))
                .map(|text| image.rename(text))
            {
                node.value = Node::string(new).value;
            }
            Ok(())
        };
        for resource in resources.iter_mut() {
            if resource.kind() == "CustomResourceDefinition" {
                continue;
            }
            in_containers(&mut resource.node, &mut set)?;
            for spec in tables::IMAGES.iter() {
                let done = spec.apply(&mut resource.node, Make::Nothing, &mut set);
                done.map_err(|finding| place(finding, resource))?;
            }
        }
    }
    Ok(())
}

// Every list called `containers` or `initContainers`, however deep.
fn in_containers(
    node: &mut Node,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Finding>,
) -> Result<(), Finding> {
    match &mut node.value {
        Value::Map(map) => {
            for (key, value) in map.iter_mut() {
                in_containers(value, set)?;
                if matches!(key.as_str(), "containers" | "initContainers") {
                    for item in value.as_list_mut().into_iter().flatten() {
                        if let Some(image) = item.get_mut("image") {
                            set(image)?;
                        }
                    }
                }
            }
            Ok(())
        }
        Value::List(list) => list
            .iter_mut()
            .try_for_each(|item| in_containers(item, set)),
        Value::Scalar(..) => Ok(()),
    }
}

// Names are patterns by tradition; almost all are plain and need no engine.
enum Matcher {
    Plain(String),
    Pattern(Regex),
}

impl Matcher {
    fn new(name: &str) -> Result<Self, Finding> {
        // A dot matches itself first of all; names that differ only there do not occur.
        if name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b':'))
        {
            return Ok(Self::Plain(name.into()));
        }
        let pattern = format!("^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$");
        let bad = |_| Finding::error("kustomize/image", format!("{name:?} is not an image name"));
        Regex::new(&pattern).map(Self::Pattern).map_err(bad)
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_match(text),
            Self::Plain(name) => {
                let Some(rest) = text.strip_prefix(name.as_str()) else {
                    return false;
                };
                let allowed = |s: &str| {
                    s.bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_.{}-".contains(&b))
                };
                let (tag, digest) = rest
                    .split_once('@')
                    .map_or((rest, None), |(t, d)| (t, Some(d)));
                let tag_fits = tag.is_empty() || tag.strip_prefix(':').is_some_and(allowed);
                tag_fits && digest.is_none_or(|d| d.strip_prefix("sha256:").is_some_and(allowed))
            }
        }
    }
}

impl Image {
    fn rename(&self, text: &str) -> String {
        let (mut name, mut tag, mut digest) = split_image(text);
        if !self.new_name.is_empty() {
            name = &self.new_name;
        }
        let suffixed;
        if !self.new_tag.is_empty() {
            (tag, digest) = (&self.new_tag, &self.digest);
        } else if !self.digest.is_empty() {
            (tag, digest) = ("", &self.digest);
        } else if !self.tag_suffix.is_empty() {
            suffixed = format!("{tag}{}", self.tag_suffix);
            (tag, digest) = (&suffixed, "");
        }
        let mut out = name.to_string();
        if !tag.is_empty() {
            out.push(':');
            out.push_str(tag);
        }
        if !digest.is_empty() {
            out.push('@');
            out.push_str(digest);
        }
        out
    }
}

/// Name, tag and digest of an image reference.
pub fn split_image(text: &str) -> (&str, &str, &str) {
    let from = text.find('/').filter(|&at| at > 0).unwrap_or(0);
    let search = &text[from..];
    let at = search.find('@').map(|i| i + from);
    let colon = search.find(':').map(|i| i + from);
    match (colon, at) {
        (None, None) => (text, "", ""),
        (Some(c), Some(a)) if c < a => (&text[..c], &text[c + 1..a], &text[a + 1..]),
        (_, Some(a)) => (&text[..a], "", &text[a + 1..]),
        (Some(c), None) => (&text[..c], &text[c + 1..], ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_split_as_written() {
        assert_eq!(
            split_image("host:5000/a/b:1@sha256:x"),
            ("host:5000/a/b", "1", "sha256:x")
        );
        assert_eq!(split_image("a@sha256:x"), ("a", "", "sha256:x"));
        assert_eq!(split_image("a:1"), ("a", "1", ""));
        assert_eq!(split_image("a"), ("a", "", ""));
        assert!(
            Matcher::new("demo/hello")
                .expect("name")
                .matches("demo/hello:1@sha256:aa")
        );
        assert!(
            !Matcher::new("demo/hello")
                .expect("name")
                .matches("demo/hello2")
        );
    }
}
