//! The start of a push: pkt-lines that name the ref updates, up to the flush.
//! `gitprotocol-common` and `gitprotocol-pack`, "Reference Update Request".

use crate::protect::Command;

/// Bound on the command list.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// What a client sent is not the start of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed push request: {0}")]
pub(crate) struct Malformed(&'static str);

/// The commands at the start of `bytes`; `None` where more bytes are needed.
pub(crate) fn commands(bytes: &[u8]) -> Result<Option<Vec<Command>>, Malformed> {
    let mut found = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((head, after)) = rest.split_at_checked(4) else {
            return too_long(bytes);
        };
        let head = std::str::from_utf8(head).map_err(|_| Malformed("line length is no number"))?;
        if !head.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Malformed("line length is no number"));
        }
        let length =
            usize::from_str_radix(head, 16).map_err(|_| Malformed("line length is no number"))?;
        match length {
            0 => return Ok(Some(found)),
            1..=4 => return Err(Malformed("reserved line length")),
            _ => {}
        }
        let Some((line, after)) = after.split_at_checked(length - 4) else {
            return too_long(bytes);
        };
        rest = after;
        // The first line carries the client's capabilities behind a NUL.
        let line = line.split(|&b| b == 0).next().unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| Malformed("ref name is not UTF-8"))?;
        if line.starts_with("shallow ") {
            continue;
        }
        if line.starts_with("push-cert") {
            return Err(Malformed("signed pushes are not offered"));
        }
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(old), Some(new), Some(name)) => {
                found.push(Command {
                    old: old.into(),
                    new: new.into(),
                    ref_name: name.into(),
                });
            }
            _ => return Err(Malformed("a command is not `old new ref`")),
        }
    }
}

fn too_long(bytes: &[u8]) -> Result<Option<Vec<Command>>, Malformed> {
    if bytes.len() > MAX_BYTES {
        Err(Malformed("more than 1 MiB of ref updates"))
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_read_up_to_the_flush() {
        let zero = crate::names::ZERO;
        let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
        let first = line(&format!(
            "{zero} {} refs/heads/main\0report-status atomic",
            "a".repeat(40)
        ));
        let second = line(&format!("{} {zero} refs/heads/old\n", "b".repeat(40)));
        let whole = format!("{first}{second}0000PACK…");
        let found = commands(whole.as_bytes())
            .expect("well-formed")
            .expect("complete");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].ref_name, "refs/heads/main");
        assert_eq!(found[1].new, zero);
        assert_eq!(commands(b"0000"), Ok(Some(vec![])));
        assert_eq!(commands(&whole.as_bytes()[..60]), Ok(None));
        for bad in ["0001", "zzzz", "+123", "0008abcd0000", "000cpush-cert"] {
            assert!(commands(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[0-9a-f]{4}[ -~]{0,60}") {
            let _ = commands(&bytes);
            let _ = commands(text.as_bytes());
        }
    }
}
