//! Texts that come again and again, each kept once: names of attributes, operations and services,
//! of which every span brings some.

use crate::keyed::Fingerprint;
use std::cell::RefCell;
use std::sync::Arc;

/// How many are known to a thread, each at one place: what falls on it next takes it over.
const PLACES: usize = 512;
/// Longer ones hardly come again.
const LONGEST: usize = 64;

struct Texts {
    fingerprint: Fingerprint,
    known: Vec<Arc<str>>,
}

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        let hash = self.fingerprint.of([text.as_bytes()]);
        let place = &mut self.known[hash as usize % PLACES];
        if **place != *text {
            *place = Arc::from(text);
        }
        Arc::clone(place)
    }
}

thread_local! {
    static KNOWN: RefCell<Texts> = RefCell::new(Texts {
        fingerprint: Fingerprint::default(),
        known: vec![Arc::default(); PLACES],
    });
}

/// A text, without taking memory for one that this thread has met lately.
pub fn shared(text: &str) -> Arc<str> {
    match text.len() {
        0 => Arc::default(),
        1..=LONGEST => KNOWN.with_borrow_mut(|known| known.shared(text)),
        _ => Arc::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, shared};
    use std::sync::Arc;

    #[test]
    fn what_comes_again_is_the_same() {
        let first = shared("http.route");
        assert!(Arc::ptr_eq(&first, &shared("http.route")));
        assert!(Arc::ptr_eq(&shared(""), &shared("")));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(*shared(&long), *long);
    }

    #[test]
    fn what_falls_together_is_told_apart() {
        for round in 0..3 {
            for number in 0..5000 {
                let text = format!("{number}");
                assert_eq!(*shared(&text), *text, "{round}");
            }
        }
    }
}
