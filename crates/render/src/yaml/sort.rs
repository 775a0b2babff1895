//! Natural order of keys: `a2` before `a10`, letters after everything else.

use std::cmp::Ordering;

/// Compares two keys as the Go YAML encoder does.
pub fn natural(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        return compare(left.as_bytes(), right.as_bytes(), |b| u32::from(*b));
    }
    let (l, r): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    compare(&l, &r, |c| *c as u32)
}

fn compare<T>(left: &[T], right: &[T], code: impl Fn(&T) -> u32) -> Ordering {
    let letter = |c: u32| char::from_u32(c).is_some_and(char::is_alphabetic);
    let digit = |c: u32| (0x30..=0x39).contains(&c);
    for at in 0..left.len().min(right.len()) {
        let (l, r) = (code(&left[at]), code(&right[at]));
        if l == r {
            continue;
        }
        match (letter(l), letter(r)) {
            (true, true) => return l.cmp(&r),
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => {}
        }
        // A zero that follows other digits counts as part of their number.
        let (mut ln, mut rn) = (0i64, 0i64);
        if l == 0x30 || r == 0x30 {
            let before = left[..at].iter().rev().map(&code).take_while(|&c| digit(c));
            if before.into_iter().any(|c| c != 0x30) {
                (ln, rn) = (1, 1);
            }
        }
        let number = |from: &[T], start: i64| {
            from.iter().map(&code).take_while(|&c| digit(c)).fold(
                (start, 0usize),
                |(n, count), c| {
                    (
                        n.wrapping_mul(10).wrapping_add(i64::from(c) - 0x30),
                        count + 1,
                    )
                },
            )
        };
        let (lv, lc) = number(&left[at..], ln);
        let (rv, rc) = number(&right[at..], rn);
        return lv.cmp(&rv).then(lc.cmp(&rc)).then(l.cmp(&r));
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_and_letters_come_last() {
        let mut keys = vec!["a10", "a2", "b", "a", "1", "a.b", "A", "a/b", "a01"];
        keys.sort_by(|l, r| natural(l, r));
        assert_eq!(keys, ["1", "A", "a", "a.b", "a/b", "a01", "a2", "a10", "b"]);
    }
}
