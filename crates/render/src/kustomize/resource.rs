//! A resource on its way through a build: the object, and every identity it has had.

use crate::object::{is_cluster_scoped, split_api_version};
use crate::yaml::{Node, Value};

/// Namespace part of an identity outside namespaces.
pub(super) const NO_NAMESPACE: &str = "_non_namespaceable_";

/// An identity from before a transformation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) kind: String,
}

/// How a generated object meets one that exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Behavior {
    #[default]
    Create,
    Replace,
    Merge,
}

/// An object under construction.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) node: Node,
    pub(super) file: String,
    pub(super) previous: Vec<Previous>,
    pub(super) prefixes: Vec<String>,
    pub(super) suffixes: Vec<String>,
    pub(super) behavior: Behavior,
    pub(super) hashed: bool,
    pub(super) allow_name_change: bool,
    pub(super) allow_kind_change: bool,
}

/// Group, version and kind, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gvk<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) kind: &'a str,
}

impl Resource {
    pub(super) fn new(node: Node, file: &str) -> Self {
        Self {
            node,
            file: file.into(),
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::default(),
            hashed: false,
            allow_name_change: false,
            allow_kind_change: false,
        }
    }

    pub(super) fn gvk(&self) -> Gvk<'_> {
        let (group, version) =
            split_api_version(self.node.text_at(&["apiVersion"]).unwrap_or_default());
        Gvk {
            group,
            version,
            kind: self.kind(),
        }
    }

    pub(super) fn kind(&self) -> &str {
        self.node.text_at(&["kind"]).unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.node.text_at(&["metadata", "name"]).unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &str {
        self.node
            .text_at(&["metadata", "namespace"])
            .unwrap_or_default()
    }

    pub(super) fn cluster_scoped(&self) -> bool {
        let gvk = self.gvk();
        is_cluster_scoped(gvk.group, gvk.kind)
    }

    /// The namespace it counts as living in.
    pub(super) fn effective_namespace(&self) -> &str {
        if self.cluster_scoped() {
            NO_NAMESPACE
        } else {
            effective(self.namespace())
        }
    }

    /// Key of its present identity.
    pub(super) fn key(&self) -> String {
        let gvk = self.gvk();
        key(gvk, self.name(), self.effective_namespace())
    }

    /// Keys of all identities, present one last.
    pub(super) fn keys(&self) -> Vec<String> {
        let gvk = self.gvk();
        let mut keys: Vec<String> = self
            .previous
            .iter()
            .map(|p| {
                key(
                    Gvk {
                        kind: &p.kind,
                        ..gvk
                    },
                    &p.name,
                    effective(&p.namespace),
                )
            })
            .collect();
        keys.push(self.key());
        keys
    }

    /// Name, kind and effective namespace it was first loaded with.
    pub(super) fn original(&self) -> (&str, &str, &str) {
        match self.previous.first() {
            Some(first) => (&first.name, &first.kind, effective(&first.namespace)),
            None => (self.name(), self.kind(), self.effective_namespace()),
        }
    }

    pub(super) fn remember_id(&mut self) {
        let previous = Previous {
            namespace: self.effective_namespace().to_string(),
            name: self.name().to_string(),
            kind: self.kind().to_string(),
        };
        self.previous.push(previous);
    }

    pub(super) fn set_name(&mut self, name: &str) {
        if let Some(metadata) = self.node.map_entry("metadata") {
            metadata.insert("name".into(), Node::string(name));
        }
    }

    pub(super) fn set_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            if let Some(metadata) = self.node.get_mut("metadata").and_then(Node::as_map_mut) {
                metadata.shift_remove("namespace");
            }
        } else if let Some(metadata) = self.node.map_entry("metadata") {
            metadata.insert("namespace".into(), Node::string(namespace));
        }
    }

    /// Labels or annotations.
    pub(super) fn metadata_map(&self, field: &str) -> Vec<(&str, &str)> {
        let map = self
            .node
            .at_path(&["metadata", field])
            .and_then(Node::as_map);
        map.into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.as_str(), v.text()?)))
            .collect()
    }

    /// Drops an empty `labels` or `annotations`, as rewriting the field does.
    pub(super) fn drop_empty(&mut self, field: &str) {
        if let Some(metadata) = self.node.get_mut("metadata").and_then(Node::as_map_mut) {
            let empty = metadata.get(field).is_some_and(|n| {
                n.is_null() || matches!(&n.value, Value::Map(map) if map.is_empty())
            });
            if empty {
                metadata.shift_remove(field);
            }
        }
    }

    /// Whether the object asks to stay out of the output.
    pub(super) fn is_local(&self) -> bool {
        self.node
            .text_at(&[
                "metadata",
                "annotations",
                "config.kubernetes.io/local-config",
            ])
            .is_some_and(|value| value != "false")
    }

    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }
}

pub(super) fn effective(namespace: &str) -> &str {
    if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

pub(super) fn key(gvk: Gvk<'_>, name: &str, namespace: &str) -> String {
    let mut key = String::with_capacity(
        gvk.group.len() + gvk.version.len() + gvk.kind.len() + name.len() + namespace.len() + 4,
    );
    for part in [gvk.group, gvk.version, gvk.kind, namespace] {
        key.push_str(part);
        key.push('|');
    }
    key.push_str(name);
    key
}
