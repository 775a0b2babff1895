//! `on:` as YAML, `===`, then events and whether they start the workflow:
//! `<event> <ref> [paths=a,b] [action=x] [message=x] => yes|no`.

use towpath_kit::traits::{PushEvent, TreeFile, Workflows};
use towpath_pipeline::WorkflowFiles;
use towpath_pipeline::matching::{Event, starts};
use towpath_pipeline::workflow::read;

#[test]
fn starts_or_not() {
    for path in super::corpus("triggers", "txt") {
        let text = std::fs::read_to_string(&path).unwrap();
        let (source, cases) = text.split_once("===\n").unwrap();
        let file = format!("{source}jobs:\n  j:\n    runs-on: x\n    steps: [{{run: x}}]\n");
        let mut out = format!("{source}===\n");
        for line in cases.lines().filter(|l| !l.is_empty()) {
            let case = line.split(" => ").next().unwrap();
            let mut words = case.split(' ');
            let (name, ref_name) = (words.next().unwrap(), words.next().unwrap());
            let option = |key: &str| {
                case.split(' ')
                    .find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
            };
            let paths: Option<Vec<String>> =
                option("paths").map(|p| p.split(',').map(str::to_string).collect());
            let yes = if name == "push" {
                let event = PushEvent {
                    ref_name: ref_name.into(),
                    before: "0".repeat(40),
                    after: option("after")
                        .unwrap_or("1111111111111111111111111111111111111111")
                        .into(),
                    paths,
                    message: option("message").unwrap_or("change").replace('_', " "),
                };
                let tree = [TreeFile {
                    path: ".github/workflows/w.yml".into(),
                    mode: 0o100644,
                    content: file.clone().into(),
                }];
                WorkflowFiles.matching(&event, &tree)[0].starts
            } else {
                let read = read("w.yml", file.as_bytes());
                let event = Event {
                    name,
                    ref_name,
                    action: option("action").unwrap_or("opened"),
                    paths: paths.as_deref(),
                };
                starts(&read, &event)
            };
            out.push_str(&format!("{case} => {}\n", if yes { "yes" } else { "no" }));
        }
        super::expect(&path, &out);
    }
}

#[test]
fn only_workflow_files_answer_and_broken_ones_start() {
    let file = |path: &str, content: &str| TreeFile {
        path: path.into(),
        mode: 0o100644,
        content: content.to_string().into(),
    };
    let event = PushEvent {
        ref_name: "refs/heads/main".into(),
        before: "0".repeat(40),
        after: "1".repeat(40),
        paths: None,
        message: String::new(),
    };
    let files = [
        file(".github/workflows/b.yml", "on: [push\n"),
        file(
            ".github/workflows/a.yaml",
            "name: A\non: push\njobs: {j: {runs-on: x, steps: [{run: x}]}}\n",
        ),
        file(".github/workflows/sub/c.yml", "on: push"),
        file(".github/workflows/readme.md", "x"),
        file("other.yml", "on: push"),
    ];
    let found: Vec<(String, String, bool)> = WorkflowFiles
        .matching(&event, &files)
        .into_iter()
        .map(|m| (m.path, m.name, m.starts))
        .collect();
    let row = |p: &str, n: &str| (p.to_string(), n.to_string(), true);
    assert_eq!(
        found,
        [
            row(".github/workflows/a.yaml", "A"),
            row(".github/workflows/b.yml", ".github/workflows/b.yml")
        ]
    );
}
