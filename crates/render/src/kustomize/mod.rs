//! Kustomize without the program: a directory of a [`Tree`] becomes an ordered list of objects,
//! byte for byte what `kustomize build` v5.8.1 prints.
//!
//! One directory is loaded, its bases first, each with identities that remember every name they
//! had; then the file's transformations run in Kustomize's order: patches, namespace, prefix,
//! suffix, labels, annotations, JSON patches, replicas, images, replacements. Only at the very
//! top do generated objects get their content suffix and references follow the new names.
//!
//! Every step is linear: objects are found by identity through an index, references through the
//! names they may mean. What is not supported (plugins, charts, `vars`, remote bases) is a
//! finding, never ignored.

mod fieldspec;
mod generate;
mod hash;
mod json_patch;
mod load;
mod nameref;
mod patch;
mod pin;
mod reader;
mod replace;
mod resource;
mod schema;
mod select;
mod sort;
mod spec;
mod strategic;
mod tables;
mod transform;

use crate::tree::join;
use crate::yaml::{Limits, Node, parse, to_yaml};
use crate::{Finding, Object, Tree};
use load::Source;
use resource::Resource;
use spec::{Kustomization, Path};
use std::collections::HashMap;
use std::sync::OnceLock;

pub use pin::pin;
pub(crate) use schema::Schema;
pub use transform::split_image;

pub(crate) fn merge_schema(group: &str, kind: &str) -> Schema {
    Schema::of(group, kind)
}

/// Names a kustomization file may have.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const MAX_DEPTH: usize = 32;
const MAX_RESOURCES: usize = 50_000;

/// What a build gives.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Worth knowing.
    pub warnings: Vec<Finding>,
    // With the file each came from, in order of output.
    nodes: Vec<(Node, String)>,
    objects: OnceLock<Vec<Object>>,
}

impl Rendered {
    /// Objects, in order of output.
    pub fn objects(&self) -> &[Object] {
        self.objects.get_or_init(|| {
            let nodes = self.nodes.iter();
            nodes
                .map(|(node, file)| Object::from_node(node, file))
                .collect()
        })
    }

    /// The text that `kustomize build` prints.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for (number, (node, _)) in self.nodes.iter().enumerate() {
            if number > 0 {
                text.push_str("---\n");
            }
            text.push_str(&to_yaml(node));
        }
        text
    }
}

/// Builds a directory. On failure the findings say what, where and what would help.
pub fn build(tree: &Tree, dir: &str) -> Result<Rendered, Vec<Finding>> {
    let dir = join("", dir).ok_or_else(|| {
        vec![Finding::error(
            "kustomize/outside",
            format!("{dir} leaves the tree"),
        )]
    })?;
    let mut build = Build {
        tree,
        warnings: Vec::new(),
        loaded: 0,
    };
    let mut resources = Vec::new();
    let top = build.directory(&dir, &mut Vec::new(), &mut resources, Some(false))?;
    hash::add(&mut resources);
    nameref::fix(&mut resources).map_err(|finding| vec![finding])?;
    resources.retain(|r| !r.is_local());
    // The program's default, too, where the file says nothing.
    if !top.fifo {
        sort::legacy(&mut resources, top.legacy_order.as_ref());
    }
    Ok(Rendered {
        warnings: build.warnings,
        nodes: resources.into_iter().map(|r| (r.node, r.file)).collect(),
        objects: OnceLock::new(),
    })
}

/// Manifests as they are, each file's objects in turn.
pub(crate) fn manifests(files: &[(&str, &[u8])]) -> Result<Rendered, Vec<Finding>> {
    let mut rendered = Rendered::default();
    let mut findings = Vec::new();
    for (file, content) in files {
        match load::resources(content, file) {
            Ok(resources) => {
                for resource in resources {
                    rendered.nodes.push((resource.node, resource.file));
                }
            }
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() {
        Ok(rendered)
    } else {
        Err(findings)
    }
}

/// The kustomization file of a directory, where there is one.
pub fn file_of(tree: &Tree, dir: &str) -> Option<String> {
    FILE_NAMES
        .iter()
        .filter_map(|name| join(dir, name))
        .find(|path| tree.file(path).is_some())
}

struct Build<'a> {
    tree: &'a Tree,
    warnings: Vec<Finding>,
    loaded: usize,
}

impl Build<'_> {
    // `component`: what the directory must be; a component works on the resources it is given.
    fn directory(
        &mut self,
        dir: &str,
        chain: &mut Vec<String>,
        resources: &mut Vec<Resource>,
        component: Option<bool>,
    ) -> Result<Kustomization, Vec<Finding>> {
        let tree = self.tree;
        let Some(file) = file_of(tree, dir) else {
            let message = format!(
                "there is no kustomization file in {}",
                if dir.is_empty() { "." } else { dir }
            );
            return Err(vec![Finding::error("kustomize/missing", message)]);
        };
        let content = tree.file(&file).unwrap_or_default();
        let (spec, warnings) = spec::read(&file, content)?;
        self.warnings.extend(warnings);
        if component.is_some_and(|wanted| wanted != spec.component) {
            let message = if spec.component {
                "a component belongs under components"
            } else {
                "this is not a component"
            };
            return Err(vec![
                Finding::error("kustomize/kind", message).in_file(&file),
            ]);
        }
        let source = Source {
            tree,
            dir,
            file: &file,
        };
        chain.push(dir.to_string());
        let done = self.accumulate(&source, &spec, chain, resources);
        chain.pop();
        done.map(|()| spec)
    }

    fn accumulate(
        &mut self,
        source: &Source<'_>,
        spec: &Kustomization,
        chain: &mut Vec<String>,
        resources: &mut Vec<Resource>,
    ) -> Result<(), Vec<Finding>> {
        let mut ids: HashMap<String, usize> = resources
            .iter()
            .enumerate()
            .map(|(at, r)| (r.key(), at))
            .collect();
        for path in &spec.resources {
            let added = self.resource(source, path, chain)?;
            for resource in added {
                if let Some(other) = ids.insert(resource.key(), resources.len()) {
                    let other = resources.get(other).map_or("", |r| r.file.as_str());
                    let message = format!(
                        "{} comes twice: from {other} and from {}",
                        resource.describe(),
                        resource.file
                    );
                    return Err(vec![source.fault(path, "kustomize/conflict", message)]);
                }
                resources.push(resource);
            }
        }
        for generator in &spec.generators {
            let at = |finding: Finding| {
                let finding = finding.in_file(source.file);
                vec![if finding.line == 0 {
                    finding.at(generator.line, generator.column)
                } else {
                    finding
                }]
            };
            let mut made = generate::make(generator, source).map_err(at)?;
            made.file = source.file.to_string();
            generate::absorb(resources, made).map_err(at)?;
        }
        for path in &spec.components {
            let dir = self.enter(source, path, chain)?;
            self.directory(&dir, chain, resources, Some(true))?;
        }
        transform(source, spec, resources).map_err(|finding| vec![finding.in_file(source.file)])
    }

    fn resource(
        &mut self,
        source: &Source<'_>,
        path: &Path,
        chain: &mut Vec<String>,
    ) -> Result<Vec<Resource>, Vec<Finding>> {
        if path.text.contains("://")
            || path.text.starts_with("git@")
            || path.text.starts_with("github.com/")
        {
            let fault = source.fault(
                path,
                "kustomize/unsupported",
                format!("remote base {} is not supported", path.text),
            );
            return Err(vec![fault.hint("copy it into the repository")]);
        }
        let full = join(source.dir, &path.text);
        if full
            .as_deref()
            .is_some_and(|full| self.tree.file(full).is_some())
        {
            let content = source.read(path).map_err(|f| vec![f])?;
            let full = source.locate(path).map_err(|f| vec![f])?;
            let found = load::resources(content, &full).map_err(|f| vec![f])?;
            self.loaded += found.len();
            if self.loaded > MAX_RESOURCES {
                return Err(vec![source.fault(
                    path,
                    "kustomize/too-large",
                    format!("more than {MAX_RESOURCES} objects"),
                )]);
            }
            return Ok(found);
        }
        let dir = self.enter(source, path, chain)?;
        let mut resources = Vec::new();
        self.directory(&dir, chain, &mut resources, Some(false))?;
        Ok(resources)
    }

    // A directory that is neither missing nor one of those it is used by, nor above them.
    fn enter(
        &self,
        source: &Source<'_>,
        path: &Path,
        chain: &[String],
    ) -> Result<String, Vec<Finding>> {
        let fault = |rule, message: String| vec![source.fault(path, rule, message)];
        let dir = join(source.dir, &path.text).ok_or_else(|| {
            fault(
                "kustomize/outside",
                format!("{} leaves the repository", path.text),
            )
        })?;
        if !self.tree.is_dir(&dir) {
            return Err(fault(
                "kustomize/missing",
                format!("{} is neither a file nor a directory", path.text),
            ));
        }
        let above = |inner: &String| {
            *inner == dir || dir.is_empty() || inner.starts_with(&format!("{dir}/"))
        };
        if let Some(inner) = chain.iter().find(|inner| above(inner)) {
            let mut names: Vec<&str> = chain.iter().map(String::as_str).collect();
            names.push(&dir);
            let message = format!(
                "{dir} contains {inner}, which uses it: {}",
                names.join(" -> ")
            );
            return Err(fault("kustomize/cycle", message));
        }
        if chain.len() >= MAX_DEPTH {
            return Err(fault(
                "kustomize/too-deep",
                format!("bases are nested deeper than {MAX_DEPTH}"),
            ));
        }
        Ok(dir)
    }
}

fn transform(
    source: &Source<'_>,
    spec: &Kustomization,
    resources: &mut Vec<Resource>,
) -> Result<(), Finding> {
    if !spec.strategic.is_empty() || !spec.patches.is_empty() {
        let mut patches = patch::Patches::new(source, std::mem::take(resources));
        let mut run = || -> Result<(), Finding> {
            spec.strategic
                .iter()
                .try_for_each(|path| patches.strategic(path))?;
            spec.patches.iter().try_for_each(|patch| patches.any(patch))
        };
        run()?;
        *resources = patches.finish();
    }
    transform::namespace(resources, &spec.namespace)?;
    transform::names(resources, spec);
    transform::labels(resources, spec)?;
    transform::annotations(resources, spec)?;
    if !spec.json6902.is_empty() {
        let mut patches = patch::Patches::new(source, std::mem::take(resources));
        spec.json6902
            .iter()
            .try_for_each(|patch| patches.json6902(patch))?;
        *resources = patches.finish();
    }
    transform::replicas(resources, &spec.replicas)?;
    transform::images(resources, &spec.images)?;
    for path in &spec.replacement_files {
        for replacement in replacements_in(source, path)? {
            replace::apply(resources, &replacement)?;
        }
    }
    for replacement in &spec.replacements {
        let place = |finding: Finding| {
            finding
                .in_file(source.file)
                .at(replacement.line, replacement.column)
        };
        replace::apply(resources, replacement).map_err(place)?;
    }
    Ok(())
}

// A file with one replacement or a list of them.
fn replacements_in(source: &Source<'_>, path: &Path) -> Result<Vec<spec::Replacement>, Finding> {
    let content = source.read(path)?;
    let file = source.locate(path)?;
    let text = std::str::from_utf8(content).map_err(|_| {
        source.fault(
            path,
            "kustomize/encoding",
            format!("{} is not UTF-8", path.text),
        )
    })?;
    let documents = parse(text, Limits::default()).map_err(|finding| finding.in_file(&file))?;
    let mut reader = reader::Reader {
        file: &file,
        findings: Vec::new(),
    };
    let mut spec = Kustomization::default();
    for document in &documents {
        match document.as_list() {
            Some(list) => list
                .iter()
                .for_each(|node| reader.replacement(node, &mut spec)),
            None => reader.replacement(document, &mut spec),
        }
    }
    match reader.findings.into_iter().next() {
        Some(finding) => Err(finding),
        None => Ok(spec.replacements),
    }
}
