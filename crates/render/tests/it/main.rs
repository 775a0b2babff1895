//! Corpora of the renderer.

mod kustomize;
