//! Gates: what was found and a policy, to a verdict that says which rule, where, and what would
//! pass.

use crate::coverage::Coverage;
use crate::osv::{Match, Severity};
use crate::secrets::Leak;

/// One place that counts for or against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Whether it stops the gate.
    pub blocks: bool,
    /// Rule.
    pub rule: String,
    /// Sentence.
    pub message: String,
    /// File.
    pub file: String,
    /// 1-based; 0 where unknown.
    pub line: u32,
    /// 1-based; 0 where unknown.
    pub column: u32,
    /// What would make it right.
    pub hint: String,
}

/// What a gate decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Gate's name.
    pub gate: String,
    /// Whether it lets the commit through.
    pub passed: bool,
    /// What was measured against which bound, and what would pass.
    pub message: String,
    /// Where.
    pub findings: Vec<Finding>,
}

/// Total line coverage against a threshold in percent.
pub fn coverage(report: &Coverage, threshold: f64) -> Verdict {
    let (covered, total, percent) = (report.covered(), report.total(), report.percent());
    let passed = total > 0 && percent + 1e-9 >= threshold;
    let measured =
        format!("{percent:.2} % of {total} lines are covered, {threshold} % are asked for");
    if passed {
        return Verdict {
            gate: "coverage".into(),
            passed,
            message: measured,
            findings: Vec::new(),
        };
    }
    if total == 0 {
        let message =
            "the report has no coverable lines: check that the tests ran with coverage".into();
        return Verdict {
            gate: "coverage".into(),
            passed,
            message,
            findings: Vec::new(),
        };
    }
    let needed = (threshold / 100.0 * total as f64).ceil() as u64;
    let mut files: Vec<_> = report
        .files
        .iter()
        .filter(|f| f.covered < f.total)
        .collect();
    files.sort_by_key(|f| (std::cmp::Reverse(f.total - f.covered), f.path.clone()));
    let findings = files
        .into_iter()
        .take(10)
        .map(|f| Finding {
            blocks: true,
            rule: "coverage/total".into(),
            message: format!(
                "{} of {} lines are not covered",
                f.total - f.covered,
                f.total
            ),
            file: f.path.clone(),
            line: f.missed.first().copied().unwrap_or(0),
            ..Finding::default()
        })
        .collect();
    let message = format!(
        "{measured}; {} more covered lines would pass",
        needed.saturating_sub(covered)
    );
    Verdict {
        gate: "coverage".into(),
        passed,
        message,
        findings,
    }
}

/// No secrets at all.
pub fn secrets(leaks: &[Leak], files: usize) -> Verdict {
    let findings = leaks
        .iter()
        .map(|leak| Finding {
            blocks: true,
            rule: format!("secrets/{}", leak.rule),
            message: format!("{} ({})", leak.description, leak.redacted),
            file: leak.file.clone(),
            line: leak.line,
            column: leak.column,
            hint: "revoke it and take it out; if it is none, put gitleaks:allow in a comment on the line".into(),
        })
        .collect();
    let message = match leaks.len() {
        0 => format!("no secrets in {files} files"),
        n => format!("{n} secrets in {files} files, 0 would pass"),
    };
    Verdict {
        gate: "secrets".into(),
        passed: leaks.is_empty(),
        message,
        findings,
    }
}

/// What the vulnerability gate stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VulnerabilityPolicy {
    /// Least severity that stops.
    pub fail_on: Severity,
    /// Whether only those with a fixed version stop.
    pub fixable_only: bool,
}

impl Default for VulnerabilityPolicy {
    fn default() -> Self {
        Self {
            fail_on: Severity::High,
            fixable_only: false,
        }
    }
}

/// Known vulnerabilities against a policy.
pub fn vulnerabilities(matches: &[Match], packages: usize, policy: VulnerabilityPolicy) -> Verdict {
    let mut findings: Vec<Finding> = matches
        .iter()
        .map(|m| {
            let fixed = m.fixed.as_deref();
            let blocks = m.severity >= policy.fail_on && (fixed.is_some() || !policy.fixable_only);
            let summary = if m.summary.is_empty() {
                String::new()
            } else {
                format!(": {}", m.summary)
            };
            Finding {
                blocks,
                rule: format!("vulnerabilities/{}", m.id),
                message: format!(
                    "{} {} has {} ({}){summary}",
                    m.package.name,
                    m.package.version,
                    m.id,
                    m.severity.word()
                ),
                file: m.package.file.clone(),
                line: m.package.line,
                column: 0,
                hint: match fixed {
                    Some(version) => format!("update {} to {version} or later", m.package.name),
                    None => "no fixed version is known".into(),
                },
            }
        })
        .collect();
    findings.sort_by_key(|f| !f.blocks);
    let blocking = findings.iter().filter(|f| f.blocks).count();
    let bound = format!(
        "{}{}",
        policy.fail_on.word(),
        if policy.fixable_only {
            " with a fix"
        } else {
            ""
        }
    );
    let message = format!(
        "{} known vulnerabilities in {packages} packages, {blocking} of severity {bound} or above; 0 would pass",
        matches.len()
    );
    Verdict {
        gate: "vulnerabilities".into(),
        passed: blocking == 0,
        message,
        findings,
    }
}

/// Without a database nothing can be looked up: passes with a note, unless one is required.
pub fn no_database(required: bool) -> Verdict {
    let message = if required {
        "no vulnerability database is imported, and this step requires one: towpath scan db import FILE"
    } else {
        "no vulnerability database is imported, so nothing was checked: towpath scan db import FILE"
    };
    Verdict {
        gate: "vulnerabilities".into(),
        passed: !required,
        message: message.into(),
        findings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_says_what_would_pass() {
        let report =
            crate::coverage::read(b"SF:a\nDA:1,1\nDA:2,0\nDA:3,0\nDA:4,0\nend_of_record\n")
                .unwrap();
        let verdict = coverage(&report, 50.0);
        assert!(!verdict.passed);
        assert!(
            verdict.message.contains("1 more covered lines would pass"),
            "{}",
            verdict.message
        );
        assert_eq!(verdict.findings[0].line, 2);
        assert!(coverage(&report, 25.0).passed);
        assert!(!coverage(&Coverage::default(), 0.0).passed);
    }
}
