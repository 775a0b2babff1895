//! The real package, asked.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Case;

pub(super) fn find() -> Option<PathBuf> {
    towpath_testkit::peer("template")
}

pub(super) fn ask(peer: &Path, cases: &[Case]) -> Vec<Result<String, String>> {
    let jobs: Vec<String> = cases
        .iter()
        .map(|c| json!({"text": c.text, "data": c.data, "missing": c.missing}).to_string())
        .collect();
    let answers = towpath_testkit::ask(peer, &[], &jobs);
    answers
        .iter()
        .map(|line| {
            let answer: Json = serde_json::from_str(line).unwrap();
            match answer["error"].as_str().unwrap() {
                "" => Ok(answer["out"].as_str().unwrap().to_owned()),
                error => Err(error.to_owned()),
            }
        })
        .collect()
}
