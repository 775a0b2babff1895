//! Base images: layers, unpacked, and configuration.

use super::{Build, other};
use crate::layers::Layer;
use crate::settings;
use crate::stage::{State, digest};
use std::collections::BTreeMap;
use towpath_kit::traits::{BuildError, LocalImage};
use towpath_oci::config::Image;
use towpath_oci::manifest::Manifest;
use towpath_stdx::clock;

// For images that do not say when they were made, and `scratch`: the start of what zip can hold.
const EPOCH: i64 = 315_532_800;

impl Build<'_> {
    /// An image's layers, unpacked, and its configuration.
    pub(super) async fn image(&self, reference: &str) -> Result<State, BuildError> {
        let found = self
            .engine
            .find(reference, self.log)
            .await
            .map_err(|e| other(e.to_string()))?;
        self.load(reference, found).await
    }

    async fn load(&self, reference: &str, found: LocalImage) -> Result<State, BuildError> {
        let bad = |error: towpath_oci::Error| other(format!("image {reference}: {error}"));
        let manifest = Manifest::parse(&found.manifest, "").map_err(bad)?;
        let mut image = Image::parse(&found.config).map_err(bad)?;
        if image.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(other(format!(
                "image {reference}: configuration and manifest name different layers"
            )));
        }
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&image.rootfs.diff_ids) {
            let layer = Layer {
                diff_id: diff_id.clone(),
                digest: descriptor.digest.clone(),
                bytes: descriptor.size,
                media_type: oci_media_type(&descriptor.media_type),
            };
            self.unpack(&layer).await?;
            layers.push(layer);
        }
        let epoch = image
            .created
            .as_deref()
            .and_then(parse_time)
            .filter(|at| *at >= EPOCH)
            .unwrap_or(EPOCH);
        image.created = None;
        let key = digest(["image", &found.digest].into_iter());
        Ok(State {
            image,
            layers,
            key,
            args: BTreeMap::new(),
            cmd_set: false,
            epoch,
        })
    }

    pub(super) async fn unpack(&self, layer: &Layer) -> Result<(), BuildError> {
        if self.engine.0.layers.path(&layer.diff_id).exists() {
            return Ok(());
        }
        let blob = self
            .engine
            .0
            .local
            .open_blob(&layer.digest)
            .await
            .map_err(|e| other(e.to_string()))?;
        let (store, diff_id, id) = (
            self.engine.0.layers.clone(),
            layer.diff_id.clone(),
            self.number(),
        );
        let work = tokio::task::spawn_blocking(move || store.unpack(blob, &diff_id, &id));
        work.await
            .map_err(|e| other(e.to_string()))?
            .map_err(|m| other(format!("unpack layer {}: {m}", layer.digest)))
    }
}

/// The empty base.
pub(super) fn scratch() -> State {
    let mut image = Image::scratch();
    image.config.env = Some(vec![settings::DEFAULT_PATH.into()]);
    State {
        image,
        layers: Vec::new(),
        key: digest(["scratch"].into_iter()),
        args: BTreeMap::new(),
        cmd_set: false,
        epoch: EPOCH,
    }
}

// An OCI manifest names OCI layers; the bytes are the same.
fn oci_media_type(media_type: &str) -> String {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            towpath_oci::manifest::LAYER_GZIP.into()
        }
        "application/vnd.docker.image.rootfs.diff.tar" => towpath_oci::manifest::LAYER_TAR.into(),
        other => other.to_string(),
    }
}

// RFC 3339 with an optional fraction, in UTC.
fn parse_time(text: &str) -> Option<i64> {
    let whole = text.split('.').next()?.trim_end_matches('Z');
    clock::parse_rfc3339(&format!("{whole}Z")).map(|at| at as i64)
}
