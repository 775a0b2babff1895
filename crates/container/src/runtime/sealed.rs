//! The shim's program as a sealed file in memory, without what the kernel does not load.
//!
//! A server's binary carries symbols and debug information several times the size of its code.
//! They lie behind the last loaded segment; leaving them out keeps that much memory free.

use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Copies a program and seals the copy against any change.
pub(super) fn copy(path: &Path) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag that asks for an executable file.
    let fd = rustix::fs::memfd_create("towpath", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("towpath", flags))?;
    let mut copy = File::from(fd);
    let mut source = File::open(path)?;
    let loaded = loaded_bytes(&source);
    io::copy(
        &mut (&mut source).take(loaded.unwrap_or(u64::MAX)),
        &mut copy,
    )?;
    if loaded.is_some() {
        forget_sections(&mut copy)?;
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    // Executing a file that is open for writing fails; open it again for reading.
    File::open(format!("/proc/self/fd/{}", copy.as_raw_fd()))
}

const HEADER_BYTES: usize = 64;
const LOAD: u32 = 1;

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at + length)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

// End of the last segment that is loaded, in a 64-bit little-endian ELF file; `None` for
// anything else.
fn loaded_bytes(file: &File) -> Option<u64> {
    let mut header = [0u8; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (offset, size, count) = (
        number(&header, 32, 8)?,
        number(&header, 54, 2)?,
        number(&header, 56, 2)?,
    );
    let mut table = vec![0u8; (size * count) as usize];
    file.read_exact_at(&mut table, offset).ok()?;
    let mut end = offset.checked_add(size * count)?;
    for entry in table.chunks_exact(size.max(56) as usize) {
        // Everything with bytes in the file, loaded or not, but only loads must be whole.
        if number(entry, 0, 4)? as u32 == LOAD {
            end = end.max(number(entry, 8, 8)?.checked_add(number(entry, 32, 8)?)?);
        }
    }
    (end <= file.metadata().ok()?.len()).then_some(end)
}

// The table of sections is cut off; nothing at run time reads it.
fn forget_sections(file: &mut File) -> io::Result<()> {
    for (at, length) in [(40, 8), (58, 2), (60, 2), (62, 2)] {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&[0u8; 8][..length])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_cannot_be_written_and_is_smaller() {
        let copy = copy(Path::new("/proc/self/exe")).expect("copy");
        let whole = std::fs::metadata("/proc/self/exe").expect("stat").len();
        assert!(copy.metadata().expect("stat").len() < whole);
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let open = File::options().write(true).open(path);
        assert!(open.and_then(|mut file| file.write_all(b"x")).is_err());
    }

    #[test]
    fn other_files_are_copied_whole() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for content in [&b"#!/bin/sh\n"[..], b"\x7fELF\x02\x01 but too short", b""] {
            std::fs::write(dir.path().join("x"), content).expect("write");
            let copy = copy(&dir.path().join("x")).expect("copy");
            assert_eq!(copy.metadata().expect("stat").len(), content.len() as u64);
        }
    }
}
