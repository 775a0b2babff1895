//! Room on the disk. The object store refuses writes while the disk is nearly full, and a push
//! that is taken then would have no run until there is room: it is refused as well.

use std::path::Path;

// Somewhat more than the object store keeps for deletes: 2 % of the disk, within bounds.
const LEAST_BYTES: u64 = 8 << 20;
const MOST_BYTES: u64 = 96 << 20;

/// Why no push can be taken now, if so.
pub(crate) fn refusal(root: &Path) -> Option<String> {
    let disk = rustix::fs::statvfs(root).ok()?;
    let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    let margin = margin(total);
    (free < margin).then(|| {
        format!(
            "no space left: {free} bytes free on the server's disk, a push needs {margin}; \
             once there is room, push again"
        )
    })
}

fn margin(total: u64) -> u64 {
    (total / 100 * 3).clamp(LEAST_BYTES, MOST_BYTES)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_margin_is_above_the_stores() {
        for total in [32 << 20, 1 << 30, 1 << 33, 1 << 40] {
            let store = (total / 50).clamp(6 << 20, 64 << 20);
            assert!(super::margin(total) > store + store / 4, "{total}");
        }
    }
}
