//! `RUN --mount=type=…,key=value,…`.

use super::{Findings, Place};

/// Where a bind mount's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountType {
    Bind {
        from: Option<String>,
        source: String,
    },
    Cache {
        id: String,
        from: Option<String>,
        source: String,
        mode: u32,
        uid: u32,
        gid: u32,
        private: bool,
    },
    Tmpfs {
        size_bytes: u64,
    },
    Secret {
        id: String,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
        env: Option<String>,
    },
}

/// One mount of one `RUN`; `target` is as written, relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunMount {
    pub(crate) kind: MountType,
    pub(crate) target: String,
    pub(crate) readonly: bool,
}

/// Reads the value of `--mount`, already expanded.
pub(crate) fn parse(value: &str, place: Place, findings: &mut Findings) -> Option<RunMount> {
    let mut keys: Vec<(String, Option<String>)> = Vec::new();
    for part in value.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, value) = part.split_once('=').map_or((part, None), |(k, v)| {
            (k, Some(v.trim_matches('"').to_string()))
        });
        keys.push((key.to_ascii_lowercase(), value));
    }
    let mut reader = Keys {
        keys,
        place,
        findings,
        bad: false,
    };
    let kind = reader.take(&["type"]).unwrap_or_else(|| "bind".into());
    let mount = reader.mount(&kind);
    reader.rest(&kind);
    if reader.bad { None } else { mount }
}

struct Keys<'a> {
    keys: Vec<(String, Option<String>)>,
    place: Place,
    findings: &'a mut Findings,
    bad: bool,
}

impl Keys<'_> {
    fn mount(&mut self, kind: &str) -> Option<RunMount> {
        let target = self.take(&["target", "dst", "destination"]);
        let readonly = self.flag(&["readonly", "ro"]);
        let writable = self.flag(&["readwrite", "rw"]);
        let from = self.take(&["from"]);
        let source = self.take(&["source", "src"]);
        let need = |this: &mut Self| {
            if target.is_none() {
                this.error(format!("a {kind} mount needs target="));
            }
            target.clone().unwrap_or_default()
        };
        match kind {
            "bind" => {
                let target = need(self);
                let source = source.unwrap_or_default();
                Some(RunMount {
                    kind: MountType::Bind { from, source },
                    target,
                    readonly: !writable,
                })
            }
            "cache" => {
                let target = need(self);
                let sharing = self.take(&["sharing"]).unwrap_or_else(|| "shared".into());
                if !matches!(sharing.as_str(), "shared" | "private" | "locked") {
                    self.error(format!(
                        "sharing is shared, private or locked, not {sharing:?}"
                    ));
                }
                let kind = MountType::Cache {
                    id: self.take(&["id"]).unwrap_or_else(|| target.clone()),
                    from,
                    source: source.unwrap_or_default(),
                    mode: self.octal("mode", 0o755),
                    uid: self.number("uid"),
                    gid: self.number("gid"),
                    private: sharing == "private",
                };
                Some(RunMount {
                    kind,
                    target,
                    readonly,
                })
            }
            "tmpfs" => {
                let target = need(self);
                let size_bytes = match self.take(&["size"]) {
                    Some(text) => size(&text).unwrap_or_else(|| {
                        self.error(format!("{text:?} is not a size"));
                        0
                    }),
                    None => 0,
                };
                Some(RunMount {
                    kind: MountType::Tmpfs { size_bytes },
                    target,
                    readonly: false,
                })
            }
            "secret" => {
                let named = target
                    .as_deref()
                    .and_then(|t| t.rsplit('/').next())
                    .map(str::to_string);
                let id = self.take(&["id"]).or(source).or(named).unwrap_or_default();
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
                    self.error(format!("a secret mount needs an id of letters, digits, '-', '_' and '.', not {id:?}"));
                }
                let env = self.take(&["env"]);
                let kind = MountType::Secret {
                    required: self.flag(&["required"]),
                    mode: self.octal("mode", 0o400),
                    uid: self.number("uid"),
                    gid: self.number("gid"),
                    env: env.clone(),
                    id: id.clone(),
                };
                let target = match (target, env) {
                    (Some(target), _) => target,
                    // Only a variable is wanted.
                    (None, Some(_)) => String::new(),
                    (None, None) => format!("/run/secrets/{id}"),
                };
                Some(RunMount {
                    kind,
                    target,
                    readonly: true,
                })
            }
            "ssh" => {
                self.error("ssh mounts are not supported; give the key as a secret".into());
                None
            }
            other => {
                self.error(format!("mount type {other:?} is not known"));
                None
            }
        }
    }

    fn error(&mut self, message: String) {
        self.bad = true;
        self.findings.error(self.place, "mount", message);
    }

    fn take(&mut self, names: &[&str]) -> Option<String> {
        let at = self
            .keys
            .iter()
            .position(|(key, _)| names.contains(&key.as_str()))?;
        let (key, value) = self.keys.remove(at);
        if value.is_none() {
            self.error(format!("{key} needs a value"));
        }
        value
    }

    // Present without a value, or with a truth value.
    fn flag(&mut self, names: &[&str]) -> bool {
        let Some(at) = self
            .keys
            .iter()
            .position(|(key, _)| names.contains(&key.as_str()))
        else {
            return false;
        };
        let (key, value) = self.keys.remove(at);
        match value.as_deref() {
            None | Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(other) => {
                self.error(format!("{key} is true or false, not {other:?}"));
                false
            }
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        let Some(text) = self.take(&[name]) else {
            return 0;
        };
        text.parse().unwrap_or_else(|_| {
            self.error(format!("{name} is a number, not {text:?}"));
            0
        })
    }

    fn octal(&mut self, name: &str, default: u32) -> u32 {
        let Some(text) = self.take(&[name]) else {
            return default;
        };
        u32::from_str_radix(&text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .unwrap_or_else(|| {
                self.error(format!("{name} is an octal mode, not {text:?}"));
                default
            })
    }

    fn rest(&mut self, kind: &str) {
        for (key, _) in std::mem::take(&mut self.keys) {
            self.error(format!("a {kind} mount has no key {key:?}"));
        }
    }
}

/// `64m`, `1g`, plain bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1u64 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_mistakes() {
        let at = Place { line: 1, column: 1 };
        let mut findings = Findings::new("f");
        let cache = parse(
            "type=cache,target=/var/cache/apt,sharing=locked",
            at,
            &mut findings,
        )
        .expect("cache");
        assert!(
            matches!(&cache.kind, MountType::Cache { id, mode: 0o755, .. } if id == "/var/cache/apt")
        );
        let secret = parse("type=secret,id=token", at, &mut findings).expect("secret");
        assert_eq!(secret.target, "/run/secrets/token");
        assert!(
            parse("from=build,source=/a,target=/b", at, &mut findings)
                .expect("bind")
                .readonly
        );
        assert!(findings.all.is_empty());
        for bad in [
            "type=cache",
            "type=ssh",
            "type=x,target=/a",
            "type=tmpfs,target=/a,colour=red",
            "type=secret,id=../x",
            "type=cache,target=/a,sharing=no",
            "type=cache,target=/a,mode=9",
        ] {
            let before = findings.all.len();
            assert!(parse(bad, at, &mut findings).is_none(), "{bad}");
            assert!(findings.all.len() > before, "{bad}");
        }
    }
}
