//! What a push may do to a ref: one pure function over the command, the repository's rules and
//! the pusher.

use crate::names::{ZERO, is_id, is_ref};
use towpath_kit::kinds::ProtectedRef;

/// One ref update that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) ref_name: String,
}

/// The answer. Messages name the rule and the way on; they end up in the push's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    /// Only if the new commit contains the old one; else refused with this message.
    Forward(String),
    Deny(String),
}

/// Decides one command.
pub(crate) fn decide(command: &Command, rules: &[ProtectedRef], pusher: &str) -> Verdict {
    let name = command.ref_name.as_str();
    if !is_ref(name) || !is_id(&command.old) || !is_id(&command.new) {
        return Verdict::Deny("towpath: malformed ref or commit id".into());
    }
    if name.starts_with("refs/heads/env/") {
        return Verdict::Deny(format!(
            "towpath: {name}: branches under env/ are written by the server only; deploy with `towpath promote`, go back with `towpath rollback`"
        ));
    }
    if !["refs/heads/", "refs/tags/", "refs/notes/"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Verdict::Deny(format!(
            "towpath: {name}: only refs/heads/, refs/tags/ and refs/notes/ can be pushed"
        ));
    }
    let Some(rule) = rule_for(name, rules) else {
        return Verdict::Allow;
    };
    let pattern = &rule.pattern;
    if !rule.pushers.is_empty() && !rule.pushers.iter().any(|allowed| allowed == pusher) {
        return Verdict::Deny(format!(
            "towpath: {name}: rule {pattern} lets only {} push; push another branch, or ask one of them",
            rule.pushers.join(", ")
        ));
    }
    if command.new == ZERO {
        if rule.allow_delete {
            return Verdict::Allow;
        }
        return Verdict::Deny(format!(
            "towpath: {name}: rule {pattern} forbids deletion; set allowDelete on the rule if it must go"
        ));
    }
    if command.old == ZERO || rule.allow_force {
        return Verdict::Allow;
    }
    Verdict::Forward(format!(
        "towpath: {name}: rule {pattern} forbids rewriting history; merge or rebase onto the branch, then push without --force"
    ))
}

/// The rule that applies: of those that match, the one with the most literal characters.
fn rule_for<'a>(name: &str, rules: &'a [ProtectedRef]) -> Option<&'a ProtectedRef> {
    let literal = |rule: &&ProtectedRef| {
        let wild = rule.pattern.bytes().any(|b| matches!(b, b'*' | b'?'));
        (
            !wild,
            rule.pattern
                .bytes()
                .filter(|b| !matches!(b, b'*' | b'?'))
                .count(),
        )
    };
    rules
        .iter()
        .filter(|rule| matches(rule.pattern.as_bytes(), name.as_bytes()))
        .max_by_key(literal)
}

// `*` any run within one part, `?` one character of it. Linear in both, remembering one star.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') if text[t] != b'/' => (p, t) = (p + 1, t + 1),
            Some(&literal) if literal == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) if text[from] != b'/' => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Allow => "allow",
            Verdict::Forward(_) => "forward",
            Verdict::Deny(_) => "deny",
        }
    }

    #[test]
    fn rules_decide_by_the_most_specific_pattern() {
        let rule = |pattern: &str, force, delete, pushers: &[&str]| ProtectedRef {
            pattern: pattern.into(),
            allow_force: force,
            allow_delete: delete,
            pushers: pushers.iter().map(ToString::to_string).collect(),
        };
        let rules = [
            rule("refs/heads/*", true, true, &[]),
            rule("refs/heads/main", false, false, &[]),
            rule("refs/heads/release/*", false, true, &["ann"]),
            rule("refs/tags/v*", false, false, &[]),
        ];
        for (name, old, new, pusher, expected) in [
            ("refs/heads/main", A, B, "ann", "forward"),
            ("refs/heads/main", ZERO, B, "ann", "allow"),
            ("refs/heads/main", A, ZERO, "ann", "deny"),
            ("refs/heads/topic", A, B, "bob", "allow"),
            ("refs/heads/topic", A, ZERO, "bob", "allow"),
            ("refs/heads/release/1", A, B, "ann", "forward"),
            ("refs/heads/release/1", A, B, "bob", "deny"),
            ("refs/heads/release/1", A, ZERO, "ann", "allow"),
            ("refs/heads/a/b", A, B, "bob", "allow"),
            ("refs/tags/v1", A, B, "ann", "forward"),
            ("refs/tags/v1", A, ZERO, "ann", "deny"),
            ("refs/heads/env/dev", A, B, "ann", "deny"),
            ("refs/heads/env/a/b", ZERO, B, "ann", "deny"),
            ("refs/pull/1/head", ZERO, B, "ann", "deny"),
            ("refs/towpath/x", ZERO, B, "ann", "deny"),
            ("refs/heads/a\tb", ZERO, B, "ann", "deny"),
            ("HEAD", A, B, "ann", "deny"),
        ] {
            let command = Command {
                old: old.into(),
                new: new.into(),
                ref_name: name.into(),
            };
            assert_eq!(
                word(&decide(&command, &rules, pusher)),
                expected,
                "{name} {old:.4} {new:.4} {pusher}"
            );
        }
    }

    #[test]
    fn stars_do_not_cross_parts() {
        for (pattern, text, expected) in [
            ("refs/heads/*", "refs/heads/a", true),
            ("refs/heads/*", "refs/heads/a/b", false),
            ("refs/heads/*/b", "refs/heads/a/b", true),
            ("refs/heads/a*b*c", "refs/heads/axxbyyc", true),
            ("refs/heads/a*b*c", "refs/heads/axx/byyc", false),
            ("refs/heads/v?", "refs/heads/v1", true),
            ("refs/heads/v?", "refs/heads/v12", false),
            ("*", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest! {
        #[test]
        fn matching_ends(pattern in "[a*?/]{0,40}", text in "[a/]{0,60}") {
            let _ = matches(pattern.as_bytes(), text.as_bytes());
        }
    }
}
