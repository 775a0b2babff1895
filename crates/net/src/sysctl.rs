//! Kernel settings that are changed for everyone, e.g. IP forwarding: the value found first is
//! recorded, and the last instance to leave puts it back.
//!
//! The record lives in `/run/towpath`, which a reboot empties exactly like the settings
//! themselves, one file per network namespace. Instances are counted by their bridge: a user
//! whose bridge is gone (killed, then removed by hand) no longer counts.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

const RUNTIME_DIR: &str = "/run/towpath";

/// Setting to the value instances need. Redirects are off for a link only where both its own
/// switch and the one for all are; other links keep theirs on.
const NEEDED: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
];

#[derive(Default, Serialize, Deserialize)]
struct Record {
    original: BTreeMap<String, String>,
    bridges: BTreeSet<String>,
}

/// Reads one setting, as a path below `/proc/sys`.
pub(crate) fn read(name: &str) -> Result<String, Error> {
    let path = Path::new("/proc/sys").join(name);
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    Ok(text.trim().to_string())
}

/// Writes one setting.
pub(crate) fn write(name: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(name);
    std::fs::write(&path, value).map_err(Error::file("write", &path))
}

/// Records what is there and sets what we need.
pub(crate) fn acquire(bridge: &str) -> Result<(), Error> {
    with_record(|record| {
        record
            .bridges
            .retain(|name| name == bridge || link_exists(name));
        if record.bridges.is_empty() {
            record.original.clear();
        }
        for &(name, value) in NEEDED {
            let found = read(name)?;
            if found != value {
                record.original.entry(name.into()).or_insert(found);
                write(name, value)?;
            }
        }
        record.bridges.insert(bridge.into());
        Ok(())
    })
}

/// Puts back what was recorded, if no other instance is left.
pub(crate) fn release(bridge: &str) -> Result<(), Error> {
    with_record(|record| {
        if !record.bridges.remove(bridge) {
            return Ok(());
        }
        record.bridges.retain(|name| link_exists(name));
        if record.bridges.is_empty() {
            for (name, value) in std::mem::take(&mut record.original) {
                write(&name, &value)?;
            }
        }
        Ok(())
    })
}

fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists() || nix::net::if_::if_nametoindex(name).is_ok()
}

fn record_path() -> Result<PathBuf, Error> {
    let own = Path::new("/proc/thread-self/ns/net");
    let namespace = std::fs::read_link(own).map_err(Error::file("read", own))?;
    let number: String = namespace
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Ok(Path::new(RUNTIME_DIR).join(format!("net-{number}.json")))
}

// Under a lock on the directory, so that two instances that start at once do not both take the
// other's value for the original.
fn with_record(change: impl FnOnce(&mut Record) -> Result<(), Error>) -> Result<(), Error> {
    let dir = Path::new(RUNTIME_DIR);
    std::fs::create_dir_all(dir).map_err(Error::file("make", dir))?;
    let lock = File::open(dir).map_err(Error::file("open", dir))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|e| Error::file("lock", dir)(e.into()))?;
    let path = record_path()?;
    let mut record: Record = match towpath_stdx::bounded::read_file(&path, 64 << 10) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Record::default(),
        Err(error) => return Err(Error::file("read", &path)(error)),
    };
    let result = change(&mut record);
    if record.bridges.is_empty() && record.original.is_empty() {
        let _ = std::fs::remove_file(&path);
    } else {
        // A map of strings always serializes.
        let text = serde_json::to_vec(&record).unwrap_or_default();
        std::fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    result
}
