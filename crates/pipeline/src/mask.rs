//! Masking: secrets, each of their lines and their usual encodings become `***` before a byte
//! of a step's output is stored or sent.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::collections::BTreeSet;

const MASK: &[u8] = b"***";

/// The texts to hide.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    // By first byte, longest first.
    forms: Vec<Vec<Vec<u8>>>,
    known: BTreeSet<Vec<u8>>,
    longest: usize,
}

impl Masker {
    /// A masker for some values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut masker = Self::default();
        values.into_iter().for_each(|v| masker.add(v));
        masker
    }

    /// Adds a value with its forms.
    pub fn add(&mut self, value: &str) {
        for form in forms(value) {
            if self.known.insert(form.clone()) {
                self.longest = self.longest.max(form.len());
                if self.forms.is_empty() {
                    self.forms = vec![Vec::new(); 256];
                }
                let bucket = &mut self.forms[usize::from(form[0])];
                bucket.push(form);
                bucket.sort_by_key(|f| std::cmp::Reverse(f.len()));
            }
        }
    }

    /// Longest form, bytes; what a stream has to hold back.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Masks a whole text.
    pub fn mask(&self, text: &[u8]) -> Vec<u8> {
        let covered = self.covered(text);
        render(text, &covered)
    }

    /// Masks text.
    pub fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }

    /// Whether the text contains something to hide.
    pub fn hits(&self, text: &str) -> bool {
        !self.covered(text.as_bytes()).is_empty()
    }

    // Ranges that are covered by at least one form, merged, so that overlapping secrets leave
    // nothing of either.
    fn covered(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        if self.forms.is_empty() {
            return ranges;
        }
        for start in 0..text.len() {
            let rest = &text[start..];
            let Some(form) = self.forms[usize::from(rest[0])]
                .iter()
                .find(|f| rest.starts_with(f))
            else {
                continue;
            };
            let end = start + form.len();
            match ranges.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => ranges.push((start, end)),
            }
        }
        ranges
    }
}

fn render(text: &[u8], covered: &[(usize, usize)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in covered {
        out.extend_from_slice(&text[at..*start]);
        out.extend_from_slice(MASK);
        at = *end;
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// Masks a stream of chunks: a secret cut in two by a chunk's end is still found.
#[derive(Debug, Default)]
pub struct Stream {
    held: Vec<u8>,
}

impl Stream {
    /// Takes a chunk, returns what may go out.
    pub fn push(&mut self, masker: &Masker, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let covered = masker.covered(&self.held);
        // A form that starts in the tail may go on in the next chunk.
        let tail = masker.longest().saturating_sub(1);
        let mut safe = self.held.len().saturating_sub(tail);
        if let Some((start, _)) = covered
            .iter()
            .find(|(start, end)| *start < safe && *end > safe)
        {
            safe = *start;
        }
        let ready: Vec<(usize, usize)> = covered
            .into_iter()
            .filter(|(_, end)| *end <= safe)
            .collect();
        let rest = self.held.split_off(safe);
        let out = render(&self.held, &ready);
        self.held = rest;
        out
    }

    /// The rest.
    pub fn finish(&mut self, masker: &Masker) -> Vec<u8> {
        masker.mask(&std::mem::take(&mut self.held))
    }
}

// The value, its lines, and for each: base64 at the three alignments, URL, JSON and hex forms.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut texts: Vec<&str> = vec![value, value.trim()];
    if value.contains(['\n', '\r']) {
        texts.extend(value.split(['\n', '\r']).map(str::trim));
    }
    let mut out = BTreeSet::new();
    for text in texts.into_iter().filter(|t| !t.is_empty()) {
        out.insert(text.as_bytes().to_vec());
        // Encodings of very short texts would hide ordinary words.
        if text.len() < 4 {
            continue;
        }
        for engine in [&STANDARD, &URL_SAFE] {
            out.insert(
                engine
                    .encode(text)
                    .trim_end_matches('=')
                    .as_bytes()
                    .to_vec(),
            );
            for shift in 0..3 {
                let mut padded = vec![0u8; shift];
                padded.extend_from_slice(text.as_bytes());
                let encoded = engine.encode(&padded);
                let encoded = encoded.trim_end_matches('=');
                // Characters that mix in a neighbouring byte are not stable.
                let from = (shift * 8).div_ceil(6);
                let to = padded.len() * 8 / 6;
                if to > from + 4 {
                    out.insert(encoded.as_bytes()[from..to].to_vec());
                }
            }
        }
        let url: String = text
            .bytes()
            .map(|b| match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(b).to_string()
                }
                b => format!("%{b:02X}"),
            })
            .collect();
        out.insert(url.into_bytes());
        if let Ok(json) = serde_json::to_string(text) {
            out.insert(json.as_bytes()[1..json.len() - 1].to_vec());
        }
        let hex = towpath_stdx::id::hex(text.as_bytes());
        out.insert(hex.to_uppercase().into_bytes());
        out.insert(hex.into_bytes());
    }
    out.into_iter().filter(|f| !f.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_are_hidden() {
        let masker = Masker::new(["s3cr&t \"value\"", "two\nlines-here"]);
        for text in [
            "s3cr&t \"value\"",
            "s3cr%26t%20%22value%22",
            "s3cr&t \\\"value\\\"",
            "lines-here",
            &STANDARD.encode("s3cr&t \"value\""),
            &STANDARD.encode("x:s3cr&t \"value\"-tail"),
            &STANDARD.encode("xy:s3cr&t \"value\"-tail"),
            &towpath_stdx::id::hex(b"s3cr&t \"value\""),
        ] {
            let out = masker.mask_text(&format!("a {text} b"));
            assert!(out.contains("***"), "{text} -> {out}");
        }
        assert_eq!(masker.mask_text("nothing here"), "nothing here");
    }

    #[test]
    fn overlapping_secrets_leave_nothing() {
        let masker = Masker::new(["abcdef", "defghi"]);
        assert_eq!(masker.mask_text("-abcdefghi-"), "-***-");
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(
            secret in "[a-c]{4,8}",
            text in "[a-d]{0,60}",
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let masker = Masker::new([secret.as_str()]);
            let whole = masker.mask(text.as_bytes());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut stream = Stream::default();
            let mut out = Vec::new();
            let mut at = 0;
            for cut in cuts {
                out.extend(stream.push(&masker, &text.as_bytes()[at..cut]));
                at = cut;
            }
            out.extend(stream.finish(&masker));
            prop_assert_eq!(out, whole);
        }
    }
}
