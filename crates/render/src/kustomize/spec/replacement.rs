//! Replacements: values copied from one field to others.

use super::{FieldOptions, Kustomization, Path, Replacement, ReplacementTarget};
use crate::kustomize::reader::Reader;
use crate::yaml::{Map, Node};

impl Reader<'_> {
    pub(in crate::kustomize) fn replacement(&mut self, node: &Node, spec: &mut Kustomization) {
        let Some(map) = self.fields(
            node,
            "a replacement",
            &["path", "source", "sourceValue", "targets"],
        ) else {
            return;
        };
        if let Some(path) = map.get("path") {
            let text = self.string(path, "path");
            spec.replacement_files.push(Path {
                text,
                line: path.at.line,
                column: path.at.column,
            });
            return;
        }
        let mut made = Replacement {
            line: node.at.line,
            column: node.at.column,
            ..Replacement::default()
        };
        made.value = map
            .get("sourceValue")
            .map(|n| self.string(n, "sourceValue"));
        if let Some(source) = map.get("source") {
            made.source = self.selector(source);
            if let Some(fields) = source.as_map() {
                made.source_path = self.text(fields, "fieldPath");
                made.source_options = self.field_options(fields);
            }
        } else if made.value.is_none() {
            self.complain(
                node,
                "kustomize/replacement",
                "a replacement needs a source",
            );
        }
        for target in self.list(map, "targets") {
            let Some(fields) = self.fields(
                target,
                "a target",
                &["select", "reject", "fieldPaths", "options"],
            ) else {
                continue;
            };
            let Some(select) = fields.get("select") else {
                self.complain(target, "kustomize/replacement", "a target needs select");
                continue;
            };
            let mut paths: Vec<String> = self
                .strings(fields, "fieldPaths")
                .into_iter()
                .map(|(s, _)| s)
                .collect();
            if paths.is_empty() {
                paths.push("metadata.name".into());
            }
            let made_target = ReplacementTarget {
                select: self.selector(select),
                reject: self
                    .list(fields, "reject")
                    .iter()
                    .map(|n| self.selector(n))
                    .collect(),
                paths,
                options: self.field_options(fields),
            };
            made.targets.push(made_target);
        }
        if made.source_path.is_empty() {
            made.source_path = "metadata.name".into();
        }
        spec.replacements.push(made);
    }

    fn field_options(&mut self, map: &Map) -> FieldOptions {
        let Some(node) = map.get("options").filter(|n| !n.is_null()) else {
            return FieldOptions::default();
        };
        let Some(map) = self.fields(
            node,
            "options",
            &["delimiter", "index", "encoding", "create"],
        ) else {
            return FieldOptions::default();
        };
        if map.contains_key("encoding") {
            self.complain(node, "kustomize/unsupported", "encoding is not supported");
        }
        FieldOptions {
            delimiter: self.text(map, "delimiter"),
            index: self.number(map, "index").unwrap_or(0),
            create: self.flag(map, "create"),
        }
    }
}
