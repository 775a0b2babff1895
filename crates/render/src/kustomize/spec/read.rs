//! The file's own fields.

use super::{Generator, Image, Kustomization, Path};
use crate::kustomize::reader::Reader;
use crate::yaml::{Limits, Map, Node, parse};
use crate::{Finding, Severity};

const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "imageTags",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
];
const UNSUPPORTED: &[&str] = &[
    "vars",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
];
const IGNORED: &[&str] = &["crds", "openapi"];

/// Reads a kustomization file; warnings come beside the value, errors instead of it.
pub(in crate::kustomize) fn read(
    file: &str,
    content: &[u8],
) -> Result<(Kustomization, Vec<Finding>), Vec<Finding>> {
    let text = std::str::from_utf8(content).map_err(|_| {
        vec![Finding::error("kustomize/encoding", "the file is not UTF-8").in_file(file)]
    })?;
    let limits = Limits {
        words_are_bools: true,
        ..Limits::default()
    };
    let documents = parse(text, limits).map_err(|finding| vec![finding.in_file(file)])?;
    let mut reader = Reader {
        file,
        findings: Vec::new(),
    };
    let empty = Node::map();
    let root = documents.first().unwrap_or(&empty);
    if documents.len() > 1 {
        reader.complain(
            &documents[1],
            "kustomize/documents",
            "a kustomization file holds one document",
        );
    }
    let Some(map) = reader.fields(root, "the kustomization", FIELDS) else {
        reader.complain(root, "kustomize/empty", "the kustomization file is empty");
        return Err(reader.findings);
    };
    let mut warnings = Vec::new();
    for (key, value) in map {
        let is_set = !value.is_null() && value.as_list().is_none_or(|l| !l.is_empty());
        if is_set && UNSUPPORTED.contains(&key.as_str()) {
            reader.complain(
                value,
                "kustomize/unsupported",
                format!("{key} is not supported"),
            );
        } else if is_set && IGNORED.contains(&key.as_str()) {
            let finding = Finding::warning("kustomize/ignored", format!("{key} is ignored"));
            warnings.push(finding.in_file(file).at(value.at.line, value.at.column));
        }
    }
    let spec = reader.kustomization(map);
    let (errors, more): (Vec<_>, Vec<_>) = reader
        .findings
        .into_iter()
        .partition(|f| f.severity == Severity::Error);
    warnings.extend(more);
    if errors.is_empty() {
        Ok((spec, warnings))
    } else {
        Err(errors)
    }
}

impl Reader<'_> {
    fn kustomization(&mut self, map: &Map) -> Kustomization {
        let kind = self.text(map, "kind");
        if !matches!(kind.as_str(), "" | "Kustomization" | "Component") {
            let node = map.get("kind").cloned().unwrap_or_else(Node::null);
            self.complain(
                &node,
                "kustomize/kind",
                format!("kind must be Kustomization or Component, not {kind}"),
            );
        }
        let mut resources = self.paths(map, "resources");
        resources.extend(self.paths(map, "bases"));
        let global = map
            .get("generatorOptions")
            .map(|node| self.options(node))
            .unwrap_or_default();
        let mut generators: Vec<Generator> = self
            .list(map, "configMapGenerator")
            .iter()
            .map(|n| self.generator(n, false, &global))
            .collect();
        generators.extend(
            self.list(map, "secretGenerator")
                .iter()
                .map(|n| self.generator(n, true, &global)),
        );
        let mut images: Vec<Image> = self
            .list(map, "images")
            .iter()
            .map(|n| self.image(n))
            .collect();
        images.extend(self.list(map, "imageTags").iter().map(|n| self.image(n)));
        let mut spec = Kustomization {
            component: kind == "Component",
            resources,
            components: self.paths(map, "components"),
            name_prefix: self.text(map, "namePrefix"),
            name_suffix: self.text(map, "nameSuffix"),
            namespace: self.text(map, "namespace"),
            common_labels: self.pairs(map, "commonLabels"),
            labels: self
                .list(map, "labels")
                .iter()
                .map(|n| self.labels(n))
                .collect(),
            common_annotations: self.pairs(map, "commonAnnotations"),
            patches: self
                .list(map, "patches")
                .iter()
                .map(|n| self.patch(n))
                .collect(),
            strategic: self.paths(map, "patchesStrategicMerge"),
            json6902: self
                .list(map, "patchesJson6902")
                .iter()
                .map(|n| self.patch(n))
                .collect(),
            images,
            generators,
            ..Kustomization::default()
        };
        for node in self.list(map, "replicas") {
            if let Some(fields) = self.fields(node, "a replica count", &["name", "count"]) {
                let name = self.text(fields, "name");
                spec.replicas
                    .push((name, self.number(fields, "count").unwrap_or(0)));
            }
        }
        for node in self.list(map, "replacements") {
            self.replacement(node, &mut spec);
        }
        if let Some(node) = map.get("sortOptions") {
            self.sort_options(node, &mut spec);
        }
        spec
    }

    pub(super) fn paths(&mut self, map: &Map, key: &str) -> Vec<Path> {
        let strings = self.strings(map, key);
        strings
            .into_iter()
            .map(|(text, node)| Path {
                text,
                line: node.at.line,
                column: node.at.column,
            })
            .collect()
    }

    fn sort_options(&mut self, node: &Node, spec: &mut Kustomization) {
        let Some(map) = self.fields(node, "sortOptions", &["order", "legacySortOptions"]) else {
            return;
        };
        match self.text(map, "order").as_str() {
            "legacy" => {}
            "fifo" => spec.fifo = true,
            _ => self.complain(
                node,
                "kustomize/sort",
                "sortOptions.order must be legacy or fifo",
            ),
        }
        if let Some(options) = map.get("legacySortOptions").filter(|n| !n.is_null()) {
            if spec.fifo {
                self.complain(
                    options,
                    "kustomize/sort",
                    "legacySortOptions needs order: legacy",
                );
            }
            if let Some(fields) =
                self.fields(options, "legacySortOptions", &["orderFirst", "orderLast"])
            {
                let names = |reader: &mut Self, key| {
                    reader
                        .strings(fields, key)
                        .into_iter()
                        .map(|(s, _)| s)
                        .collect()
                };
                spec.legacy_order = Some((names(self, "orderFirst"), names(self, "orderLast")));
            }
        }
    }
}
