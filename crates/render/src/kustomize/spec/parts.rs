//! Entries of the file's lists: selectors, patches, labels, images, generators.

use super::{Generator, Image, Labels, Options, Patch, Path, Selector};
use crate::kustomize::fieldspec::FieldSpec;
use crate::kustomize::reader::Reader;
use crate::kustomize::resource::Behavior;
use crate::yaml::Node;

impl Reader<'_> {
    pub(super) fn selector(&mut self, node: &Node) -> Selector {
        let known = [
            "group",
            "version",
            "kind",
            "name",
            "namespace",
            "labelSelector",
            "annotationSelector",
            "apiVersion",
            "fieldPath",
            "fieldPaths",
            "options",
        ];
        let Some(map) = self.fields(node, "a selector", &known) else {
            return Selector::default();
        };
        Selector {
            group: self.text(map, "group"),
            version: self.text(map, "version"),
            kind: self.text(map, "kind"),
            name: self.text(map, "name"),
            namespace: self.text(map, "namespace"),
            labels: self.text(map, "labelSelector"),
            annotations: self.text(map, "annotationSelector"),
        }
    }

    pub(super) fn patch(&mut self, node: &Node) -> Patch {
        let mut patch = Patch {
            line: node.at.line,
            column: node.at.column,
            ..Patch::default()
        };
        let Some(map) = self.fields(node, "a patch", &["path", "patch", "target", "options"])
        else {
            return patch;
        };
        patch.path = self.text(map, "path");
        patch.inline = self.text(map, "patch");
        patch.target = map
            .get("target")
            .filter(|n| !n.is_null())
            .map(|n| self.selector(n));
        if let Some(options) = map
            .get("options")
            .and_then(|n| self.fields(n, "options", &["allowNameChange", "allowKindChange"]))
        {
            patch.allow_name_change = self.flag(options, "allowNameChange");
            patch.allow_kind_change = self.flag(options, "allowKindChange");
        }
        if patch.path.is_empty() == patch.inline.is_empty() {
            self.complain(
                node,
                "kustomize/patch",
                "a patch needs either path or patch",
            );
        }
        patch
    }

    pub(super) fn labels(&mut self, node: &Node) -> Labels {
        let known = ["pairs", "includeSelectors", "includeTemplates", "fields"];
        let Some(map) = self.fields(node, "labels", &known) else {
            return Labels::default();
        };
        let fields = self
            .list(map, "fields")
            .iter()
            .filter_map(|n| self.field_spec(n))
            .collect();
        Labels {
            pairs: self.pairs(map, "pairs"),
            selectors: self.flag(map, "includeSelectors"),
            templates: self.flag(map, "includeTemplates"),
            fields,
        }
    }

    pub(super) fn field_spec(&mut self, node: &Node) -> Option<FieldSpec> {
        let map = self.fields(
            node,
            "a field",
            &["group", "version", "kind", "path", "create"],
        )?;
        let (group, version, kind) = (
            self.text(map, "group"),
            self.text(map, "version"),
            self.text(map, "kind"),
        );
        let path = self.text(map, "path");
        Some(FieldSpec::new(
            &group,
            &version,
            &kind,
            &path,
            self.flag(map, "create"),
        ))
    }

    pub(super) fn image(&mut self, node: &Node) -> Image {
        let known = ["name", "newName", "newTag", "tagSuffix", "digest"];
        let Some(map) = self.fields(node, "an image", &known) else {
            return Image::default();
        };
        Image {
            name: self.text(map, "name"),
            new_name: self.text(map, "newName"),
            new_tag: self.text(map, "newTag"),
            tag_suffix: self.text(map, "tagSuffix"),
            digest: self.text(map, "digest"),
        }
    }

    pub(super) fn options(&mut self, node: &Node) -> Options {
        let known = [
            "labels",
            "annotations",
            "disableNameSuffixHash",
            "immutable",
        ];
        let Some(map) = self.fields(node, "generator options", &known) else {
            return Options::default();
        };
        Options {
            labels: self.pairs(map, "labels"),
            annotations: self.pairs(map, "annotations"),
            disable_hash: self.flag(map, "disableNameSuffixHash"),
            immutable: self.flag(map, "immutable"),
        }
    }

    pub(super) fn generator(&mut self, node: &Node, secret: bool, global: &Options) -> Generator {
        let mut made = Generator {
            secret,
            line: node.at.line,
            column: node.at.column,
            ..Generator::default()
        };
        let known = [
            "name",
            "namespace",
            "behavior",
            "literals",
            "files",
            "envs",
            "env",
            "type",
            "options",
            "kvSources",
        ];
        let Some(map) = self.fields(node, "a generator", &known) else {
            return made;
        };
        made.name = self.text(map, "name");
        made.namespace = self.text(map, "namespace");
        made.type_ = self.text(map, "type");
        made.literals = self.paths(map, "literals");
        made.files = self.paths(map, "files");
        made.envs = self.paths(map, "envs");
        if let Some(env) = map.get("env") {
            let text = self.string(env, "env");
            made.envs.push(Path {
                text,
                line: env.at.line,
                column: env.at.column,
            });
        }
        made.behavior = match self.text(map, "behavior").as_str() {
            "merge" => Behavior::Merge,
            "replace" => Behavior::Replace,
            _ => Behavior::Create,
        };
        if made.name.is_empty() {
            self.complain(node, "kustomize/generator", "a generator needs a name");
        }
        let mut options = map
            .get("options")
            .map(|n| self.options(n))
            .unwrap_or_default();
        add_missing(&mut options.labels, &global.labels);
        add_missing(&mut options.annotations, &global.annotations);
        options.disable_hash |= global.disable_hash;
        options.immutable |= global.immutable;
        made.options = options;
        made
    }
}

fn add_missing(local: &mut Vec<(String, String)>, global: &[(String, String)]) {
    for (key, value) in global {
        if !local.iter().any(|(k, _)| k == key) {
            local.push((key.clone(), value.clone()));
        }
    }
}
