//! From a ref's own log to the movements that have not had their runs yet: pure.
//!
//! Git appends to the log of a ref, under the ref's lock, whenever it moves it. A position in
//! that log is the name of a movement: nothing has to be remembered beside it, and a crash
//! between the movement and the run is caught up with at the next look.

use crate::names::ZERO;
use sha2::{Digest, Sha256};
use towpath_kit::kinds::RefStatus;

/// Mail domain of pushers in the log; the part before it is the principal's name, encoded.
pub(crate) const USER: &str = "user.towpath";
/// Mail domain of what the server writes itself; starts no run.
pub(crate) const SERVER: &str = "server.towpath";

/// One line of a ref's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) old: String,
    pub(crate) new: String,
    /// Mail of who moved it.
    pub(crate) mail: String,
    /// Seconds since 1970.
    pub(crate) at: u64,
}

/// A movement to make runs for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    /// Position in the log.
    pub(crate) index: u64,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) at: u64,
    pub(crate) actor: String,
}

/// Parses a log; lines that are none are left out (a torn last line after a power loss).
pub(crate) fn parse(log: &str) -> Vec<Entry> {
    log.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let head = line.split('\t').next()?;
    let (old, rest) = head.split_at_checked(40)?;
    let (new, rest) = rest.strip_prefix(' ')?.split_at_checked(40)?;
    let (ident, time) = rest.rsplit_once("> ")?;
    let mail = ident.rsplit_once('<')?.1;
    let at = time.split(' ').next()?.parse().ok()?;
    let fits = crate::names::is_id(old) && crate::names::is_id(new);
    fits.then(|| Entry {
        old: old.into(),
        new: new.into(),
        mail: mail.into(),
        at,
    })
}

/// What is new on a ref that now points at `tip`, and the status once it is handled.
pub(crate) fn pending(
    log: &[Entry],
    tip: &str,
    seen: Option<&RefStatus>,
) -> (Vec<Movement>, RefStatus) {
    let done = RefStatus {
        sha: tip.into(),
        handled: log.len() as u64,
    };
    let start = match seen {
        Some(seen) => resume(log, tip, seen),
        None => 0,
    };
    let mut movements: Vec<Movement> = log
        .iter()
        .enumerate()
        .skip(start)
        .filter_map(|(index, entry)| {
            Some(Movement {
                index: index as u64,
                before: entry.old.clone(),
                after: entry.new.clone(),
                at: entry.at,
                actor: actor(&entry.mail)?,
            })
        })
        .filter(|movement| movement.after != ZERO && movement.after != movement.before)
        .collect();
    let last = log.last().map(|entry| entry.new.as_str());
    let known = seen.map(|seen| seen.sha.as_str());
    if last != Some(tip) && known != Some(tip) && tip != ZERO {
        // The ref moved but its log was lost with the power: the movement still counts once.
        movements.push(Movement {
            index: log.len() as u64,
            before: last.or(known).unwrap_or(ZERO).into(),
            after: tip.into(),
            at: 0,
            actor: "system:unknown".into(),
        });
    }
    (movements, done)
}

// Where the handled part of the log ends. A log that does not fit what was handled was begun
// anew: the ref was deleted and made again.
fn resume(log: &[Entry], tip: &str, seen: &RefStatus) -> usize {
    let handled = usize::try_from(seen.handled).unwrap_or(usize::MAX);
    let continues = match handled.checked_sub(1).and_then(|last| log.get(last)) {
        Some(last) if last.new == seen.sha => true,
        _ => match log.get(handled) {
            Some(next) => next.old == seen.sha && seen.sha != ZERO,
            None => handled == log.len() && tip == seen.sha,
        },
    };
    if continues { handled } else { 0 }
}

/// Name of the principal behind a mail of ours; `None` for the server's own movements.
pub(crate) fn actor(mail: &str) -> Option<String> {
    match mail.rsplit_once('@') {
        Some((_, SERVER)) => None,
        Some((name, USER)) => Some(decode(name)),
        _ => Some("system:unknown".into()),
    }
}

/// Mail that carries a principal's name through git's rules for identities, which cut and drop
/// characters.
pub(crate) fn mail(principal: &str, domain: &str) -> String {
    let mut text = String::new();
    for byte in principal.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain || (matches!(byte, b':' | b'.') && !text.is_empty()) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    format!("{text}@{domain}")
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Name of the run of a workflow for a movement: the same cause gives the same name. The time
/// in the log tells a ref that was deleted and made again from its former self.
pub(crate) fn run_name(
    repository: &str,
    ref_name: &str,
    movement: &Movement,
    workflow: &str,
) -> String {
    let mut hash = Sha256::new();
    let (index, at) = (movement.index.to_string(), movement.at.to_string());
    for part in [
        ref_name,
        &index,
        &at,
        &movement.before,
        &movement.after,
        workflow,
    ] {
        // With its length, so that no two lists of parts run together to the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = towpath_stdx::id::hex(&hash.finalize()[..5]);
    let short: String = repository
        .chars()
        .take(40)
        .map(|c| if c == '.' { '-' } else { c })
        .collect();
    format!("{}-{digest}", short.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(letter: char) -> String {
        letter.to_string().repeat(40)
    }

    fn line(old: &str, new: &str, who: &str, at: u64) -> String {
        format!("{old} {new} Name <{}> {at} +0000\tpush\n", mail(who, USER))
    }

    #[test]
    fn each_entry_is_handled_once_also_when_a_ref_swings() {
        let (a, b) = (id('a'), id('b'));
        let mut text = line(ZERO, &a, "ann", 1) + &line(&a, &b, "bob", 2);
        let (first, seen) = pending(&parse(&text), &b, None);
        assert_eq!(
            first.iter().map(|m| m.actor.as_str()).collect::<Vec<_>>(),
            ["ann", "bob"]
        );
        assert_eq!(
            seen,
            RefStatus {
                sha: b.clone(),
                handled: 2
            }
        );
        text += &line(&b, &a, "ann", 3);
        text += &line(&a, &b, "ann", 4);
        let (second, seen) = pending(&parse(&text), &b, Some(&seen));
        assert_eq!(second.iter().map(|m| m.index).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(pending(&parse(&text), &b, Some(&seen)).0, []);
        let names: std::collections::BTreeSet<_> = first
            .iter()
            .chain(&second)
            .map(|m| run_name("hello", "refs/heads/main", m, "ci.yml"))
            .collect();
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn a_log_begun_anew_and_a_lost_log_are_noticed() {
        let (a, b) = (id('a'), id('b'));
        let seen = RefStatus {
            sha: b.clone(),
            handled: 7,
        };
        let text = line(ZERO, &a, "ann", 9);
        assert_eq!(
            pending(&parse(&text), &a, Some(&seen)).0.len(),
            1,
            "begun anew"
        );
        let (lost, status) = pending(&[], &a, None);
        assert_eq!((lost.len(), lost[0].actor.as_str()), (1, "system:unknown"));
        assert_eq!(pending(&[], &a, Some(&status)).0, [], "once");
        let next = line(&a, &b, "ann", 10);
        assert_eq!(
            pending(&parse(&next), &b, Some(&status)).0.len(),
            1,
            "and goes on from there"
        );
    }

    #[test]
    fn the_servers_own_commits_start_nothing() {
        let text = format!(
            "{ZERO} {} Towpath <{}> 5 +0000\tx\n",
            id('a'),
            mail("admin", SERVER)
        );
        assert_eq!(pending(&parse(&text), &id('a'), None).0, []);
    }

    proptest! {
        #[test]
        fn names_survive_the_log(name in "[ -~ü]{1,40}") {
            let text = line(ZERO, &id('a'), &name, 1);
            prop_assert_eq!(actor(&parse(&text)[0].mail), Some(name));
        }

        #[test]
        fn logs_never_panic(text in "(?s).{0,300}") {
            let _ = parse(&text);
        }
    }
}
