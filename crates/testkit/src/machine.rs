//! What the machine has that tests need.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// A statically linked shell, the smallest image there is; where there is none that is said.
///
/// # Panics
/// In a full run, where there is none.
#[track_caller]
pub fn busybox() -> Option<PathBuf> {
    let places = [
        "/bin/busybox",
        "/usr/bin/busybox",
        "/usr/lib/initramfs-tools/bin/busybox",
    ];
    let found = places.iter().map(PathBuf::from).find(|path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        // A dynamic program names its loader.
        bytes.len() > 1000 && !bytes.windows(9).any(|w| w == b"/ld-linux")
    });
    if found.is_none() {
        skip("a static busybox is needed: apt-get install busybox-static");
    }
    found
}

/// A folder of a Go module, at the version that a folder of `tests/peers` pins, where the Go tool
/// keeps it; where it is not to be had that is said.
///
/// # Panics
/// In a full run, where it is not to be had.
#[allow(clippy::disallowed_methods)] // a test's own child
#[track_caller]
pub fn go_module(pins: &str, module: &str, folder: &str) -> Option<PathBuf> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers");
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        let output = command.args(arguments).current_dir(peers.join(pins));
        let output = output.output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let found = go(&["mod", "download", module])
        .and_then(|_| go(&["list", "-m", "-f", "{{.Dir}}", module]))
        .map(|directory| Path::new(&directory).join(folder))
        .filter(|directory| directory.is_dir());
    if found.is_none() {
        skip(&format!("the Go module {module} is not to be had"));
    }
    found
}
