//! The form of each instruction's flags and arguments.

use super::reader::Reader;
use super::{Copy, Health, Network, Op, Run, parse};
use crate::dockerfile::lines::Line;
use crate::dockerfile::{mounts, words};

impl Reader<'_> {
    pub(super) fn op(&mut self, name: &str) -> Option<Op> {
        Some(match name {
            "FROM" => self.from()?,
            "RUN" => Op::Run(self.run()?),
            "COPY" => Op::Copy(self.copy(false)?),
            "ADD" => Op::Add(self.copy(true)?),
            "ARG" => Op::Arg(self.arg()?),
            "ENV" => Op::Env(self.pairs()?),
            "LABEL" => Op::Label(self.pairs()?),
            // Both may be empty: that resets what was inherited.
            "CMD" => Op::Cmd(self.command()),
            "ENTRYPOINT" => Op::Entrypoint(self.command()),
            "EXPOSE" => Op::Expose(self.needs("a port")?),
            "HEALTHCHECK" => Op::Healthcheck(self.health()?),
            "MAINTAINER" => {
                let hint = "use LABEL org.opencontainers.image.authors=…";
                self.findings.warning(
                    self.place,
                    "maintainer-deprecated",
                    "MAINTAINER is deprecated",
                    hint,
                );
                Op::Maintainer(self.needs("a name")?)
            }
            "ONBUILD" => Op::Onbuild(self.onbuild()?),
            "SHELL" => match words::json(self.rest).filter(|args| !args.is_empty()) {
                Some(args) => Op::Shell(args),
                None => {
                    self.error(
                        "shell",
                        "SHELL takes a JSON array, e.g. [\"/bin/bash\", \"-c\"]",
                    );
                    return None;
                }
            },
            "STOPSIGNAL" => Op::Stopsignal(self.needs("a signal")?),
            "USER" => Op::User(self.needs("a user")?),
            "VOLUME" => {
                let text = self.needs("a path")?;
                Op::Volume(words::json(&text).unwrap_or_else(|| words::split(&text, self.escape)))
            }
            _ => {
                let text = self.needs("a path")?;
                Op::Workdir(text)
            }
        })
    }

    fn from(&mut self) -> Option<Op> {
        let platform = self.take("platform");
        let words = words::split(self.rest, self.escape);
        let (image, name) = match &words[..] {
            [image] => (image.clone(), None),
            [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
                (image.clone(), Some(name.clone()))
            }
            [] => {
                self.error("missing-argument", "needs an image");
                return None;
            }
            _ => {
                self.error("from", "is written FROM image [AS name]");
                return None;
            }
        };
        if let Some(name) = &name {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
                self.error("stage-name", format!("{name:?} is not a stage name"));
            } else if matches!(name.to_ascii_lowercase().as_str(), "scratch" | "context") {
                self.error("reserved-stage-name", format!("{name:?} is reserved"));
            } else if name.chars().any(|c| c.is_ascii_uppercase()) {
                self.findings.warning(
                    self.place,
                    "stage-name-casing",
                    "stage name with capitals",
                    "use lower case",
                );
            }
        }
        Some(Op::From {
            image,
            platform,
            name: name.map(|n| n.to_ascii_lowercase()),
        })
    }

    fn run(&mut self) -> Option<Run> {
        let mounts = self.take_all("mount");
        let network = match self.take("network").as_deref() {
            None | Some("default") => Network::Default,
            Some("none") => Network::None,
            Some("host") => Network::Host,
            Some(other) => {
                self.error(
                    "network",
                    format!("network is default, none or host, not {other:?}"),
                );
                Network::Default
            }
        };
        if let Some(mode) = self.take("security")
            && mode != "sandbox"
        {
            self.error("security", format!("security mode {mode:?} is not allowed"));
        }
        if self.take("device").is_some() {
            self.error("device", "devices are not given to builds");
        }
        self.needs("a command")?;
        // Checked now with variables left as they are, so that mistakes show before anything runs.
        for flag in &mounts {
            match &flag.value {
                Some(value) if !value.contains('$') => {
                    drop(mounts::parse(value, flag.place, self.findings))
                }
                Some(_) => {}
                None => self
                    .findings
                    .error(flag.place, "mount", "--mount needs a value"),
            }
        }
        Some(Run {
            command: self.command(),
            heredocs: self.heredocs.to_vec(),
            mounts,
            network,
        })
    }

    fn copy(&mut self, add: bool) -> Option<Copy> {
        let mut copy = Copy {
            chown: self.take("chown"),
            chmod: self.take("chmod"),
            link: self.switch("link"),
            parents: self.switch("parents"),
            exclude: self
                .take_all("exclude")
                .into_iter()
                .filter_map(|f| f.value)
                .collect(),
            heredocs: self.heredocs.to_vec(),
            add,
            ..Copy::default()
        };
        if !add {
            copy.from = self.take("from");
        } else {
            for flag in ["checksum", "keep-git-dir", "unpack"] {
                if let Some(found) = self.take_all(flag).pop() {
                    self.findings.error(
                        found.place,
                        "add-remote",
                        format!("--{flag} is for remote sources, which are not supported"),
                    );
                }
            }
        }
        let mut words =
            words::json(self.rest).unwrap_or_else(|| words::split(self.rest, self.escape));
        copy.target = words.pop().unwrap_or_default();
        copy.sources = words.into_iter().filter(|word| !is_heredoc(word)).collect();
        if copy.target.is_empty() || (copy.sources.is_empty() && copy.heredocs.is_empty()) {
            self.error("missing-argument", "needs at least one source and a target");
            return None;
        }
        if add && copy.sources.iter().any(|s| is_remote(s)) {
            self.error(
                "add-remote",
                "ADD from a URL or git is not supported: download it in a RUN step, or put it into the context",
            );
        }
        Some(copy)
    }

    fn arg(&mut self) -> Option<Vec<(String, Option<String>)>> {
        let text = self.needs("a name")?;
        let mut args = Vec::new();
        for word in words::split(&text, self.escape) {
            let (name, value) = word
                .split_once('=')
                .map_or((word.as_str(), None), |(n, v)| (n, Some(v.to_string())));
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            if name.is_empty() || !name.chars().all(plain) {
                self.error("arg", format!("{name:?} is not a variable name"));
                return None;
            }
            args.push((name.to_string(), value));
        }
        Some(args)
    }

    fn health(&mut self) -> Option<Health> {
        let mut health = Health {
            interval: self.duration("interval"),
            timeout: self.duration("timeout"),
            start_period: self.duration("start-period"),
            start_interval: self.duration("start-interval"),
            ..Health::default()
        };
        if let Some(text) = self.take("retries") {
            match text.parse() {
                Ok(retries) => health.retries = retries,
                Err(_) => self.error("healthcheck", format!("retries is a number, not {text:?}")),
            }
        }
        let keyword = self
            .rest
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match keyword.as_str() {
            "NONE" => health.none = true,
            "CMD" => {
                self.rest = self.rest[3..].trim_start();
                self.needs("a command")?;
                health.command = Some(self.command());
            }
            _ => {
                self.error(
                    "healthcheck",
                    "is written HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE",
                );
                return None;
            }
        }
        Some(health)
    }

    fn duration(&mut self, flag: &str) -> u64 {
        let Some(text) = self.take(flag) else {
            return 0;
        };
        duration_ns(&text).unwrap_or_else(|| {
            self.error(
                "healthcheck",
                format!("{flag} is a duration such as 30s, not {text:?}"),
            );
            0
        })
    }

    // Kept as text in the image; checked now.
    fn onbuild(&mut self) -> Option<String> {
        let text = self.needs("an instruction")?;
        let inner = text
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        if matches!(inner.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
            self.error("onbuild", format!("ONBUILD may not hold {inner}"));
            return None;
        }
        if !self.heredocs.is_empty() {
            self.error("onbuild", "ONBUILD with here-documents is not supported");
            return None;
        }
        let line = Line {
            place: self.place,
            text: text.clone(),
            heredocs: Vec::new(),
        };
        parse(&line, self.escape, self.findings).map(|_| text)
    }
}

fn is_heredoc(word: &str) -> bool {
    word.starts_with("<<") && !word.starts_with("<<<")
}

fn is_remote(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    lower.contains("://") || lower.starts_with("git@")
}

/// A duration as Go writes it: `1h2m3.5s`, `500ms`.
fn duration_ns(text: &str) -> Option<u64> {
    let (mut total, mut rest) = (0f64, text);
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * factor;
        rest = &rest[unit..];
    }
    (total < 1e18).then_some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration_ns("30s"), Some(30_000_000_000));
        assert_eq!(duration_ns("1m30s"), Some(90_000_000_000));
        assert_eq!(duration_ns("1.5s"), Some(1_500_000_000));
        assert_eq!(
            (duration_ns("30"), duration_ns(""), duration_ns("x")),
            (None, None, None)
        );
    }
}
