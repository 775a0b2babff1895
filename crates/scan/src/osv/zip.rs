//! The part of zip that OSV's exports use: central directory, stored and deflated entries.

use super::Error;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

const LIMIT_ENTRIES: u64 = 2_000_000;
const LIMIT_DIRECTORY_BYTES: u64 = 512 << 20;

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes([
        bytes[at],
        bytes[at + 1],
        bytes[at + 2],
        bytes[at + 3],
    ]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}

/// Calls `visit` with name and bytes of each entry of at most `limit_bytes`; larger ones fail.
pub(super) fn each(
    file: &File,
    name: &str,
    limit_bytes: u64,
    visit: &mut dyn FnMut(&str, Vec<u8>),
) -> Result<(), Error> {
    let bad = |what: &str| Error::Format(format!("{name} is no valid zip: {what}"));
    let read = |at: u64, bytes: u64| -> Result<Vec<u8>, Error> {
        let mut out = vec![0u8; bytes as usize];
        file.read_exact_at(&mut out, at)
            .map_err(|_| bad("it ends too early"))?;
        Ok(out)
    };
    let length = file
        .metadata()
        .map_err(Error::io(format!("read {name}")))?
        .len();
    let tail_bytes = length.min(66_000);
    let tail = read(length - tail_bytes, tail_bytes)?;
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&i| tail[i..].starts_with(b"PK\x05\x06"));
    let end = end.ok_or_else(|| bad("it has no directory"))?;
    let (mut count, mut size, mut start) = (
        u16_at(&tail, end + 10),
        u32_at(&tail, end + 12),
        u32_at(&tail, end + 16),
    );
    if (count == 0xffff || start == 0xffff_ffff)
        && end >= 20
        && tail[end - 20..].starts_with(b"PK\x06\x07")
    {
        let wide = read(u64_at(&tail, end - 20 + 8), 56)?;
        if !wide.starts_with(b"PK\x06\x06") {
            return Err(bad("its 64-bit directory is missing"));
        }
        (count, size, start) = (u64_at(&wide, 32), u64_at(&wide, 40), u64_at(&wide, 48));
    }
    if count > LIMIT_ENTRIES
        || size > LIMIT_DIRECTORY_BYTES
        || start.checked_add(size).is_none_or(|e| e > length)
    {
        return Err(bad("its directory is out of bounds"));
    }
    let directory = read(start, size)?;
    let mut at = 0usize;
    for _ in 0..count {
        let entry = directory
            .get(at..at + 46)
            .filter(|e| e.starts_with(b"PK\x01\x02"))
            .ok_or_else(|| bad("a directory entry is broken"))?;
        let method = u16_at(entry, 10);
        let (mut packed, mut plain, mut offset) =
            (u32_at(entry, 20), u32_at(entry, 24), u32_at(entry, 42));
        let (name_bytes, extra_bytes, comment_bytes) = (
            u16_at(entry, 28) as usize,
            u16_at(entry, 30) as usize,
            u16_at(entry, 32) as usize,
        );
        let name_at = at + 46;
        let rest = directory
            .get(name_at..name_at + name_bytes + extra_bytes)
            .ok_or_else(|| bad("a directory entry is cut"))?;
        let entry_name = String::from_utf8_lossy(&rest[..name_bytes]).into_owned();
        wide_fields(&rest[name_bytes..], &mut plain, &mut packed, &mut offset);
        at = name_at + name_bytes + extra_bytes + comment_bytes;
        if entry_name.ends_with('/') {
            continue;
        }
        if plain > limit_bytes || packed > limit_bytes {
            return Err(bad(&format!(
                "{entry_name} is larger than {limit_bytes} bytes"
            )));
        }
        let local = read(offset, 30)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(bad("an entry has no header"));
        }
        let data = read(
            offset + 30 + u16_at(&local, 26) + u16_at(&local, 28),
            packed,
        )?;
        let bytes = match method {
            0 => data,
            8 => {
                let mut out = Vec::new();
                let decoder = flate2::read::DeflateDecoder::new(&data[..]);
                decoder
                    .take(limit_bytes + 1)
                    .read_to_end(&mut out)
                    .map_err(|_| bad(&format!("{entry_name} cannot be unpacked")))?;
                if out.len() as u64 > limit_bytes {
                    return Err(bad(&format!(
                        "{entry_name} is larger than {limit_bytes} bytes"
                    )));
                }
                out
            }
            other => return Err(bad(&format!("{entry_name} uses method {other}"))),
        };
        visit(&entry_name, bytes);
    }
    Ok(())
}

// The zip64 extra field holds, in this order, those values that did not fit.
fn wide_fields(mut extra: &[u8], plain: &mut u64, packed: &mut u64, offset: &mut u64) {
    while extra.len() >= 4 {
        let (id, size) = (u16_at(extra, 0), u16_at(extra, 2) as usize);
        let Some(mut body) = extra.get(4..4 + size) else {
            return;
        };
        if id == 1 {
            for field in [plain, packed, offset] {
                if *field == 0xffff_ffff && body.len() >= 8 {
                    *field = u64_at(body, 0);
                    body = &body[8..];
                }
            }
            return;
        }
        extra = &extra[4 + size..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    // One stored and one deflated entry, by hand.
    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, method, text) in [("a.json", 0u16, "{}"), ("b.json", 8, "[1,1,1,1,1,1,1]")] {
            let data = if method == 0 {
                text.as_bytes().to_vec()
            } else {
                let mut encoder =
                    flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            };
            let offset = out.len() as u32;
            let sizes = [
                (data.len() as u32).to_le_bytes(),
                (text.len() as u32).to_le_bytes(),
            ]
            .concat();
            out.extend(
                [
                    b"PK\x03\x04",
                    &[20, 0, 0, 0][..],
                    &method.to_le_bytes(),
                    &[0; 8],
                    &sizes,
                    &(name.len() as u16).to_le_bytes(),
                    &[0, 0],
                    name.as_bytes(),
                    &data,
                ]
                .concat(),
            );
            directory.extend(
                [
                    b"PK\x01\x02",
                    &[20, 0, 20, 0, 0, 0][..],
                    &method.to_le_bytes(),
                    &[0; 8],
                    &sizes,
                    &(name.len() as u16).to_le_bytes(),
                    &[0; 12],
                    &offset.to_le_bytes(),
                    name.as_bytes(),
                ]
                .concat(),
            );
        }
        let start = out.len() as u32;
        out.extend(&directory);
        out.extend(
            [
                b"PK\x05\x06",
                &[0; 4][..],
                &2u16.to_le_bytes(),
                &2u16.to_le_bytes(),
                &(directory.len() as u32).to_le_bytes(),
                &start.to_le_bytes(),
                &[0, 0],
            ]
            .concat(),
        );
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut found = Vec::new();
        each(&file, "x", 1000, &mut |name, bytes| {
            found.push(format!("{name}={}", String::from_utf8_lossy(&bytes)))
        })?;
        Ok(found)
    }

    #[test]
    fn entries_are_read_and_damage_is_named() {
        let sample = sample();
        assert_eq!(
            read(&sample).unwrap(),
            ["a.json={}", "b.json=[1,1,1,1,1,1,1]"]
        );
        for cut in 0..sample.len() {
            assert!(read(&sample[..cut]).is_err(), "{cut}");
        }
        for i in 0..sample.len() {
            let mut broken = sample.clone();
            broken[i] ^= 0xff;
            let _ = read(&broken);
        }
    }
}
