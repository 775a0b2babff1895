//! Patterns: those of Go, each made once. What would be large is refused.

use regex::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::HashMap;

const PATTERN_BYTES: usize = 1 << 20;
const KEPT: usize = 64;

thread_local! {
    // Patterns are used again for every element of a list; making one costs far more than using it.
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// A pattern that is ready to be used.
pub(crate) fn pattern(source: &str) -> Result<Regex, String> {
    let known = COMPILED.with_borrow(|known| known.get(source).cloned());
    if let Some(regex) = known {
        return Ok(regex);
    }
    let rewritten = crate::go_regex::rewrite(source)?;
    let regex = RegexBuilder::new(&rewritten)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(100)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "expression too large".to_string(),
            _ => format!("error parsing regexp: `{source}`"),
        })?;
    COMPILED.with_borrow_mut(|known| {
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(source.to_string(), regex.clone());
    });
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_go() {
        let digits = pattern(r"^\d+$").expect("a pattern");
        assert!(digits.is_match("12") && !digits.is_match("\u{0661}"));
        for bad in ["a{1001}", "(", r"\", "((a{100}){100}){100}", "[a"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
