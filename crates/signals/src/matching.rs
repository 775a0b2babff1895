//! Which series pass a list of matchers: sorted lists of numbers, put together.
//!
//! As upstream has it, a matcher that the empty text passes takes away what has another value, and
//! one that it does not pass keeps what has a value that passes. Regular expressions that are a
//! choice of texts are looked up text by text.

use std::borrow::Cow;

use towpath_query::promql::{MatchOp, Matcher};

/// From labels to series. Lists are in ascending order.
pub(crate) trait Index {
    type Error;

    /// All series.
    fn all(&self) -> Result<Cow<'_, [u32]>, Self::Error>;

    /// The series with this label.
    fn exact(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, Self::Error>;

    /// The series that have this label with a value that is accepted, in any order.
    fn any(
        &self,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<u32>, Self::Error>;

    /// The series that have this label with a value that is accepted, in any order, where it is
    /// cheaper to look at the values of the label than at `among` series; else nothing is told.
    fn by_value(
        &self,
        name: &str,
        among: usize,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Vec<u32>>, Self::Error> {
        let _ = (name, among, accept);
        Ok(None)
    }

    /// Keeps those of some series whose value of a label, empty if they have none, is accepted.
    /// False where looking at each of them does not pay; then nothing is done.
    fn filter(
        &self,
        ids: &mut Vec<u32>,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<bool, Self::Error> {
        let _ = (ids, name, accept);
        Ok(false)
    }
}

/// The series that pass all matchers, in ascending order.
pub(crate) fn select<I: Index>(index: &I, matchers: &[Matcher]) -> Result<Vec<u32>, I::Error> {
    let mut kept: Option<Vec<u32>> = None;
    let (subtract, mut keep): (Vec<_>, Vec<_>) =
        matchers.iter().partition(|matcher| matcher.matches(""));
    // The cheap ones first: with nothing left the others need not be looked at.
    keep.sort_by_key(|matcher| cost(matcher));
    for matcher in keep {
        if let Some(kept) = &mut kept
            && cost(matcher) == DEAR
        {
            let mut accept = |value: &str| passes(matcher, value);
            if let Some(found) = index.by_value(&matcher.name, kept.len(), &mut accept)? {
                *kept = intersect(std::mem::take(kept), &sorted(found)?);
                if kept.is_empty() {
                    return Ok(Vec::new());
                }
                continue;
            }
            if index.filter(kept, &matcher.name, &mut accept)? {
                continue;
            }
        }
        let found = with_value(index, matcher)?;
        kept = Some(match kept {
            None => found.into_owned(),
            Some(kept) => intersect(kept, &found),
        });
        if kept.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
    }
    let mut kept = match kept {
        Some(kept) => kept,
        None => index.all()?.into_owned(),
    };
    for matcher in subtract {
        if kept.is_empty() {
            break;
        }
        let anything = matcher.op == MatchOp::Regex && matcher.value == ".*";
        let dear = matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex)
            && literals(&matcher.value).is_none();
        if anything {
            continue;
        }
        if dear {
            let mut refuse = |value: &str| !passes(matcher, value);
            if let Some(gone) = index.by_value(&matcher.name, kept.len(), &mut refuse)? {
                kept = difference(kept, &sorted(gone)?);
                continue;
            }
            let mut accept = |value: &str| passes(matcher, value);
            if index.filter(&mut kept, &matcher.name, &mut accept)? {
                continue;
            }
        }
        let gone = without(index, matcher)?;
        kept = difference(kept, &gone);
    }
    Ok(kept)
}

/// Whether a value passes; what any text or any but the empty one passes needs no expression.
fn passes(matcher: &Matcher, value: &str) -> bool {
    match (matcher.op, matcher.value.as_str()) {
        (MatchOp::Regex, ".+") => !value.is_empty(),
        (MatchOp::Regex, ".*") => true,
        _ => matcher.matches(value),
    }
}

/// What may need a look at every value.
const DEAR: u8 = 2;

fn cost(matcher: &Matcher) -> u8 {
    match matcher.op {
        MatchOp::Equal => 0,
        MatchOp::Regex if literals(&matcher.value).is_some() => 1,
        _ => DEAR,
    }
}

/// The series whose value passes, of a matcher that the empty text does not pass.
fn with_value<'i, I: Index>(index: &'i I, matcher: &Matcher) -> Result<Cow<'i, [u32]>, I::Error> {
    match matcher.op {
        MatchOp::Equal => index.exact(&matcher.name, &matcher.value),
        MatchOp::Regex => match literals(&matcher.value) {
            Some(texts) => each(index, &matcher.name, &texts),
            None => sorted(index.any(&matcher.name, &mut |value| passes(matcher, value))?),
        },
        _ => sorted(index.any(&matcher.name, &mut |value| passes(matcher, value))?),
    }
}

/// The series whose value does not pass, of a matcher that the empty text passes.
fn without<'i, I: Index>(index: &'i I, matcher: &Matcher) -> Result<Cow<'i, [u32]>, I::Error> {
    match matcher.op {
        MatchOp::NotEqual => index.exact(&matcher.name, &matcher.value),
        MatchOp::NotRegex => match literals(&matcher.value) {
            Some(texts) => each(index, &matcher.name, &texts),
            None => sorted(index.any(&matcher.name, &mut |value| !matcher.matches(value))?),
        },
        _ => sorted(index.any(&matcher.name, &mut |value| !matcher.matches(value))?),
    }
}

fn sorted<E>(mut list: Vec<u32>) -> Result<Cow<'static, [u32]>, E> {
    if !list.is_sorted() {
        list.sort_unstable();
    }
    Ok(Cow::Owned(list))
}

fn each<'i, I: Index>(
    index: &'i I,
    name: &str,
    values: &[String],
) -> Result<Cow<'i, [u32]>, I::Error> {
    let mut out = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        out.extend_from_slice(&index.exact(name, value)?);
    }
    sorted(out)
}

fn intersect(mut a: Vec<u32>, b: &[u32]) -> Vec<u32> {
    let mut rest = b;
    a.retain(|id| {
        rest = skip(rest, *id);
        rest.first() == Some(id)
    });
    a
}

fn difference(mut a: Vec<u32>, b: &[u32]) -> Vec<u32> {
    let mut rest = b;
    a.retain(|id| {
        rest = skip(rest, *id);
        rest.first() != Some(id)
    });
    a
}

/// The list from the first number on that is not below `id`, found in growing steps.
fn skip(list: &[u32], id: u32) -> &[u32] {
    let mut step = 1;
    while step < list.len() && list[step] < id {
        step *= 2;
    }
    let end = list.len().min(step + 1);
    let begin = step / 2;
    let at = begin + list[begin.min(end)..end].partition_point(|own| *own < id);
    &list[at..]
}

/// The most texts a regular expression is taken apart into.
const LITERALS: usize = 256;

/// The texts a regular expression matches, where these are few; none where it says more.
pub(crate) fn literals(pattern: &str) -> Option<Vec<String>> {
    let mut rest = pattern.chars().peekable();
    let found = alternatives(&mut rest, 0)?;
    if rest.next().is_some() {
        return None;
    }
    let mut found = found;
    found.sort_unstable();
    found.dedup();
    Some(found)
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn alternatives(rest: &mut Rest<'_>, depth: usize) -> Option<Vec<String>> {
    if depth > 8 {
        return None;
    }
    let mut all = Vec::new();
    let mut now = vec![String::new()];
    loop {
        match rest.peek().copied() {
            None | Some(')') => {
                all.append(&mut now);
                return (all.len() <= LITERALS).then_some(all);
            }
            Some('|') => {
                rest.next();
                all.append(&mut now);
                if all.len() > LITERALS {
                    return None;
                }
                now = vec![String::new()];
            }
            Some(_) => {
                let part = part(rest, depth)?;
                if matches!(rest.peek(), Some('*' | '+' | '?' | '{')) {
                    return None;
                }
                if now.len() * part.len() > LITERALS {
                    return None;
                }
                now = now
                    .iter()
                    .flat_map(|head| part.iter().map(move |tail| format!("{head}{tail}")))
                    .collect();
            }
        }
    }
}

fn part(rest: &mut Rest<'_>, depth: usize) -> Option<Vec<String>> {
    let letter = rest.next()?;
    match letter {
        '(' => {
            if rest.peek() == Some(&'?') {
                rest.next();
                if rest.next()? != ':' {
                    return None;
                }
            }
            let inside = alternatives(rest, depth + 1)?;
            (rest.next()? == ')').then_some(inside)
        }
        '\\' => {
            let escaped = rest.next()?;
            let plain = escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>');
            plain.then(|| vec![escaped.to_string()])
        }
        '.' | '*' | '+' | '?' | '[' | ']' | '{' | '}' | '^' | '$' | '|' | ')' => None,
        plain => Some(vec![plain.to_string()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn choices_become_texts() {
        let of = |pattern: &str| literals(pattern).map(|texts| texts.join(","));
        assert_eq!(of("a|b"), Some("a,b".into()));
        assert_eq!(
            of("node-(1|2)\\.example"),
            Some("node-1.example,node-2.example".into())
        );
        assert_eq!(of("(?:x|y(z|)|)"), Some(",x,y,yz".into()));
        assert_eq!(of(""), Some(String::new()));
        for no in [
            "a.*", "a+", "[ab]", "(?i)a", "a{2}", "^a", "\\d", "(a", "a)",
        ] {
            assert_eq!(of(no), None, "{no}");
        }
    }

    /// Labels of series, by their places.
    struct Plain {
        series: Vec<Vec<(&'static str, String)>>,
        by_value: bool,
        filters: bool,
    }

    fn value<'s>(series: &'s [(&'static str, String)], name: &str) -> &'s str {
        let found = series.iter().find(|(own, _)| *own == name);
        found.map_or("", |(_, value)| value)
    }

    impl Index for Plain {
        type Error = std::convert::Infallible;

        fn all(&self) -> Result<Cow<'_, [u32]>, Self::Error> {
            Ok((0..self.series.len() as u32).collect())
        }

        fn exact(&self, name: &str, wanted: &str) -> Result<Cow<'_, [u32]>, Self::Error> {
            sorted(self.any(name, &mut |value| value == wanted)?)
        }

        fn any(
            &self,
            name: &str,
            accept: &mut dyn FnMut(&str) -> bool,
        ) -> Result<Vec<u32>, Self::Error> {
            let all = (0..self.series.len() as u32).zip(&self.series).rev();
            let has = all.filter(|(_, one)| !value(one, name).is_empty());
            let found = has.filter(|(_, one)| accept(value(one, name)));
            Ok(found.map(|(id, _)| id).collect())
        }

        fn by_value(
            &self,
            name: &str,
            _: usize,
            accept: &mut dyn FnMut(&str) -> bool,
        ) -> Result<Option<Vec<u32>>, Self::Error> {
            let found = self.by_value.then(|| self.any(name, accept));
            found.transpose()
        }

        fn filter(
            &self,
            ids: &mut Vec<u32>,
            name: &str,
            accept: &mut dyn FnMut(&str) -> bool,
        ) -> Result<bool, Self::Error> {
            if self.filters {
                ids.retain(|id| accept(value(&self.series[*id as usize], name)));
            }
            Ok(self.filters)
        }
    }

    proptest! {
        #[test]
        fn each_way_finds_the_same(
            series in prop::collection::vec(("[xy]?", "[xyz]{0,2}", "[xy]{0,1}"), 0..30),
            matchers in prop::collection::vec(
                ("[abc]", 0usize..4, prop_oneof!["[xyz]{0,2}", "[xyz.]{1,2}[*+]?", "x|y|"]),
                1..4,
            ),
            ways: (bool, bool),
        ) {
            let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
            let matchers: Vec<Matcher> = matchers
                .into_iter()
                .filter_map(|(name, op, value)| Matcher::new(name, ops[op], value).ok())
                .collect();
            let series = series.into_iter().map(|(a, b, c)| vec![("a", a), ("b", b), ("c", c)]);
            let index = Plain { series: series.collect(), by_value: ways.0, filters: ways.1 };
            let passes = |one: &[(&'static str, String)]| {
                matchers.iter().all(|matcher| matcher.matches(value(one, &matcher.name)))
            };
            let all = (0u32..).zip(&index.series);
            let wanted: Vec<u32> = all.filter(|(_, one)| passes(one)).map(|(id, _)| id).collect();
            let Ok(found) = select(&index, &matchers);
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn texts_are_what_the_expression_matches(pattern in "[ab|()\\\\.]{0,10}", text in "[ab.|]{0,5}") {
            if let (Some(texts), Ok(matcher)) = (
                literals(&pattern),
                Matcher::new("x", MatchOp::Regex, pattern.clone()),
            ) {
                prop_assert_eq!(texts.contains(&text), matcher.matches(&text));
                prop_assert!(texts.iter().all(|text| matcher.matches(text)));
            }
        }

        #[test]
        fn lists_are_put_together(
            a in prop::collection::btree_set(0u32..200, 0..60),
            b in prop::collection::btree_set(0u32..200, 0..60),
        ) {
            let (left, right): (Vec<u32>, Vec<u32>) =
                (a.iter().copied().collect(), b.iter().copied().collect());
            let both: Vec<u32> = a.intersection(&b).copied().collect();
            let only: Vec<u32> = a.difference(&b).copied().collect();
            prop_assert_eq!(intersect(left.clone(), &right), both);
            prop_assert_eq!(difference(left, &right), only);
        }
    }
}
