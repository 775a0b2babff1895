//! Keeping an idle shim small: there is one per container, and each is mostly start-up code that
//! never runs again.

use std::io::{BufRead, BufReader};

/// Gives the kernel back every page of a file that was mapped and not changed (a changed one is
/// anonymous). What is needed
/// again is mapped again, from memory that all shims share.
pub(super) fn release_clean_pages() {
    let Ok(maps) = std::fs::File::open("/proc/self/smaps") else {
        return;
    };
    let mut clean: Vec<(usize, usize)> = Vec::new();
    let mut current = None;
    for line in BufReader::new(maps).lines().map_while(Result::ok) {
        if let Some(range) = file_mapping(&line) {
            current = range;
        } else if line
            .strip_prefix("Anonymous:")
            .is_some_and(|kib| kib.trim() == "0 kB")
        {
            clean.extend(current.take());
        }
    }
    for (from, to) in clean {
        // SAFETY: a private, unwritable mapping of a sealed file or a system library without a
        // changed page: dropping its pages only makes the next access read the same bytes again.
        unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
    }
}

// A header line of smaps: its range where it maps a file privately and cannot be written to.
#[allow(clippy::option_option)] // no header; a header of another kind; one of this kind
fn file_mapping(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_whitespace();
    let (range, flags) = (words.next()?, words.next()?);
    let (from, to) = range.split_once('-')?;
    let (from, to) = (
        usize::from_str_radix(from, 16).ok()?,
        usize::from_str_radix(to, 16).ok()?,
    );
    let file = words.nth(3).is_some_and(|name| name.starts_with('/'));
    Some(
        (file && flags.starts_with('r') && !flags.contains('w') && flags.ends_with('p'))
            .then_some((from, to)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unwritable_private_files_are_released() {
        let at = |flags: &str, name: &str| {
            file_mapping(&format!("1000-3000 {flags} 00000000 00:01 7 {name}"))
        };
        assert_eq!(
            at("r-xp", "/memfd:towpath (deleted)"),
            Some(Some((0x1000, 0x3000)))
        );
        assert_eq!(at("rw-p", "/bin/x"), Some(None));
        assert_eq!(at("r--s", "/bin/x"), Some(None));
        assert_eq!(at("r-xp", "[vdso]"), Some(None));
        assert_eq!(file_mapping("Anonymous:             0 kB"), None);
        release_clean_pages();
        assert_eq!(at("r--p", "/bin/x"), Some(Some((0x1000, 0x3000))));
    }
}
