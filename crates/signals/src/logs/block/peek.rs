//! Whether a block may contain words, without unpacking its lines.
//!
//! Filters err now and then. Identifiers, which is what single lines are looked for by, lie in their
//! columns as they are, so that a look at these tells for little what the filter left open.

use super::read::{Parsed, sections};
use super::{FIRST, VERSION};
use crate::bytes::Cursor;

/// Whether each of the words, which consist of letters and digits alone, may be in a line or in a
/// label of one; `None` where the block is damaged.
pub(in crate::logs) fn may_contain(bytes: &[u8], words: &[&[u8]]) -> Option<bool> {
    let mut cursor = Cursor::new(bytes);
    match cursor.u8()? {
        FIRST => return Some(true),
        VERSION => {}
        _ => return None,
    }
    let (head, raw) = sections(cursor)?;
    let parsed = Parsed::read(&head, raw)?;
    let found = |word: &&[u8]| {
        let mut literals = parsed.literals.iter();
        literals.any(|literal| memchr::memmem::find(literal, word).is_some())
            || parsed.all_columns().any(|column| column.may_contain(word))
    };
    Some(words.iter().all(found))
}
