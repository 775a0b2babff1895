//! Where deployed objects come from, written on the objects themselves.
//!
//! The commit on an environment's branch names in its trailers the promotion, the release and,
//! for every image it pins, the commit that image was built from. From these, and nothing else,
//! follow the marks: what is applied is a function of git alone, so it can be healed, and it does
//! not change when a release object is cleaned away.
//!
//! * Every object: label `towpath.dev/environment`; annotations `towpath.dev/release`, `/commit`
//!   and `/promotion` of the whole deployment.
//! * Pod templates (and their workloads) that run an image built here: labels
//!   `towpath.dev/commit`, `/release` and `/environment` of that image. They differ only where
//!   the image does, so a pod is never replaced for its label, and a database whose image stays
//!   keeps its pods.

use crate::promotion::trailer;
use crate::release;
use kube::ResourceExt;
use serde_json::{Map, Value as Json};
use towpath_kit::kinds::{Application, Release, labels};
use towpath_kit::traits::CommitInfo;
use towpath_render::Object;

const IMAGE: &str = "Towpath-Image";

/// An image and the commit it was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) image: String,
    pub(crate) digest: String,
    pub(crate) commit: String,
}

impl Origin {
    /// The trailer line that says so.
    pub(crate) fn trailer(&self) -> String {
        format!("{IMAGE}: {}@{} {}", self.image, self.digest, self.commit)
    }

    fn parse(line: &str) -> Option<Self> {
        let (reference, commit) = line
            .strip_prefix(IMAGE)?
            .strip_prefix(": ")?
            .split_once(' ')?;
        let (image, digest) = reference.split_once('@')?;
        Some(Self {
            image: image.into(),
            digest: digest.into(),
            commit: commit.into(),
        })
    }
}

// The last lines, up to the first that is no trailer: a reason that a person gave stands above.
fn origins(message: &str) -> Vec<Origin> {
    let lines = message.trim_end().lines().rev();
    lines
        .take_while(|line| line.starts_with("Towpath-"))
        .filter_map(Origin::parse)
        .collect()
}

/// What to say of a release's images: an image that runs already keeps its commit, one that ran
/// before takes it up again, and a new one is of the release's own.
pub(crate) fn of_images(
    release: &Release,
    running: Option<&CommitInfo>,
    restored: Option<&CommitInfo>,
) -> Vec<Origin> {
    let said = |commit: Option<&CommitInfo>| origins(commit.map_or("", |c| &c.message));
    let known = [said(running), said(restored)].concat();
    // A commit of an earlier version may pin an image without a word of its origin. Its pods run
    // without the label and shall not be replaced for it.
    let silent = running.is_some_and(|running| {
        said(Some(running)).is_empty()
            && trailer(&running.message, "Towpath-Release") == Some(&release.name_any())
    });
    if silent {
        return Vec::new();
    }
    let images = release.spec.images.iter().map(|image| {
        let commit = known.iter().find(|origin| origin.digest == image.digest);
        Origin {
            image: image.name.clone(),
            digest: image.digest.clone(),
            commit: commit.map_or_else(|| release.spec.sha.clone(), |o| o.commit.clone()),
        }
    });
    images.collect()
}

/// What the objects of one commit are marked with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provenance {
    environment: String,
    repository: String,
    annotations: Vec<(&'static str, String)>,
    origins: Vec<Origin>,
}

impl Provenance {
    /// `None` for an application that belongs to no environment: its objects stay as they are.
    pub(crate) fn of(app: &Application, repository: &str, commit: &CommitInfo) -> Option<Self> {
        let environment = app.labels().get(labels::ENVIRONMENT)?.clone();
        let said = |name: &str| trailer(&commit.message, name).map(str::to_string);
        let annotations = [
            (labels::RELEASE, said("Towpath-Release")),
            (labels::COMMIT, said("Towpath-Commit")),
            (labels::PROMOTION, said("Towpath-Promotion")),
        ];
        Some(Self {
            environment,
            repository: repository.rsplit('/').next().unwrap_or_default().into(),
            annotations: annotations
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
            origins: origins(&commit.message),
        })
    }

    /// Marks an object, and its pod template where an image in it was built here.
    pub(crate) fn mark(&self, object: &mut Object) {
        let manifest = &mut object.manifest;
        put_label(manifest, labels::ENVIRONMENT, &self.environment);
        for (key, value) in &self.annotations {
            put(manifest, "annotations", key, value);
        }
        let Some(path) = template(manifest) else {
            return;
        };
        let Some(commit) = manifest
            .pointer(path)
            .and_then(|template| self.built_from(template))
            .map(str::to_string)
        else {
            return;
        };
        put_label(manifest, labels::COMMIT, &commit);
        if path.is_empty() {
            return;
        }
        if let Some(template) = manifest.pointer_mut(path) {
            put_label(template, labels::COMMIT, &commit);
            put_label(template, labels::ENVIRONMENT, &self.environment);
            let release = release::name(&self.repository, &commit);
            put_label(template, labels::RELEASE, &release);
        }
    }

    // The commit of the first container whose image was built here.
    fn built_from(&self, template: &Json) -> Option<&str> {
        let list = |key: &str| template.pointer(key).and_then(Json::as_array);
        let containers = [list("/spec/containers"), list("/spec/initContainers")];
        containers.into_iter().flatten().flatten().find_map(|c| {
            let (_, digest) = c.get("image")?.as_str()?.split_once('@')?;
            let origin = self.origins.iter().find(|o| o.digest == digest)?;
            Some(origin.commit.as_str())
        })
    }
}

// Where the pod template is; a pod is its own.
fn template(manifest: &Json) -> Option<&'static str> {
    let places = ["", "/spec/template", "/spec/jobTemplate/spec/template"];
    places.into_iter().find(|path| {
        let containers = manifest.pointer(&format!("{path}/spec/containers"));
        containers.is_some_and(Json::is_array)
    })
}

// What does not fit into a label is left out: the annotations have it.
fn put_label(object: &mut Json, key: &str, value: &str) {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = value.len() <= 63
        && edge(value.chars().next())
        && edge(value.chars().next_back())
        && value.chars().all(inner);
    if fits {
        put(object, "labels", key, value);
    }
}

/// Sets one label or annotation of an object or a template.
pub(crate) fn put(object: &mut Json, map: &str, key: &str, value: &str) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let metadata = as_map(object.entry("metadata"));
    let map = metadata.and_then(|metadata| as_map(metadata.entry(map)));
    if let Some(map) = map {
        map.insert(key.into(), value.into());
    }
}

// The map that is there, or an empty one: YAML writes an empty map as null.
fn as_map(entry: serde_json::map::Entry<'_>) -> Option<&mut Map<String, Json>> {
    let value = entry.or_insert(Json::Null);
    if value.is_null() {
        *value = Json::Object(Map::new());
    }
    value.as_object_mut()
}

#[cfg(test)]
mod tests;
