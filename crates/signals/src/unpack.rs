//! Decompression with a context that each thread keeps: making one takes longer than most blocks do.

use std::cell::RefCell;
use std::io;

use zstd::bulk::Decompressor;

thread_local! {
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What was packed with zstd.
///
/// # Errors
/// It is damaged, or longer than `most` bytes.
pub(crate) fn unpack(packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    CONTEXT.with_borrow_mut(|kept| {
        let context = match kept {
            Some(context) => context,
            None => kept.insert(Decompressor::new()?),
        };
        context.decompress(packed, most)
    })
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn a_damaged_block_leaves_the_next_alone() {
        let text = b"some text, some text, some text".repeat(20);
        let packed = zstd::bulk::compress(&text, 3).expect("packed");
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            let _ = unpack(&damaged, text.len());
            let _ = unpack(&packed[..at], text.len());
            assert_eq!(unpack(&packed, text.len()).expect("unpacked"), text);
        }
        assert!(unpack(&packed, text.len() - 1).is_err());
    }
}
