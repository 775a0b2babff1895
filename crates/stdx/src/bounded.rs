//! Reads that stop at a limit instead of at the end of memory.

use std::io::{self, Read};

/// Reads to the end, or fails with `InvalidData` once `limit_bytes` are exceeded.
pub fn read_all(reader: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(limit_bytes + 1).read_to_end(&mut out)?;
    if out.len() as u64 > limit_bytes {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("more than {limit_bytes} bytes"),
        ));
    }
    Ok(out)
}

/// Reads a file of at most `limit_bytes`.
pub fn read_file(path: &std::path::Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    read_all(std::fs::File::open(path)?, limit_bytes)
}
