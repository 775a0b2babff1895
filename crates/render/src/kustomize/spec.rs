//! The kustomization file, read into types; everything unknown or unsupported is a finding.

use super::fieldspec::FieldSpec;
use super::reader::Reader;
use super::resource::Behavior;
use crate::yaml::{Limits, Map, Node, parse};
use crate::{Finding, Severity};

/// A path and where it was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    pub(super) text: String,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// Which resources something is meant for; every part is a regular expression.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: String,
    pub(super) annotations: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Patch {
    pub(super) path: String,
    pub(super) inline: String,
    pub(super) target: Option<Selector>,
    pub(super) allow_name_change: bool,
    pub(super) allow_kind_change: bool,
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) pairs: Vec<(String, String)>,
    pub(super) selectors: bool,
    pub(super) templates: bool,
    pub(super) fields: Vec<FieldSpec>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) new_name: String,
    pub(super) new_tag: String,
    pub(super) tag_suffix: String,
    pub(super) digest: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) labels: Vec<(String, String)>,
    pub(super) annotations: Vec<(String, String)>,
    pub(super) disable_hash: bool,
    pub(super) immutable: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Generator {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) behavior: Behavior,
    pub(super) literals: Vec<Path>,
    pub(super) files: Vec<Path>,
    pub(super) envs: Vec<Path>,
    pub(super) type_: String,
    pub(super) options: Options,
    pub(super) secret: bool,
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FieldOptions {
    pub(super) delimiter: String,
    pub(super) index: i64,
    pub(super) create: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ReplacementTarget {
    pub(super) select: Selector,
    pub(super) reject: Vec<Selector>,
    pub(super) paths: Vec<String>,
    pub(super) options: FieldOptions,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Replacement {
    pub(super) source: Selector,
    pub(super) value: Option<String>,
    pub(super) source_path: String,
    pub(super) source_options: FieldOptions,
    pub(super) targets: Vec<ReplacementTarget>,
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kustomization {
    pub(super) component: bool,
    pub(super) resources: Vec<Path>,
    pub(super) components: Vec<Path>,
    pub(super) name_prefix: String,
    pub(super) name_suffix: String,
    pub(super) namespace: String,
    pub(super) common_labels: Vec<(String, String)>,
    pub(super) labels: Vec<Labels>,
    pub(super) common_annotations: Vec<(String, String)>,
    pub(super) patches: Vec<Patch>,
    pub(super) strategic: Vec<Path>,
    pub(super) json6902: Vec<Patch>,
    pub(super) images: Vec<Image>,
    pub(super) replicas: Vec<(String, i64)>,
    pub(super) replacements: Vec<Replacement>,
    pub(super) replacement_files: Vec<Path>,
    pub(super) generators: Vec<Generator>,
    pub(super) legacy_order: Option<(Vec<String>, Vec<String>)>,
    pub(super) fifo: bool,
}

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
pub(super) fn read(
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

    fn paths(&mut self, map: &Map, key: &str) -> Vec<Path> {
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

    fn selector(&mut self, node: &Node) -> Selector {
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

    fn patch(&mut self, node: &Node) -> Patch {
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

    fn labels(&mut self, node: &Node) -> Labels {
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

    fn field_spec(&mut self, node: &Node) -> Option<FieldSpec> {
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

    fn image(&mut self, node: &Node) -> Image {
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

    fn options(&mut self, node: &Node) -> Options {
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

    fn generator(&mut self, node: &Node, secret: bool, global: &Options) -> Generator {
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

    pub(super) fn replacement(&mut self, node: &Node, spec: &mut Kustomization) {
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

fn add_missing(local: &mut Vec<(String, String)>, global: &[(String, String)]) {
    for (key, value) in global {
        if !local.iter().any(|(k, _)| k == key) {
            local.push((key.clone(), value.clone()));
        }
    }
}
