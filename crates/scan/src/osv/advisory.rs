//! One advisory about one package: which versions, how bad.

use crate::version::compare;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;

/// Weight of a vulnerability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The advisory does not say.
    #[default]
    Unknown,
    /// Below 4.
    Low,
    /// Below 7.
    Medium,
    /// Below 9.
    High,
    /// 9 and above.
    Critical,
}

impl Severity {
    /// Lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// From a word; `moderate` is GitHub's for medium.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "unknown" | "any" => Self::Unknown,
            "low" | "negligible" | "minor" => Self::Low,
            "medium" | "moderate" => Self::Medium,
            "high" | "important" => Self::High,
            "critical" => Self::Critical,
            _ => return None,
        })
    }

    fn from_score(score: f64) -> Self {
        match score {
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Medium,
            s if s > 0.0 => Self::Low,
            _ => Self::Unknown,
        }
    }
}

/// `introduced` to `fixed` or `last_affected`, in the ecosystem's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// `0` means from the start.
    #[serde(rename = "i")]
    pub introduced: String,
    /// First good version.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Last bad version.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// What is kept of an OSV document for one package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// OSV id.
    pub id: String,
    /// Other ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// At most 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Weight.
    #[serde(default)]
    pub severity: Severity,
    /// Ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Versions named one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
}

impl Advisory {
    /// All ids.
    pub fn ids(&self) -> Vec<String> {
        let mut ids = vec![self.id.clone()];
        ids.extend(self.aliases.iter().filter(|a| **a != self.id).cloned());
        ids
    }

    /// `None` where the version is not affected, else the version that fixes it, if one does.
    pub fn affects(&self, ecosystem: &str, version: &str) -> Option<Option<String>> {
        let order = |a: &str, b: &str| compare(ecosystem, a, b);
        for range in &self.ranges {
            let after_start =
                range.introduced == "0" || order(version, &range.introduced) != Ordering::Less;
            let before_end = match (&range.fixed, &range.last) {
                (Some(fixed), _) => order(version, fixed) == Ordering::Less,
                (None, Some(last)) => order(version, last) != Ordering::Greater,
                (None, None) => true,
            };
            if after_start && before_end {
                return Some(range.fixed.clone());
            }
        }
        self.versions
            .iter()
            .any(|v| v == version || order(v, version) == Ordering::Equal)
            .then_some(None)
    }
}

/// An OSV document to `(ecosystem, name, advisory)`, one per package; withdrawn ones yield none.
pub(super) fn from_document(document: &Value) -> Result<Vec<(String, String, Advisory)>, String> {
    let text = |v: &Value, key: &str| {
        v.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string()
    };
    let id = text(document, "id");
    if id.is_empty() {
        return Err("the document has no id".into());
    }
    if document.get("withdrawn").is_some_and(|w| !w.is_null()) {
        return Ok(Vec::new());
    }
    let list = |v: &Value, key: &str| {
        v.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut aliases: Vec<String> = list(document, "aliases")
        .iter()
        .chain(&list(document, "upstream"))
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect();
    aliases.truncate(50);
    let mut summary = text(document, "summary");
    if summary.is_empty() {
        summary = text(document, "details")
            .lines()
            .next()
            .unwrap_or_default()
            .to_string();
    }
    let summary: String = summary.chars().take(200).collect();
    let mut out = Vec::new();
    for affected in list(document, "affected") {
        let Some(package) = affected.get("package") else {
            continue;
        };
        let (ecosystem, mut name) = (text(package, "ecosystem"), text(package, "name"));
        if ecosystem.is_empty() || name.is_empty() {
            continue;
        }
        if ecosystem == "PyPI" {
            name = crate::package::normal_pypi(&name);
        }
        let versions = list(&affected, "versions")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_string)
            .collect();
        let advisory = Advisory {
            id: id.clone(),
            aliases: aliases.clone(),
            summary: summary.clone(),
            severity: severity(document, &affected),
            ranges: ranges(&ecosystem, &affected),
            versions,
        };
        out.push((ecosystem, name, advisory));
    }
    Ok(out)
}

// Events sorted by version, cut to ranges. Commits of GIT ranges compare with nothing we have.
fn ranges(ecosystem: &str, affected: &Value) -> Vec<Range> {
    let mut out = Vec::new();
    for range in affected
        .get("ranges")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if range.get("type").and_then(Value::as_str) == Some("GIT") {
            continue;
        }
        let mut events: Vec<(String, u8)> = Vec::new();
        for event in range
            .get("events")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            for (key, rank) in [("introduced", 0u8), ("fixed", 2), ("last_affected", 1)] {
                if let Some(version) = event.get(key).and_then(Value::as_str) {
                    events.push((version.to_string(), rank));
                }
            }
        }
        events.sort_by(|a, b| match (a.0.as_str(), b.0.as_str()) {
            ("0", "0") => Ordering::Equal,
            ("0", _) => Ordering::Less,
            (_, "0") => Ordering::Greater,
            (x, y) => compare(ecosystem, x, y).then(a.1.cmp(&b.1)),
        });
        let mut open: Option<Range> = None;
        for (version, rank) in events {
            match rank {
                0 => {
                    open.get_or_insert(Range {
                        introduced: version,
                        ..Range::default()
                    });
                }
                rank => {
                    if let Some(mut range) = open.take() {
                        if rank == 2 {
                            range.fixed = Some(version)
                        } else {
                            range.last = Some(version)
                        }
                        out.push(range);
                    }
                }
            }
        }
        out.extend(open);
    }
    out
}

fn severity(document: &Value, affected: &Value) -> Severity {
    let mut best = Severity::Unknown;
    for holder in [document, affected] {
        for entry in holder
            .get("severity")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let vector = entry
                .get("score")
                .and_then(Value::as_str)
                .unwrap_or_default();
            best = best.max(cvss3(vector).map_or(Severity::Unknown, Severity::from_score));
        }
        for key in ["database_specific", "ecosystem_specific"] {
            let word = holder
                .get(key)
                .and_then(|d| d.get("severity").or(d.get("urgency")))
                .and_then(Value::as_str);
            if best == Severity::Unknown
                && let Some(word) = word.and_then(Severity::parse)
            {
                best = word;
            }
        }
    }
    best
}

// Base score of a CVSS 3.x vector, by the formula of the specification's section 7.1.
fn cvss3(vector: &str) -> Option<f64> {
    let body = vector
        .strip_prefix("CVSS:3.0/")
        .or_else(|| vector.strip_prefix("CVSS:3.1/"))?;
    let metric = |name: &str| {
        body.split('/')
            .find_map(|m| m.strip_prefix(name)?.strip_prefix(':'))
    };
    let changed = metric("S")? == "C";
    let attack = match metric("AV")? {
        "N" => 0.85,
        "A" => 0.62,
        "L" => 0.55,
        _ => 0.2,
    };
    let complexity = if metric("AC")? == "L" { 0.77 } else { 0.44 };
    let privileges = match (metric("PR")?, changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        (_, false) => 0.27,
        (_, true) => 0.5,
    };
    let interaction = if metric("UI")? == "N" { 0.85 } else { 0.62 };
    let weight = |name: &str| {
        Some(match metric(name)? {
            "H" => 0.56,
            "L" => 0.22,
            _ => 0.0,
        })
    };
    let iss: f64 = 1.0 - (1.0 - weight("C")?) * (1.0 - weight("I")?) * (1.0 - weight("A")?);
    let impact = if changed {
        7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15)
    } else {
        6.42 * iss
    };
    if impact <= 0.0 {
        return Some(0.0);
    }
    let exploitability = 8.22 * attack * complexity * privileges * interaction;
    let sum = if changed {
        1.08 * (impact + exploitability)
    } else {
        impact + exploitability
    };
    Some(((sum.min(10.0) * 100_000.0).round() / 10_000.0).ceil() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_match_the_specification() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:N/A:N", 5.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ] {
            assert_eq!(cvss3(vector), Some(score), "{vector}");
        }
        assert_eq!(cvss3("CVSS:4.0/AV:N"), None);
    }

    #[test]
    fn ranges_decide() {
        let document = serde_json::json!({"id": "X-1", "affected": [{"package": {"ecosystem": "npm", "name": "a"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.2.0"}, {"introduced": "2.0.0"}, {"last_affected": "2.3.0"}]}],
            "versions": ["9.9.9"]}]});
        let advisory = &from_document(&document).unwrap()[0].2;
        let affects = |v: &str| advisory.affects("npm", v);
        assert_eq!(affects("1.0.0"), Some(Some("1.2.0".into())));
        assert_eq!(affects("1.2.0"), None);
        assert_eq!(affects("2.3.0"), Some(None));
        assert_eq!(affects("2.3.1"), None);
        assert_eq!(affects("9.9.9"), Some(None));
    }
}
