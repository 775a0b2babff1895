//! What a distribution installed: dpkg's `status`, apk's `installed`.

use super::Distribution;
use crate::Package;

/// Installed packages of dpkg.
pub(super) fn dpkg(text: &str, distribution: &Distribution) -> Vec<Package> {
    stanzas(text)
        .filter_map(|(line, stanza)| {
            let field = |name: &str| {
                stanza.lines().find_map(|l| {
                    let (key, value) = l.split_once(':')?;
                    key.eq_ignore_ascii_case(name).then(|| value.trim())
                })
            };
            // Files below status.d carry no status.
            if field("Status").is_some_and(|s| !s.ends_with(" installed")) {
                return None;
            }
            let source = field("Source")
                .map(|s| s.split_whitespace().next().unwrap_or_default().to_string());
            Some(Package {
                ecosystem: or_default(distribution, "Debian"),
                name: field("Package")?.to_string(),
                version: field("Version")?.to_string(),
                source: source.filter(|s| !s.is_empty()),
                line,
                ..Package::default()
            })
        })
        .collect()
}

/// Installed packages of apk.
pub(super) fn apk(text: &str, distribution: &Distribution) -> Vec<Package> {
    stanzas(text)
        .filter_map(|(line, stanza)| {
            let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name));
            Some(Package {
                ecosystem: or_default(distribution, "Alpine"),
                name: field("P:")?.to_string(),
                version: field("V:")?.to_string(),
                source: field("o:").map(str::to_string),
                line,
                ..Package::default()
            })
        })
        .collect()
}

fn or_default(distribution: &Distribution, family: &str) -> String {
    if distribution.ecosystem.is_empty() {
        family.to_string()
    } else {
        distribution.ecosystem.clone()
    }
}

// Blocks between empty lines, each with its first line's number.
fn stanzas(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let mut line = 1;
    text.split("\n\n").map(move |stanza| {
        let at = line;
        line += stanza.matches('\n').count() as u32 + 2;
        (at, stanza)
    })
}
