//! Where a transformation writes: kinds and paths, and the walk to them.

use super::resource::Gvk;
use crate::Finding;
use crate::yaml::{Map, Node, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    name: String,
    list: bool,
}

/// Objects (empty parts match everything) and a path in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldSpec {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) path: Vec<Step>,
    pub(super) create: bool,
}

/// What to make at the end of a path that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    Nothing,
    Map,
    Scalar,
}

impl FieldSpec {
    pub(super) fn new(group: &str, version: &str, kind: &str, path: &str, create: bool) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            path: steps(path),
            create,
        }
    }

    pub(super) fn selects(&self, gvk: Gvk<'_>) -> bool {
        selected(gvk, &self.group, &self.version, &self.kind)
    }

    /// Calls `set` on every node that the path leads to.
    pub(super) fn apply(
        &self,
        root: &mut Node,
        make: Make,
        set: &mut dyn FnMut(&mut Node) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        let make = if self.create { make } else { Make::Nothing };
        walk(root, &self.path, make, set)
    }
}

/// Whether a kind is meant; empty parts match everything.
pub(super) fn selected(gvk: Gvk<'_>, group: &str, version: &str, kind: &str) -> bool {
    (group.is_empty() || group == gvk.group)
        && (version.is_empty() || version == gvk.version)
        && (kind.is_empty() || kind == gvk.kind)
}

fn steps(path: &str) -> Vec<Step> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.strip_prefix('/').unwrap_or(path).split('/') {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push('/');
                last.push_str(part);
            }
            _ => parts.push(part.to_string()),
        }
    }
    parts
        .into_iter()
        .map(|part| match part.strip_suffix("[]") {
            Some(name) => Step {
                name: name.into(),
                list: true,
            },
            None => Step {
                name: part,
                list: false,
            },
        })
        .collect()
}

fn walk(
    node: &mut Node,
    path: &[Step],
    make: Make,
    set: &mut dyn FnMut(&mut Node) -> Result<(), Finding>,
) -> Result<(), Finding> {
    let Some((step, rest)) = path.split_first() else {
        return set(node);
    };
    let at = node.at;
    match &mut node.value {
        Value::List(items) => {
            for item in items {
                walk(item, path, make, set)?;
            }
            Ok(())
        }
        Value::Map(map) => {
            let make_here = if step.list { Make::Nothing } else { make };
            let Some(field) = field(map, step, rest.is_empty(), make_here) else {
                return Ok(());
            };
            walk(field, rest, make, set)
        }
        Value::Scalar(crate::yaml::Scalar::Null, _) => Ok(()),
        Value::Scalar(..) => {
            let message = format!("expected a map or a list with field {:?} here", step.name);
            Err(Finding::error("kustomize/path", message).at(at.line, at.column))
        }
    }
}

fn field<'m>(map: &'m mut Map, step: &Step, last: bool, make: Make) -> Option<&'m mut Node> {
    let fresh = || match (last, make) {
        (true, Make::Scalar) => Node::string(""),
        _ => Node::map(),
    };
    if make == Make::Nothing {
        return map.get_mut(&step.name);
    }
    let node = map.entry(step.name.clone()).or_insert_with(fresh);
    if node.is_null() {
        *node = fresh();
    }
    Some(node)
}
