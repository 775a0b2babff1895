//! `COPY` and `ADD`: what they name is found and hashed first, so that the cache can answer
//! before anything is written.

use super::{Build, input, other};
use crate::copy::{self, Manner, ModeChange};
use crate::dockerfile::{Copy, Place};
use crate::ignore::Ignore;
use crate::stage::{State, digest};
use crate::tree::{self, Tree};
use crate::users;
use std::sync::Arc;
use towpath_kit::traits::BuildError;

impl Build<'_> {
    pub(super) async fn copy(
        &self,
        state: &mut State,
        copy: &Copy,
        place: Place,
        index: usize,
    ) -> Result<bool, BuildError> {
        let bad = |message: String| {
            input(
                self.file(),
                place,
                if copy.add { "add" } else { "copy" },
                message,
            )
        };
        let escape = self.escape();
        let word = |text: &str| state.word(text, escape).map_err(bad);
        let patterns = copy
            .sources
            .iter()
            .map(|s| word(s))
            .collect::<Result<Vec<_>, _>>()?;
        let written = word(&copy.target)?;
        let slash = if written.ends_with('/')
            || matches!(written.as_str(), "." | "..")
            || written.ends_with("/.")
        {
            "/"
        } else {
            ""
        };
        let target = format!("{}{slash}", tree::absolute(state.workdir(), &written));
        let chown = copy.chown.as_deref().map(word).transpose()?;
        let mode = copy.chmod.as_deref().map(word).transpose()?;
        let mode = mode
            .as_deref()
            .map(ModeChange::parse)
            .transpose()
            .map_err(bad)?;
        let exclude = copy
            .exclude
            .iter()
            .map(|s| word(s))
            .collect::<Result<Vec<_>, _>>()?
            .join("\n");
        let exclude = move || Ignore::parse(&exclude).unwrap_or_default();
        let mut files = Vec::new();
        for heredoc in &copy.heredocs {
            let content = if heredoc.expand {
                state.text(&heredoc.content, escape).map_err(bad)?
            } else {
                heredoc.content.clone()
            };
            files.push((heredoc.name.clone(), content));
        }
        let origin = Arc::new(self.origin(copy.from.as_deref(), index, place).await?);
        let base = if copy.link {
            vec![self.engine.0.layers.empty()]
        } else {
            self.lower(&state.layers)
        };
        let owner = match &chown {
            None => None,
            Some(text) => {
                // Names are the image's, also where the files go beside it.
                let tree =
                    Tree::readable(&self.lower(&state.layers), &self.engine.0.layers.below());
                let tree = tree.map_err(|e| other(format!("open layers: {e}")))?;
                Some(users::owner(&tree, text).map_err(bad)?)
            }
        };
        let manner = Manner {
            owner,
            mode,
            unpack: copy.add,
            parents: copy.parents,
        };
        let (source, patterns2, make_exclude) = (origin.clone(), patterns.clone(), exclude.clone());
        let found = tokio::task::spawn_blocking(move || {
            let sources = source.sources(&patterns2, make_exclude());
            let paths = sources.paths()?;
            let digest = sources.digest(&paths).map_err(|e| e.to_string())?;
            Ok::<_, String>((paths, digest))
        });
        let (paths, content) = found
            .await
            .map_err(|e| other(e.to_string()))?
            .map_err(bad)?;
        let facts = format!("{target} {manner:?} {paths:?} {files:?} {}", patterns.len());
        let key = if copy.link {
            digest(["link", &self.request.scope, &facts, &content].into_iter())
        } else {
            state.step_key(&["copy", &facts, &content])
        };
        if self.recall(state, &key).await? {
            return Ok(true);
        }
        let scratch = self.scratch()?;
        let (upper, work) = (scratch.upper(), scratch.work());
        let done = tokio::task::spawn_blocking(move || {
            let into = Tree::writable(&base, &upper, &work)?;
            let sources = origin.sources(&patterns, exclude());
            copy::copy(&sources, &paths, &into, &target, &manner)?;
            let several = files.len() + paths.len() > 1;
            for (name, content) in &files {
                let target = if several && !target.ends_with('/') {
                    format!("{target}/")
                } else {
                    target.clone()
                };
                copy::write(&into, &target, name, content.as_bytes(), &manner)?;
            }
            Ok::<_, std::io::Error>(())
        });
        done.await
            .map_err(|e| other(e.to_string()))?
            .map_err(|e| bad(e.to_string()))?;
        self.keep(state, &key, scratch).await?;
        Ok(false)
    }
}
