//! How far logs were read, kept in a file.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Name;
use super::file::Place;

pub(super) struct Positions {
    path: PathBuf,
    places: HashMap<Name, Place>,
    /// Those that were set since the process started.
    fresh: HashSet<Name>,
}

/// `uid container attempt inode offset`: none of them has a space.
fn parse(line: &str) -> Option<(Name, Place)> {
    let mut parts = line.split(' ');
    let name = (
        parts.next()?.to_owned(),
        parts.next()?.to_owned(),
        parts.next()?.parse().ok()?,
    );
    let place = Place {
        inode: parts.next()?.parse().ok()?,
        offset: parts.next()?.parse().ok()?,
    };
    Some((name, place))
}

impl Positions {
    /// Those of the last time; none where they cannot be read, logs are read again then.
    pub(super) fn open(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self {
            path: path.to_path_buf(),
            places: text.lines().filter_map(parse).collect(),
            fresh: HashSet::new(),
        }
    }

    pub(super) fn get(&self, name: &Name) -> Option<Place> {
        self.places.get(name).copied()
    }

    pub(super) fn is_of_this_start(&self, name: &Name) -> bool {
        self.fresh.contains(name)
    }

    pub(super) fn set(&mut self, name: Name, place: Place) {
        self.fresh.insert(name.clone());
        self.places.insert(name, place);
    }

    /// Forgets logs that are gone.
    pub(super) fn keep(&mut self, keep: impl Fn(&Name) -> bool) {
        self.places.retain(|name, _| keep(name));
        self.fresh.retain(|name| keep(name));
    }

    pub(super) fn save(&self) -> io::Result<()> {
        let mut text = String::new();
        for ((uid, container, attempt), place) in &self.places {
            let Place { inode, offset } = place;
            text.push_str(&format!("{uid} {container} {attempt} {inode} {offset}\n"));
        }
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let part = self.path.with_extension("part");
        let mut file = std::fs::File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(part, &self.path)
    }
}
