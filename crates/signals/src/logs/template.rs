//! What a line has in common with others.

use super::tokens::is_word;

/// The line with `<_>` in the place of every word that has a digit.
pub fn template(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let bytes = rest.as_bytes();
        let other = bytes.iter().take_while(|byte| !is_word(**byte)).count();
        out.push_str(&rest[..other]);
        rest = &rest[other..];
        let length = rest.bytes().take_while(|byte| is_word(*byte)).count();
        let word = &rest[..length];
        if word.bytes().any(|byte| byte.is_ascii_digit()) {
            out.push_str("<_>");
        } else {
            out.push_str(word);
        }
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_with_digits_go() {
        let line = "took 12ms from 10.0.0.1 for é2";
        assert_eq!(
            super::template(line),
            "took <_> from <_>.<_>.<_>.<_> for <_>"
        );
    }
}
