//! What the suite reports: JUnit, of which a few attributes are of interest.

use anyhow::{Context, Result};
use regex::Regex;
use std::path::Path;

/// One test that ran.
pub(super) struct Case {
    /// `[sig-…] … [Conformance]`, without the labels that may follow.
    pub(super) name: String,
    pub(super) passed: bool,
    pub(super) seconds: f64,
    /// First lines of why it failed.
    pub(super) why: String,
}

/// Tests of a report that ran; skipped ones are left out.
pub(super) fn read(file: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: the suite made no report", file.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let attribute = Regex::new(r#"(\w+)="([^"]*)""#)?;
    let failure = Regex::new(r"(?s)<failure[^>]*>([^<]*)</failure>")?;
    let mut cases = Vec::new();
    for part in text.split("<testcase ").skip(1) {
        let part = part.split("</testcase>").next().unwrap_or_default();
        let head = part.split('>').next().unwrap_or_default();
        let get = |name: &str| {
            let found = attribute.captures_iter(head).find(|c| &c[1] == name);
            found.map(|c| unescape(&c[2])).unwrap_or_default()
        };
        let (status, full) = (get("status"), get("name"));
        let ran = !matches!(status.as_str(), "skipped" | "pending" | "interrupted");
        if !ran || full.starts_with("[Synchronized") {
            continue;
        }
        let Some(at) = full.find("[sig-") else {
            continue;
        };
        let why = failure.captures(part).map(|c| unescape(&c[1]));
        // Cut off by the limit of the run: neither passed nor failed.
        if why
            .as_ref()
            .is_some_and(|why| why.contains("A suite timeout occurred"))
        {
            continue;
        }
        cases.push(Case {
            name: tidy(&full[at..]),
            passed: status == "passed",
            seconds: get("time").parse().unwrap_or_default(),
            why: why.unwrap_or_default(),
        });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

// Labels may follow the name.
fn tidy(name: &str) -> String {
    let end = name
        .find("[Conformance]")
        .map_or(name.len(), |at| at + "[Conformance]".len());
    name[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unescape(text: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&#xA;", "\n"),
        ("&#x9;", " "),
        ("&amp;", "&"),
    ];
    pairs
        .iter()
        .fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

/// Says what failed and why, and the slowest that passed.
pub(super) fn print(cases: &[Case]) {
    for case in cases.iter().filter(|case| !case.passed) {
        let why: Vec<&str> = case.why.split_whitespace().collect();
        let why: String = why.join(" ").chars().take(300).collect();
        eprintln!("FAILED {} ({:.0} s)\n       {why}", case.name, case.seconds);
    }
    let passed = cases.iter().filter(|case| case.passed).count();
    eprintln!("{passed} passed, {} failed", cases.len() - passed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ran() {
        let text = r#"<testsuite><testcase name="[SynchronizedBeforeSuite]" status="passed" time="1"></testcase>
<testcase name="[It] [sig-auth] A &#39;b&#39; [Conformance] [Label]" classname="x" status="passed" time="1.5"></testcase>
<testcase name="[It] [sig-auth] C [Conformance]" status="failed" time="2"><failure message="" type="failed">no &lt;x&gt;&#xA;y</failure></testcase>
<testcase name="[It] [sig-auth] D [Conformance]" status="skipped" time="0"><skipped message="skipped"></skipped></testcase></testsuite>"#;
        let cases = parse(text).expect("report");
        let seen: Vec<_> = cases
            .iter()
            .map(|c| (c.name.as_str(), c.passed, c.why.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("[sig-auth] A 'b' [Conformance]", true, ""),
                ("[sig-auth] C [Conformance]", false, "no <x>\ny"),
            ]
        );
    }
}
