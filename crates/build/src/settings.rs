//! Instructions that change only the configuration.

use crate::dockerfile::expand;
use crate::dockerfile::instruction::Health;
use crate::dockerfile::stages::platform_args;
use crate::dockerfile::{Command, Op};
use crate::stage::State;
use crate::tree;
use std::collections::BTreeMap;
use towpath_oci::config::{Empty, Healthcheck};

pub(crate) const DEFAULT_PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments that need no declaration, do not show in history and do not count for the cache.
pub(crate) const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Applies an instruction; the error is a sentence about its values.
pub(crate) fn apply(
    state: &mut State,
    op: &Op,
    escape: char,
    given: &BTreeMap<String, String>,
    globals: &BTreeMap<String, Option<String>>,
) -> Result<(), String> {
    match op {
        Op::Arg(pairs) => return arg(state, pairs, escape, given, globals),
        Op::Env(pairs) => {
            // All values on one line see the state before it.
            let before = state.clone_variables();
            let lookup = |name: &str| before.get(name);
            for (key, value) in pairs {
                let key = expand::word(key, escape, &lookup)?;
                let value = expand::word(value, escape, &lookup)?;
                set_env(state.image.config.env.get_or_insert_default(), &key, &value);
            }
        }
        Op::Label(pairs) => {
            for (key, value) in pairs {
                let (key, value) = (state.word(key, escape)?, state.word(value, escape)?);
                state
                    .image
                    .config
                    .labels
                    .get_or_insert_default()
                    .insert(key, value);
            }
        }
        Op::Cmd(command) => {
            state.image.config.cmd = Some(state.args_of(command));
            state.cmd_set = true;
        }
        Op::Entrypoint(command) => {
            let args = state.args_of(command);
            state.image.config.entrypoint = if args.is_empty() { None } else { Some(args) };
            // Arguments that were meant for the inherited program mean nothing to this one.
            if !state.cmd_set {
                state.image.config.cmd = None;
            }
        }
        Op::Expose(text) => {
            for word in state.words(text, escape)? {
                for port in ports(&word)? {
                    state
                        .image
                        .config
                        .exposed_ports
                        .get_or_insert_default()
                        .insert(port, Empty {});
                }
            }
        }
        Op::Healthcheck(health) => {
            state.image.config.healthcheck = Some(healthcheck(state, health));
        }
        Op::Maintainer(name) => state.image.author = Some(name.clone()),
        Op::Onbuild(text) => state
            .image
            .config
            .on_build
            .get_or_insert_default()
            .push(text.clone()),
        Op::Shell(args) => state.image.config.shell = Some(args.clone()),
        Op::Stopsignal(text) => {
            let signal = state.word(text, escape)?;
            if signal.is_empty()
                || !signal
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-'))
            {
                return Err(format!("{signal:?} is not a signal"));
            }
            state.image.config.stop_signal = Some(signal);
        }
        Op::User(text) => state.image.config.user = state.word(text, escape)?,
        Op::Volume(paths) => {
            for path in paths {
                let path = state.word(path, escape)?;
                if path.is_empty() {
                    return Err("a volume needs a path".into());
                }
                state
                    .image
                    .config
                    .volumes
                    .get_or_insert_default()
                    .insert(path, Empty {});
            }
        }
        Op::Workdir(text) => {
            let path = state.word(text, escape)?;
            if path.is_empty() {
                return Err("a working directory needs a path".into());
            }
            state.image.config.working_dir = tree::absolute(&state.image.config.working_dir, &path);
        }
        Op::Run(_) | Op::Copy(_) | Op::Add(_) | Op::From { .. } => {}
    }
    Ok(())
}

fn arg(
    state: &mut State,
    pairs: &[(String, Option<String>)],
    escape: char,
    given: &BTreeMap<String, String>,
    globals: &BTreeMap<String, Option<String>>,
) -> Result<(), String> {
    for (name, default) in pairs {
        let default = match default {
            Some(text) => Some(state.word(text, escape)?),
            None => None,
        };
        let value = given
            .get(name)
            .cloned()
            .or(default)
            .or_else(|| globals.get(name).cloned().flatten())
            .or_else(|| platform_args().get(name).cloned());
        match value {
            Some(value) => state.args.insert(name.clone(), value),
            None => state.args.remove(name),
        };
    }
    Ok(())
}

/// Replaces or appends a variable, in place.
pub(crate) fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let entry = format!("{key}={value}");
    let same =
        |held: &&mut String| held.split_once('=').map_or(held.as_str(), |(name, _)| name) == key;
    match env.iter_mut().find(same) {
        Some(held) => *held = entry,
        None => env.push(entry),
    }
}

fn healthcheck(state: &State, health: &Health) -> Healthcheck {
    let test = match &health.command {
        _ if health.none => vec!["NONE".to_string()],
        Some(Command::Exec(args)) => ["CMD".to_string()]
            .into_iter()
            .chain(args.clone())
            .collect(),
        Some(Command::Shell(text)) => vec!["CMD-SHELL".to_string(), text.clone()],
        None => Vec::new(),
    };
    let _ = state;
    Healthcheck {
        test,
        interval: health.interval,
        timeout: health.timeout,
        start_period: health.start_period,
        start_interval: health.start_interval,
        retries: health.retries,
    }
}

// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let bad = || format!("{text:?} is not a port");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    // `ip:host:container` is of `docker run`; only the last part is the image's.
    let range = range.rsplit(':').next().unwrap_or_default();
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let (from, to): (u16, u16) = (
        from.parse().map_err(|_| bad())?,
        to.parse().map_err(|_| bad())?,
    );
    if from == 0 || to < from {
        return Err(bad());
    }
    Ok((from..=to)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges() {
        assert_eq!(ports("80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(ports("53/UDP"), Ok(vec!["53/udp".into()]));
        assert_eq!(ports("1-3").map(|p| p.len()), Ok(3));
        for bad in ["", "x", "0", "70000", "3-1", "80/icmp"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }
}
