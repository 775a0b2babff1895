//! Results of steps: where they are written, kept, and found again.

use super::{Build, other};
use crate::layers::{Layer, Made, Scratch, words};
use crate::stage::State;
use towpath_kit::traits::BuildError;
use towpath_oci::layer::diff;

impl Build<'_> {
    pub(super) fn scratch(&self) -> Result<Scratch, BuildError> {
        self.engine
            .0
            .layers
            .scratch(&self.number())
            .map_err(|e| other(format!("make scratch directory: {e}")))
    }

    // A step's result out of the cache, with everything it needs still here.
    pub(super) async fn recall(&self, state: &mut State, key: &str) -> Result<bool, BuildError> {
        let Some(made) = self.engine.0.layers.recall(key) else {
            return Ok(false);
        };
        if let Some(layer) = made.layer {
            let blob = self.engine.0.local.open_blob(&layer.digest).await;
            if blob.is_err() || self.unpack(&layer).await.is_err() {
                return Ok(false);
            }
            state.layers.push(layer);
        }
        // What follows depends on what this step was made of.
        state.key = state.step_key(&[key]);
        (self.log)("  from the cache");
        Ok(true)
    }

    // Packs what a step wrote, stores the blob, keeps the directory as the unpacked layer.
    pub(super) async fn keep(
        &self,
        state: &mut State,
        key: &str,
        scratch: Scratch,
    ) -> Result<(), BuildError> {
        let options = diff::Options {
            compression: self.engine.0.config.compression,
            clamp_mtime: Some(state.epoch),
        };
        let (upper, file) = (scratch.upper(), scratch.path().join("layer"));
        let packed = file.clone();
        let work = tokio::task::spawn_blocking(move || {
            let out = std::fs::File::create(&packed).map_err(|e| e.to_string())?;
            let out = std::io::BufWriter::with_capacity(1 << 20, out);
            diff::diff(&upper, out, &options).map_err(|e| words(&e))
        });
        let diffed = work
            .await
            .map_err(|e| other(e.to_string()))?
            .map_err(|m| other(format!("pack layer: {m}")))?;
        let made = if diffed.entries == 0 {
            Made { layer: None }
        } else {
            let digest = diffed.digest.to_string();
            self.engine
                .0
                .local
                .put_blob(&digest, &file)
                .await
                .map_err(|e| other(e.to_string()))?;
            let layer = Layer {
                diff_id: diffed.diff_id.to_string(),
                digest,
                bytes: diffed.bytes,
                media_type: options.compression.media_type().into(),
            };
            self.engine
                .0
                .layers
                .adopt(&scratch.upper(), &layer.diff_id)
                .map_err(other)?;
            state.layers.push(layer.clone());
            Made { layer: Some(layer) }
        };
        self.engine.0.layers.remember(key, &made, &self.number());
        state.key = state.step_key(&[key]);
        Ok(())
    }
}
