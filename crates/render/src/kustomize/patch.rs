//! Patches of all three spellings.

use super::load::{Source, resources as load};
use super::resource::Resource;
use super::schema::Schema;
use super::select::Matcher;
use super::spec::{Patch, Path};
use super::{json_patch, strategic};
use crate::Finding;
use crate::yaml::Node;
use std::collections::HashMap;

/// Resources found by any identity they have or had.
pub(super) struct Index {
    by_key: HashMap<String, Vec<usize>>,
}

impl Index {
    pub(super) fn new(resources: &[Option<Resource>]) -> Self {
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::with_capacity(resources.len());
        for (at, resource) in resources.iter().enumerate() {
            for key in resource.iter().flat_map(Resource::keys) {
                let found = by_key.entry(key).or_default();
                if found.last() != Some(&at) {
                    found.push(at);
                }
            }
        }
        Self { by_key }
    }
}

/// Applies the patches of one kustomization file in their order.
pub(super) struct Patches<'a> {
    source: &'a Source<'a>,
    resources: Vec<Option<Resource>>,
    index: Option<Index>,
}

impl<'a> Patches<'a> {
    pub(super) fn new(source: &'a Source<'a>, resources: Vec<Resource>) -> Self {
        Self {
            source,
            resources: resources.into_iter().map(Some).collect(),
            index: None,
        }
    }

    pub(super) fn finish(self) -> Vec<Resource> {
        self.resources.into_iter().flatten().collect()
    }

    /// `patchesStrategicMerge`: paths, or by tradition the patch itself.
    pub(super) fn strategic(&mut self, path: &Path) -> Result<(), Finding> {
        let patches = match load(path.text.as_bytes(), self.source.file) {
            Ok(patches) => patches,
            Err(_) => load(self.source.read(path)?, &self.source.locate(path)?)?,
        };
        patches
            .into_iter()
            .try_for_each(|patch| self.merge_by_id(patch))
    }

    /// `patchesJson6902`.
    pub(super) fn json6902(&mut self, patch: &Patch) -> Result<(), Finding> {
        let (text, file) = self.text(patch)?;
        let operations =
            json_patch::read(&text).ok_or_else(|| self.fault(patch, "this is not a JSON patch"))?;
        self.apply_json(patch, &operations, &file)
    }

    /// `patches`.
    pub(super) fn any(&mut self, patch: &Patch) -> Result<(), Finding> {
        let (text, file) = self.text(patch)?;
        if let Some(operations) = json_patch::read(&text) {
            return self.apply_json(patch, &operations, &file);
        }
        let mut patches = load(text.as_bytes(), &file)?;
        for loaded in &mut patches {
            loaded.allow_name_change = patch.allow_name_change;
            loaded.allow_kind_change = patch.allow_kind_change;
        }
        let Some(target) = &patch.target else {
            return patches
                .into_iter()
                .try_for_each(|patch| self.merge_by_id(patch));
        };
        if patches.len() != 1 {
            return Err(self.fault(patch, "a patch with a target holds exactly one document"));
        }
        let matcher = Matcher::new(target).map_err(|f| self.place(patch, f))?;
        let loaded = patches.remove(0);
        for at in 0..self.resources.len() {
            if self.resources[at]
                .as_ref()
                .is_some_and(|r| matcher.selects(r))
            {
                self.merge_at(at, loaded.clone(), true)?;
            }
        }
        Ok(())
    }

    fn text(&self, patch: &Patch) -> Result<(String, String), Finding> {
        if !patch.inline.is_empty() {
            return Ok((patch.inline.clone(), self.source.file.to_string()));
        }
        let path = Path {
            text: patch.path.clone(),
            line: patch.line,
            column: patch.column,
        };
        let content = self.source.read(&path)?;
        let text = std::str::from_utf8(content)
            .map_err(|_| self.fault(patch, "the patch is not UTF-8"))?;
        Ok((text.to_string(), self.source.locate(&path)?))
    }

    fn fault(&self, patch: &Patch, message: &str) -> Finding {
        self.place(patch, Finding::error("kustomize/patch", message))
    }

    fn place(&self, patch: &Patch, finding: Finding) -> Finding {
        finding
            .in_file(self.source.file)
            .at(patch.line, patch.column)
    }

    fn apply_json(
        &mut self,
        patch: &Patch,
        operations: &[json_patch::Operation],
        file: &str,
    ) -> Result<(), Finding> {
        let Some(target) = &patch.target else {
            return Err(self.fault(patch, "a JSON patch needs a target"));
        };
        let matcher = Matcher::new(target).map_err(|f| self.place(patch, f))?;
        for resource in self
            .resources
            .iter_mut()
            .flatten()
            .filter(|r| matcher.selects(r))
        {
            resource.remember_id();
            let done = json_patch::apply(&mut resource.node, operations);
            done.map_err(|mut finding| {
                finding.message = format!("{}: {}", resource.describe(), finding.message);
                finding.in_file(file)
            })?;
            resource.drop_empty("annotations");
        }
        self.index = None;
        Ok(())
    }

    fn merge_by_id(&mut self, patch: Resource) -> Result<(), Finding> {
        let index = self
            .index
            .get_or_insert_with(|| Index::new(&self.resources));
        let found = index
            .by_key
            .get(&patch.key())
            .map_or(&[][..], Vec::as_slice);
        let live: Vec<usize> = found
            .iter()
            .copied()
            .filter(|&at| self.resources[at].is_some())
            .collect();
        match live.as_slice() {
            [at] => self.merge_at(*at, patch, false),
            found => {
                let message = if found.is_empty() {
                    format!("no object matches the patch for {}", patch.describe())
                } else {
                    format!("several objects match the patch for {}", patch.describe())
                };
                let at = patch.node.at;
                Err(Finding::error("kustomize/patch-target", message)
                    .in_file(&patch.file)
                    .at(at.line, at.column))
            }
        }
    }

    fn merge_at(&mut self, at: usize, patch: Resource, by_target: bool) -> Result<(), Finding> {
        let Some(mut resource) = self.resources[at].take() else {
            return Ok(());
        };
        let (name, namespace, kind) = (
            resource.name().to_string(),
            resource.namespace().to_string(),
            resource.kind().to_string(),
        );
        let gvk = resource.gvk();
        let schema = Schema::of(gvk.group, gvk.kind);
        if patch.allow_name_change || patch.allow_kind_change {
            resource.remember_id();
            self.index = None;
        }
        let mut node = patch.node;
        if by_target {
            // The target decides the version; the patch need not match it.
            let api_version = resource.node.get("apiVersion").cloned();
            if let (Some(map), Some(api_version)) = (node.as_map_mut(), api_version) {
                map.insert("apiVersion".into(), api_version);
            }
        }
        let target = std::mem::replace(&mut resource.node, Node::null());
        let merged = strategic::merge(target, node, schema)
            .map_err(|finding| finding.in_file(&patch.file))?;
        let Some(merged) = merged.filter(|n| n.as_map().is_some_and(|m| !m.is_empty())) else {
            return Ok(());
        };
        resource.node = merged;
        if !patch.allow_kind_change
            && let Some(map) = resource.node.as_map_mut()
        {
            map.insert("kind".into(), Node::string(kind));
        }
        if !patch.allow_name_change {
            resource.set_name(&name);
        }
        resource.set_namespace(&namespace);
        self.resources[at] = Some(resource);
        Ok(())
    }
}
