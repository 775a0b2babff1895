//! The finished image: configuration and manifest, under every tag.

use super::{Build, other};
use crate::stage::State;
use bytes::Bytes;
use towpath_kit::traits::BuildError;
use towpath_oci::manifest::{CONFIG, Descriptor, IMAGE};
use towpath_oci::{Digest, Reference};
use towpath_stdx::clock;

impl Build<'_> {
    // Configuration and manifest, under every tag.
    pub(super) async fn push(&self, mut state: State) -> Result<(String, u64), BuildError> {
        let at = self.request.source_date_epoch.unwrap_or(state.epoch).max(0) as u64;
        let created = clock::rfc3339(at);
        state.image.created = Some(created.clone());
        for entry in state
            .image
            .history
            .iter_mut()
            .filter(|entry| entry.comment == "towpath" && entry.created.is_none())
        {
            entry.created = Some(created.clone());
        }
        state.image.rootfs.kind = "layers".into();
        state.image.rootfs.diff_ids = state
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        if !self.request.labels.is_empty() {
            state
                .image
                .config
                .labels
                .get_or_insert_default()
                .extend(self.request.labels.clone());
        }
        let config = state.image.to_bytes();
        let config_digest = Digest::of(&config);
        let scratch = self.scratch()?;
        let file = scratch.path().join("config");
        std::fs::write(&file, &config).map_err(|e| other(format!("write configuration: {e}")))?;
        let images = &self.engine.0.local;
        let storage = |e: towpath_kit::traits::ImageError| other(e.to_string());
        images
            .put_blob(config_digest.as_str(), &file)
            .await
            .map_err(storage)?;
        let layers: Vec<Descriptor> = state
            .layers
            .iter()
            .filter_map(|l| {
                l.digest
                    .parse()
                    .ok()
                    .map(|digest: Digest| Descriptor::new(&l.media_type, &digest, l.bytes))
            })
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": Descriptor::new(CONFIG, &config_digest, config.len() as u64),
            "layers": layers,
        });
        let manifest = Bytes::from(manifest.to_string());
        let image_bytes = manifest.len() as u64
            + config.len() as u64
            + state.layers.iter().map(|l| l.bytes).sum::<u64>();
        let mut digest = None;
        for tag in &self.request.tags {
            let reference: Reference = tag
                .parse()
                .map_err(|e: towpath_oci::Error| other(e.to_string()))?;
            let name = reference.tag.as_deref().unwrap_or("latest");
            let put = images
                .put_manifest(&reference.repository, Some(name), IMAGE, manifest.clone())
                .await
                .map_err(storage)?;
            (self.log)(&format!("pushed {}:{name}", reference.repository));
            digest = Some(put);
        }
        match digest {
            Some(digest) => Ok((digest, image_bytes)),
            None => {
                let repository = format!(
                    "{}/untagged",
                    if self.request.scope.is_empty() {
                        "build"
                    } else {
                        &self.request.scope
                    }
                );
                let put = images
                    .put_manifest(&repository, None, IMAGE, manifest)
                    .await
                    .map_err(storage)?;
                Ok((put, image_bytes))
            }
        }
    }
}
