//! A directory without a kustomization file: every manifest in it, in path order.

use crate::kustomize::{self, Rendered};
use crate::{Finding, Tree};

/// Renders a directory, with Kustomize where it has a kustomization file.
pub fn build(tree: &Tree, dir: &str) -> Result<Rendered, Vec<Finding>> {
    let dir = dir.trim_matches('/');
    if kustomize::file_of(tree, dir).is_some() {
        return kustomize::build(tree, dir);
    }
    let inside = |path: &str| {
        let rest = if dir.is_empty() {
            Some(path)
        } else {
            path.strip_prefix(dir).and_then(|r| r.strip_prefix('/'))
        };
        rest.is_some_and(|rest| {
            !rest.contains('/') && [".yaml", ".yml", ".json"].iter().any(|e| rest.ends_with(e))
        })
    };
    let files: Vec<(&str, &[u8])> = tree.iter().filter(|(path, _)| inside(path)).collect();
    if files.is_empty() {
        let message = format!(
            "{} has neither a kustomization file nor manifests",
            if dir.is_empty() { "." } else { dir }
        );
        return Err(vec![Finding::error("render/empty", message)]);
    }
    kustomize::manifests(&files)
}
