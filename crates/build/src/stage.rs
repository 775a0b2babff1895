//! A stage while it is built: its image so far and its variables.

use crate::dockerfile::{Command, expand};
use crate::layers::Layer;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use towpath_oci::config::Image;

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) image: Image,
    pub(crate) layers: Vec<Layer>,
    /// Digest of everything that led here.
    pub(crate) key: String,
    /// Declared arguments that have a value.
    pub(crate) args: BTreeMap<String, String>,
    /// Whether this stage wrote a `CMD`.
    pub(crate) cmd_set: bool,
    /// Latest time in its layers, seconds since 1970.
    pub(crate) epoch: i64,
}

/// Variables as they were.
pub(crate) struct Variables {
    env: Vec<String>,
    args: BTreeMap<String, String>,
}

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let of = |entry: &String| {
            entry
                .split_once('=')
                .filter(|(key, _)| *key == name)
                .map(|(_, v)| v.to_string())
        };
        self.env
            .iter()
            .find_map(of)
            .or_else(|| self.args.get(name).cloned())
    }
}

impl State {
    pub(crate) fn clone_variables(&self) -> Variables {
        Variables {
            env: self.image.config.env.clone().unwrap_or_default(),
            args: self.args.clone(),
        }
    }

    pub(crate) fn word(&self, text: &str, escape: char) -> Result<String, String> {
        let variables = self.clone_variables();
        expand::word(text, escape, &|name| variables.get(name))
    }

    pub(crate) fn words(&self, text: &str, escape: char) -> Result<Vec<String>, String> {
        let variables = self.clone_variables();
        expand::words(text, escape, &|name| variables.get(name))
    }

    pub(crate) fn text(&self, text: &str, escape: char) -> Result<String, String> {
        let variables = self.clone_variables();
        expand::text(text, escape, &|name| variables.get(name))
    }

    pub(crate) fn shell(&self) -> Vec<String> {
        self.image
            .config
            .shell
            .clone()
            .unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()])
    }

    /// What a command of the configuration becomes.
    pub(crate) fn args_of(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(args) => args.clone(),
            Command::Shell(text) if text.is_empty() => Vec::new(),
            Command::Shell(text) => {
                let mut args = self.shell();
                args.push(text.clone());
                args
            }
        }
    }

    pub(crate) fn workdir(&self) -> &str {
        if self.image.config.working_dir.is_empty() {
            "/"
        } else {
            &self.image.config.working_dir
        }
    }

    /// The key of a step that depends on this state and on `facts`.
    pub(crate) fn step_key(&self, facts: &[&str]) -> String {
        digest(std::iter::once(self.key.as_str()).chain(facts.iter().copied()))
    }
}

/// Digest of a list of texts; their borders count.
pub(crate) fn digest<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    towpath_stdx::id::hex(&hasher.finalize())
}
