//! Host-local addresses: one file per sandbox, named by its id, holding its address. The
//! directory is the whole truth; it is read once at start.

use crate::cidr::Cidr;
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Which sandbox has which address.
#[derive(Debug)]
pub(crate) struct Addresses {
    dir: PathBuf,
    block: Cidr,
    by_id: BTreeMap<String, u32>,
    taken: BTreeSet<u32>,
    /// Search goes on behind the last one given out, so that an address rests before it is
    /// used again and late packets do not reach a stranger.
    last: u32,
}

impl Addresses {
    /// Reads the records of earlier runs. A record that is damaged or outside the block is
    /// removed: its sandbox gets a new address when it is attached again.
    pub(crate) fn load(dir: &Path, block: Cidr) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(Error::file("make", dir))?;
        let mut all = Self {
            dir: dir.to_path_buf(),
            block,
            by_id: BTreeMap::new(),
            taken: BTreeSet::new(),
            last: 1,
        };
        for entry in std::fs::read_dir(dir).map_err(Error::file("read", dir))? {
            let path = entry.map_err(Error::file("read", dir))?.path();
            let id = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let index = std::fs::read_to_string(&path)
                .ok()
                .and_then(|text| text.trim().parse::<Ipv4Addr>().ok())
                .and_then(|address| block.index_of(address))
                .filter(|index| *index > 1 && !all.taken.contains(index));
            match index {
                Some(index) if super::valid_id(id) => {
                    all.taken.insert(index);
                    all.by_id.insert(id.to_string(), index);
                    all.last = all.last.max(index);
                }
                _ => {
                    tracing::warn!(path = %path.display(), "unusable address record removed");
                    std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
                }
            }
        }
        Ok(all)
    }

    /// The address number of a sandbox, given out now where it has none.
    pub(crate) fn take(&mut self, id: &str) -> Result<(u32, Ipv4Addr), Error> {
        if let Some((index, address)) = self.get(id) {
            return Ok((index, address));
        }
        let end = self.block.last_host();
        let index = (self.last + 1..=end)
            .chain(2..=self.last.min(end))
            .find(|index| !self.taken.contains(index))
            .ok_or_else(|| Error::Exhausted(self.block.to_string()))?;
        let address = self
            .block
            .host(index)
            .ok_or_else(|| Error::Exhausted(self.block.to_string()))?;
        let path = self.dir.join(id);
        // A dot first: no sandbox id starts with one, so a half-written record is never read.
        let unfinished = self.dir.join(format!(".{id}"));
        std::fs::write(&unfinished, address.to_string())
            .map_err(Error::file("write", &unfinished))?;
        std::fs::rename(&unfinished, &path).map_err(Error::file("write", &path))?;
        self.taken.insert(index);
        self.by_id.insert(id.to_string(), index);
        self.last = index;
        Ok((index, address))
    }

    /// The address a sandbox has.
    pub(crate) fn get(&self, id: &str) -> Option<(u32, Ipv4Addr)> {
        let index = *self.by_id.get(id)?;
        Some((index, self.block.host(index)?))
    }

    /// Who has one.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.by_id.keys().cloned().collect()
    }

    /// Gives a sandbox's address back.
    pub(crate) fn release(&mut self, id: &str) -> Result<(), Error> {
        let path = self.dir.join(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &path)(error));
            }
            _ => {}
        }
        if let Some(index) = self.by_id.remove(id) {
            self.taken.remove(&index);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_rest_and_run_out() {
        let dir = tempfile::tempdir().expect("directory");
        let block: Cidr = "10.9.0.0/29".parse().expect("block");
        let mut all = Addresses::load(dir.path(), block).expect("load");
        let (_, first) = all.take("a").expect("address");
        assert_eq!(first, Ipv4Addr::new(10, 9, 0, 2));
        assert_eq!(all.take("a").expect("again").1, first);
        all.release("a").expect("release");
        all.release("a").expect("twice");
        assert_ne!(all.take("b").expect("address").1, first);
        for id in ["c", "d", "e", "f"] {
            all.take(id).expect("address");
        }
        assert!(matches!(all.take("g"), Err(Error::Exhausted(_))));

        std::fs::write(dir.path().join("odd"), "nonsense").expect("write");
        std::fs::write(dir.path().join(".half"), "10.9.0.3").expect("write");
        let mut again = Addresses::load(dir.path(), block).expect("load");
        assert_eq!(again.get("b"), all.get("b"));
        assert_eq!(again.by_id.len(), 5);
        assert!(matches!(again.take("g"), Err(Error::Exhausted(_))));
    }
}
