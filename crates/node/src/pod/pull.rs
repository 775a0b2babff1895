//! Getting a container's image: policy, events, back-off.

use super::container::{Task, delay};
use super::ordered;
use crate::error::{Error, words};
use crate::image::{Policy, Ready};
use std::time::Duration;
use tokio::time::Instant;
use towpath_kit::traits::ImageError;

impl Task {
    /// The image, ready to run; tried until it is there. `None` on an order to stop.
    pub(super) async fn image(&mut self) -> Option<Ready> {
        let reference = self.container.image.clone().unwrap_or_default();
        let policy = Policy::of(self.container.image_pull_policy.as_deref(), &reference);
        let mut failures = 0u32;
        loop {
            let there = self.agent.images.present(&reference).is_some();
            let began = Instant::now();
            if !there && policy != Policy::Never {
                self.event(false, "Pulling", format!("Pulling image {reference:?}"));
            }
            let pulled = tokio::select! {
                _ = ordered(&mut self.stop) => return None,
                pulled = self.agent.images.ensure(&reference, policy) => pulled,
            };
            let error = match pulled {
                Ok(ready) => {
                    let note = if there {
                        format!("Container image {reference:?} already present on machine")
                    } else {
                        format!(
                            "Successfully pulled image {reference:?} in {:.3}s",
                            began.elapsed().as_secs_f64()
                        )
                    };
                    self.event(false, "Pulled", note);
                    return Some(ready);
                }
                Err(error) => error,
            };
            let cause = words(&error);
            let invalid = matches!(&error, Error::Image(ImageError::Invalid(_)));
            let (reason, note) = match policy {
                Policy::Never => (
                    "ErrImageNeverPull",
                    format!(
                        "Container image {reference:?} is not present with pull policy of Never"
                    ),
                ),
                _ if invalid => (
                    "InvalidImageName",
                    format!("Failed to apply default image tag {reference:?}: {cause}"),
                ),
                _ => (
                    "ErrImagePull",
                    format!("Failed to pull image {reference:?}: {cause}"),
                ),
            };
            self.event(true, "Failed", note.clone());
            self.waiting(
                reason,
                if reason == "ErrImagePull" {
                    cause
                } else {
                    note
                },
            );
            failures += 1;
            let wait = delay(failures);
            // The first reason is seen for a moment before it becomes a back-off.
            tokio::select! {
                _ = ordered(&mut self.stop) => return None,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            if reason == "ErrImagePull" {
                self.event(
                    false,
                    "BackOff",
                    format!("Back-off pulling image {reference:?}"),
                );
                self.waiting(
                    "ImagePullBackOff",
                    format!("Back-off pulling image {reference:?}"),
                );
            }
            tokio::select! {
                _ = ordered(&mut self.stop) => return None,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
