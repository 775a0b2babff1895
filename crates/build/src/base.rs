//! Base images made of the distribution's packages, when a name is wanted that is not here.
//!
//! `debian:bookworm-slim` is made by `mmdebstrap` out of the host's own package sources;
//! `postgres:15` and `redis:7` are Dockerfiles on top of it, built by this builder. All end up
//! in the registry under the names a Dockerfile or a pod expects, so that they are made once.

use crate::engine::{Engine, other};
use crate::layers::words;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use towpath_kit::traits::{
    BuildError, BuildLog, BuildRequest, ImageError, Images, LocalImage, Principal,
};
use towpath_oci::config::{History, Image};
use towpath_oci::layer::diff;
use towpath_oci::manifest::{CONFIG, Descriptor, IMAGE};
use towpath_oci::{Digest, Reference};
use towpath_stdx::{clock, process};

const BOOTSTRAP: Duration = Duration::from_secs(1800);

/// How a name is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipe {
    Debian,
    Dockerfile(&'static [(&'static str, &'static str)]),
}

const POSTGRES: &[(&str, &str)] = &[
    (
        "Dockerfile",
        include_str!("../../../examples/images/postgres/Dockerfile"),
    ),
    (
        "entrypoint.sh",
        include_str!("../../../examples/images/postgres/entrypoint.sh"),
    ),
];
const REDIS: &[(&str, &str)] = &[
    (
        "Dockerfile",
        include_str!("../../../examples/images/redis/Dockerfile"),
    ),
    (
        "entrypoint.sh",
        include_str!("../../../examples/images/redis/entrypoint.sh"),
    ),
];

/// Names that can be made, with all their tags.
const RECIPES: [(&str, &[&str], Recipe); 3] = [
    (
        "library/debian",
        &["bookworm-slim", "bookworm", "12-slim", "12"],
        Recipe::Debian,
    ),
    (
        "library/postgres",
        &["15", "15-bookworm"],
        Recipe::Dockerfile(POSTGRES),
    ),
    (
        "library/redis",
        &["7", "7-bookworm"],
        Recipe::Dockerfile(REDIS),
    ),
];

/// Images that [`Engine`] can make: `library/debian:bookworm-slim`, …
pub fn known() -> impl Iterator<Item = String> {
    RECIPES
        .iter()
        .flat_map(|(name, tags, _)| tags.iter().map(move |tag| format!("{name}:{tag}")))
}

fn recipe(reference: &Reference) -> Option<(&'static str, &'static [&'static str], Recipe)> {
    let (host, name) = reference.origin();
    if host != "registry-1.docker.io" || reference.digest.is_some() {
        return None;
    }
    RECIPES
        .into_iter()
        .find(|(repository, tags, _)| *repository == name && tags.contains(&reference.manifest()))
}

impl Engine {
    /// Finds an image here, makes it where there is a recipe, else pulls it.
    pub async fn find(&self, reference: &str, log: BuildLog<'_>) -> Result<LocalImage, ImageError> {
        match self.0.local.resolve(reference).await {
            Err(ImageError::NotFound(_)) => {}
            other => return other,
        }
        let parsed: Reference = reference
            .parse()
            .map_err(|_| ImageError::Invalid(reference.into()))?;
        let Some((repository, tags, recipe)) = recipe(&parsed).filter(|_| self.0.config.make_bases)
        else {
            return self.0.remote.resolve(reference).await;
        };
        match self.make(repository, tags, recipe, log).await {
            Ok(()) => self.0.local.resolve(reference).await,
            Err(made) => {
                // Another way to the same name; where it fails too, both reasons are said.
                let pulled = self.0.remote.resolve(reference).await;
                pulled.map_err(|pulled| ImageError::Pull {
                    reference: reference.into(),
                    cause: format!("it cannot be made here ({made}), nor pulled ({pulled})"),
                })
            }
        }
    }

    async fn make(
        &self,
        repository: &str,
        tags: &[&str],
        recipe: Recipe,
        log: BuildLog<'_>,
    ) -> Result<(), BuildError> {
        match recipe {
            Recipe::Debian => {
                let _one = self.0.making.lock().await;
                // Another build may have made it while this one waited.
                if self
                    .0
                    .local
                    .resolve(&format!("{repository}:{}", tags[0]))
                    .await
                    .is_ok()
                {
                    return Ok(());
                }
                log(&format!(
                    "making {repository}:{} out of the distribution's packages, once",
                    tags[0]
                ));
                self.bootstrap(repository, tags, log).await
            }
            Recipe::Dockerfile(files) => {
                log(&format!("building {repository}:{}, once", tags[0]));
                let dir = self
                    .0
                    .layers
                    .scratch(&towpath_stdx::id::uuid(&towpath_stdx::SystemRandom))
                    .map_err(failed)?;
                for (name, content) in files {
                    fs::write(dir.path().join(name), content).map_err(failed)?;
                }
                let request = BuildRequest {
                    context: dir.path().to_path_buf(),
                    dockerfile: "Dockerfile".into(),
                    target: None,
                    args: BTreeMap::new(),
                    secrets: BTreeMap::new(),
                    tags: tags
                        .iter()
                        .map(|tag| format!("{repository}:{tag}"))
                        .collect(),
                    labels: BTreeMap::new(),
                    scope: "library".into(),
                    source_date_epoch: None,
                    memory_bytes: 0,
                    principal: Principal::component("build"),
                };
                Box::pin(self.build_with(request, log)).await.map(drop)
            }
        }
    }

    async fn bootstrap(
        &self,
        repository: &str,
        tags: &[&str],
        log: BuildLog<'_>,
    ) -> Result<(), BuildError> {
        let program = process::find("mmdebstrap").ok_or_else(|| {
            other("mmdebstrap is not installed: apt-get install mmdebstrap".into())
        })?;
        let scratch = self.0.layers.scratch(&format!(
            "base-{}",
            towpath_stdx::id::suffix(&towpath_stdx::SystemRandom, 8)
        ));
        let scratch = scratch.map_err(failed)?;
        let root = scratch.path().join("root");
        let mut command = process::command(program);
        command.args([
            "--variant=minbase",
            "--mode=root",
            "--quiet",
            "--include=ca-certificates",
        ]);
        // What a slim image leaves out.
        for path in [
            "/usr/share/doc/*",
            "/usr/share/man/*",
            "/usr/share/info/*",
            "/usr/share/locale/*",
        ] {
            command.arg(format!("--dpkgopt=path-exclude={path}"));
        }
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        for name in crate::settings::PROXY_ARGS {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("TMPDIR", scratch.path())
            .arg("bookworm")
            .arg(&root);
        let sources = scratch.path().join("sources");
        fs::create_dir_all(&sources).map_err(failed)?;
        command.args(host_sources(Path::new("/etc/apt"), &sources).map_err(failed)?);
        let output = process::run(command, BOOTSTRAP, 1 << 20)
            .await
            .map_err(failed)?;
        output.success("mmdebstrap").map_err(failed)?;
        log("packing the base image");
        let (config, work) = (self.0.config.compression, scratch.path().to_path_buf());
        let packed = tokio::task::spawn_blocking(move || pack(&root, &work, config));
        let (diffed, epoch, file) = packed.await.map_err(|e| other(e.to_string()))??;
        let layer = Descriptor::new(config.media_type(), &diffed.digest, diffed.bytes);
        self.0
            .local
            .put_blob(diffed.digest.as_str(), &file)
            .await
            .map_err(image)?;
        let config = configuration(&diffed.diff_id, epoch);
        let config_digest = Digest::of(&config);
        let config_file = scratch.path().join("config");
        fs::write(&config_file, &config).map_err(failed)?;
        self.0
            .local
            .put_blob(config_digest.as_str(), &config_file)
            .await
            .map_err(image)?;
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": Descriptor::new(CONFIG, &config_digest, config.len() as u64),
            "layers": [layer],
        });
        let manifest = Bytes::from(manifest.to_string());
        for tag in tags {
            self.0
                .local
                .put_manifest(repository, Some(tag), IMAGE, manifest.clone())
                .await
                .map_err(image)?;
        }
        Ok(())
    }
}

// Package sources of the host that are of this distribution, as files for mmdebstrap; none
// means its own default.
fn host_sources(apt: &Path, into: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = vec![apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut chosen = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let Ok(bytes) = towpath_stdx::bounded::read_file(file, 1 << 20) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let kind = file
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let kept = match kind {
            "list" => one_line_sources(&text),
            "sources" => stanza_sources(&text),
            _ => continue,
        };
        if !kept.is_empty() {
            let path = into.join(format!("{index}.{kind}"));
            fs::write(&path, kept)?;
            chosen.push(path);
        }
    }
    Ok(chosen)
}

fn is_debian(suite: &str) -> bool {
    suite.trim_end_matches('/').split(['-', '/']).next() == Some("bookworm")
}

fn one_line_sources(text: &str) -> String {
    let keep = |line: &&str| {
        let Some(rest) = line.trim().strip_prefix("deb ") else {
            return false;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, after)| after),
            None => rest,
        };
        let mut words = rest.split_whitespace().skip(1);
        words.next().is_some_and(is_debian) && words.any(|component| component == "main")
    };
    text.lines()
        .filter(keep)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn stanza_sources(text: &str) -> String {
    let keep = |stanza: &&str| {
        let field = |name: &str| {
            let found = stanza.lines().find_map(|line| {
                line.split_once(':')
                    .filter(|(k, _)| k.eq_ignore_ascii_case(name))
            });
            found.map_or("", |(_, value)| value.trim())
        };
        let mut suites = field("Suites").split_whitespace().peekable();
        suites.peek().is_some()
            && suites.all(is_debian)
            && field("Components").split_whitespace().any(|c| c == "main")
            && !field("Enabled").eq_ignore_ascii_case("no")
    };
    // Comments between stanzas are not stanzas.
    let stanzas = text
        .split("\n\n")
        .map(|s| s.trim_matches('\n'))
        .filter(keep);
    stanzas.map(|stanza| format!("{stanza}\n\n")).collect()
}

// Removes what differs from run to run, and packs.
fn pack(
    root: &Path,
    work: &Path,
    compression: towpath_oci::layer::Compression,
) -> Result<(diff::Diffed, i64, PathBuf), BuildError> {
    for name in [
        "var/log",
        "var/lib/apt/lists",
        "var/cache/apt",
        "var/cache/ldconfig",
        "run",
        "tmp",
        "dev",
    ] {
        empty(&root.join(name)).map_err(failed)?;
    }
    for name in [
        "etc/hostname",
        "etc/resolv.conf",
        "etc/machine-id",
        "var/cache/debconf/config.dat-old",
        "var/cache/debconf/templates.dat-old",
        "var/lib/dpkg/status-old",
    ] {
        let _ = fs::remove_file(root.join(name));
    }
    fs::create_dir_all(root.join("var/cache/apt/archives/partial")).map_err(failed)?;
    fs::create_dir_all(root.join("var/lib/apt/lists/partial")).map_err(failed)?;
    // Packages are not kept, and nothing starts while they are installed.
    write(
        &root.join("etc/apt/apt.conf.d/docker-clean"),
        "Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\nAPT::Install-Recommends \"false\";\n",
        0o644,
    )?;
    write(
        &root.join("usr/sbin/policy-rc.d"),
        "#!/bin/sh\nexit 101\n",
        0o755,
    )?;
    let epoch = newest(&root.join("usr/share/doc")).map_err(failed)?;
    let file = work.join("layer");
    let out = io::BufWriter::with_capacity(1 << 20, fs::File::create(&file).map_err(failed)?);
    let options = diff::Options {
        compression,
        clamp_mtime: Some(epoch),
    };
    let diffed = diff::diff(root, out, &options).map_err(|e| other(words(&e)))?;
    Ok((diffed, epoch, file))
}

fn empty(dir: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &str, mode: u32) -> Result<(), BuildError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)
}

// The newest time that came out of a package: the same whenever the same packages are used.
fn newest(dir: &Path) -> io::Result<i64> {
    use std::os::unix::fs::MetadataExt;
    let mut newest = 0;
    for entry in fs::read_dir(dir)? {
        let file = entry?.path().join("copyright");
        if let Ok(stat) = fs::symlink_metadata(file) {
            newest = newest.max(stat.mtime());
        }
    }
    Ok(newest)
}

fn configuration(diff_id: &Digest, epoch: i64) -> Vec<u8> {
    let created = clock::rfc3339(epoch.max(0) as u64);
    let mut image = Image::scratch();
    image.created = Some(created.clone());
    image.config.env = Some(vec![crate::settings::DEFAULT_PATH.into()]);
    image.config.cmd = Some(vec!["bash".into()]);
    image.rootfs.diff_ids = vec![diff_id.to_string()];
    image.history = vec![History {
        created: Some(created),
        created_by: "mmdebstrap --variant=minbase bookworm".into(),
        ..History::default()
    }];
    image.to_bytes()
}

fn failed(error: io::Error) -> BuildError {
    other(error.to_string())
}

fn image(error: ImageError) -> BuildError {
    other(error.to_string())
}

#[async_trait]
impl Images for Engine {
    async fn resolve(&self, reference: &str) -> Result<LocalImage, ImageError> {
        self.find(reference, &|line| tracing::info!(line, "base image"))
            .await
    }

    async fn put_blob(&self, digest: &str, file: &Path) -> Result<(), ImageError> {
        self.0.local.put_blob(digest, file).await
    }

    async fn open_blob(&self, digest: &str) -> Result<fs::File, ImageError> {
        self.0.local.open_blob(digest).await
    }

    async fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: Bytes,
    ) -> Result<String, ImageError> {
        self.0
            .local
            .put_manifest(repository, tag, media_type, manifest)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_distribution_itself_is_taken() {
        let list = "deb [signed-by=/k] http://m/debian bookworm main\ndeb-src http://m/debian bookworm main\n# deb x bookworm main\ndeb http://other nodistro main\ndeb http://sec bookworm-security main contrib\ndeb http://m/debian bookworm contrib\n";
        assert_eq!(one_line_sources(list).lines().count(), 2);
        let stanzas = "Types: deb\n# note\nURIs: http://m\nSuites: bookworm bookworm-updates\nComponents: main\n\nTypes: deb\nURIs: http://n\nSuites: nodistro\nComponents: main\n\nTypes: deb\nSuites: bookworm\nComponents: main\nEnabled: no\n";
        let kept = stanza_sources(stanzas);
        assert!(
            kept.contains("http://m") && !kept.contains("http://n") && !kept.contains("Enabled"),
            "{kept}"
        );
    }

    #[test]
    fn short_and_long_names_have_recipes() {
        for name in [
            "debian:bookworm-slim",
            "docker.io/library/postgres:15",
            "library/redis:7",
        ] {
            assert!(recipe(&name.parse().expect(name)).is_some(), "{name}");
        }
        for name in [
            "debian",
            "debian:trixie",
            "ghcr.io/library/debian:bookworm",
            "demo/debian:bookworm",
        ] {
            assert!(recipe(&name.parse().expect(name)).is_none(), "{name}");
        }
    }
}
