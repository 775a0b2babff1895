//! Files of a directory, within it; texts to resources.

use super::resource::Resource;
use super::spec::Path;
use crate::tree::join;
use crate::yaml::{Limits, Node, Value, parse};
use crate::{Finding, Tree};

/// The directory of one kustomization file.
pub(super) struct Source<'a> {
    pub(super) tree: &'a Tree,
    /// Directory.
    pub(super) dir: &'a str,
    /// The kustomization file itself.
    pub(super) file: &'a str,
}

impl<'a> Source<'a> {
    /// A finding at a place in the kustomization file.
    pub(super) fn fault(
        &self,
        path: &Path,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Finding {
        Finding::error(rule, message)
            .in_file(self.file)
            .at(path.line, path.column)
    }

    /// Content of a file that must be in or below the directory.
    pub(super) fn read(&self, path: &Path) -> Result<&'a [u8], Finding> {
        let full = self.locate(path)?;
        self.tree.file(&full).ok_or_else(|| {
            self.fault(
                path,
                "kustomize/missing",
                format!("file {} does not exist", path.text),
            )
        })
    }

    /// Full path of a file that must be in or below the directory.
    pub(super) fn locate(&self, path: &Path) -> Result<String, Finding> {
        let full = join(self.dir, &path.text).ok_or_else(|| self.outside(path))?;
        let below = self.dir.is_empty()
            || full
                .strip_prefix(self.dir)
                .is_some_and(|rest| rest.starts_with('/'));
        if below {
            Ok(full)
        } else {
            Err(self.outside(path))
        }
    }

    fn outside(&self, path: &Path) -> Finding {
        let message = format!(
            "{} is not in or below the directory of this kustomization",
            path.text
        );
        self.fault(path, "kustomize/outside", message)
            .hint("a directory with its own kustomization file may be elsewhere")
    }
}

/// All objects of a text: documents, lists unpacked, each checked to be an object.
pub(super) fn resources(text: &[u8], file: &str) -> Result<Vec<Resource>, Finding> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Finding::error("kustomize/encoding", "the file is not UTF-8").in_file(file))?;
    let documents = parse(text, Limits::default()).map_err(|finding| finding.in_file(file))?;
    let mut found = Vec::with_capacity(documents.len());
    for node in documents {
        unpack(node, file, &mut found, 0)?;
    }
    Ok(found)
}

fn unpack(node: Node, file: &str, found: &mut Vec<Resource>, depth: usize) -> Result<(), Finding> {
    let at = node.at;
    let fault = |message: &str| {
        Err(Finding::error("kustomize/object", message)
            .in_file(file)
            .at(at.line, at.column))
    };
    match &node.value {
        Value::Map(map) if map.is_empty() => return Ok(()),
        Value::Map(_) => {}
        Value::Scalar(crate::yaml::Scalar::Null, _) => return Ok(()),
        _ => return fault("expected an object with apiVersion, kind and metadata"),
    }
    let kind = node.text_at(&["kind"]).unwrap_or_default().to_string();
    if kind.is_empty() {
        return fault("the object has no kind");
    }
    if kind.ends_with("List") && depth < 8 {
        let Value::Map(mut map) = node.value else {
            return Ok(());
        };
        match map.shift_remove("items").map(|items| items.value) {
            Some(Value::List(items)) => {
                return items
                    .into_iter()
                    .try_for_each(|item| unpack(item, file, found, depth + 1));
            }
            Some(Value::Scalar(crate::yaml::Scalar::Null, _)) => return Ok(()),
            Some(_) => return fault("items must be a list"),
            None => found.push(Resource::new(
                Node {
                    value: Value::Map(map),
                    at,
                },
                file,
            )),
        }
        return Ok(());
    }
    if node
        .text_at(&["metadata", "name"])
        .is_none_or(str::is_empty)
    {
        return fault("the object has no metadata.name");
    }
    if let Some(at) = null_item(&node) {
        return Err(
            Finding::error("kustomize/object", "a list has an empty item")
                .in_file(file)
                .at(at.line, at.column),
        );
    }
    let mut resource = Resource::new(node, file);
    // Readers keep notes in annotations and leave none behind, not even an empty map.
    resource.drop_empty("annotations");
    found.push(resource);
    Ok(())
}

fn null_item(node: &Node) -> Option<crate::yaml::Place> {
    match &node.value {
        Value::List(list) => list.iter().find_map(|n| {
            if n.is_null() {
                Some(n.at)
            } else {
                null_item(n)
            }
        }),
        Value::Map(map) => map.values().find_map(null_item),
        Value::Scalar(..) => None,
    }
}
