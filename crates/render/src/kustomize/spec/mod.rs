//! The kustomization file as types, and reading it into them; everything unknown or unsupported
//! is a finding.

mod parts;
mod read;
mod replacement;

use super::fieldspec::FieldSpec;
use super::resource::Behavior;
pub(super) use read::read;

/// A path and where it was written.
#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Path {
    pub(in crate::kustomize) text: String,
    pub(in crate::kustomize) line: u32,
    pub(in crate::kustomize) column: u32,
}

/// Which resources something is meant for; every part is a regular expression.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::kustomize) struct Selector {
    pub(in crate::kustomize) group: String,
    pub(in crate::kustomize) version: String,
    pub(in crate::kustomize) kind: String,
    pub(in crate::kustomize) name: String,
    pub(in crate::kustomize) namespace: String,
    pub(in crate::kustomize) labels: String,
    pub(in crate::kustomize) annotations: String,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Patch {
    pub(in crate::kustomize) path: String,
    pub(in crate::kustomize) inline: String,
    pub(in crate::kustomize) target: Option<Selector>,
    pub(in crate::kustomize) allow_name_change: bool,
    pub(in crate::kustomize) allow_kind_change: bool,
    pub(in crate::kustomize) line: u32,
    pub(in crate::kustomize) column: u32,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Labels {
    pub(in crate::kustomize) pairs: Vec<(String, String)>,
    pub(in crate::kustomize) selectors: bool,
    pub(in crate::kustomize) templates: bool,
    pub(in crate::kustomize) fields: Vec<FieldSpec>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Image {
    pub(in crate::kustomize) name: String,
    pub(in crate::kustomize) new_name: String,
    pub(in crate::kustomize) new_tag: String,
    pub(in crate::kustomize) tag_suffix: String,
    pub(in crate::kustomize) digest: String,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Options {
    pub(in crate::kustomize) labels: Vec<(String, String)>,
    pub(in crate::kustomize) annotations: Vec<(String, String)>,
    pub(in crate::kustomize) disable_hash: bool,
    pub(in crate::kustomize) immutable: bool,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Generator {
    pub(in crate::kustomize) name: String,
    pub(in crate::kustomize) namespace: String,
    pub(in crate::kustomize) behavior: Behavior,
    pub(in crate::kustomize) literals: Vec<Path>,
    pub(in crate::kustomize) files: Vec<Path>,
    pub(in crate::kustomize) envs: Vec<Path>,
    pub(in crate::kustomize) type_: String,
    pub(in crate::kustomize) options: Options,
    pub(in crate::kustomize) secret: bool,
    pub(in crate::kustomize) line: u32,
    pub(in crate::kustomize) column: u32,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct FieldOptions {
    pub(in crate::kustomize) delimiter: String,
    pub(in crate::kustomize) index: i64,
    pub(in crate::kustomize) create: bool,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct ReplacementTarget {
    pub(in crate::kustomize) select: Selector,
    pub(in crate::kustomize) reject: Vec<Selector>,
    pub(in crate::kustomize) paths: Vec<String>,
    pub(in crate::kustomize) options: FieldOptions,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Replacement {
    pub(in crate::kustomize) source: Selector,
    pub(in crate::kustomize) value: Option<String>,
    pub(in crate::kustomize) source_path: String,
    pub(in crate::kustomize) source_options: FieldOptions,
    pub(in crate::kustomize) targets: Vec<ReplacementTarget>,
    pub(in crate::kustomize) line: u32,
    pub(in crate::kustomize) column: u32,
}

#[derive(Clone, Debug, Default)]
pub(in crate::kustomize) struct Kustomization {
    pub(in crate::kustomize) component: bool,
    pub(in crate::kustomize) resources: Vec<Path>,
    pub(in crate::kustomize) components: Vec<Path>,
    pub(in crate::kustomize) name_prefix: String,
    pub(in crate::kustomize) name_suffix: String,
    pub(in crate::kustomize) namespace: String,
    pub(in crate::kustomize) common_labels: Vec<(String, String)>,
    pub(in crate::kustomize) labels: Vec<Labels>,
    pub(in crate::kustomize) common_annotations: Vec<(String, String)>,
    pub(in crate::kustomize) patches: Vec<Patch>,
    pub(in crate::kustomize) strategic: Vec<Path>,
    pub(in crate::kustomize) json6902: Vec<Patch>,
    pub(in crate::kustomize) images: Vec<Image>,
    pub(in crate::kustomize) replicas: Vec<(String, i64)>,
    pub(in crate::kustomize) replacements: Vec<Replacement>,
    pub(in crate::kustomize) replacement_files: Vec<Path>,
    pub(in crate::kustomize) generators: Vec<Generator>,
    pub(in crate::kustomize) legacy_order: Option<(Vec<String>, Vec<String>)>,
    pub(in crate::kustomize) fifo: bool,
}
