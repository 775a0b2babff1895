//! Random templates beside the real package: texts and errors are the same.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::{Case, peer, run, shown};

const WORDS: &[&str] = &[
    ".",
    ".a",
    ".n",
    ".list",
    ".map",
    ".map.k",
    ".none",
    ".nil",
    ".missing",
    "$",
    "$.n",
    "$x",
    "1",
    "0",
    "-7",
    "2.5",
    "1e9",
    "\"s\"",
    "`r`",
    "true",
    "nil",
    "'c'",
    "(.list | len)",
    "(print 1 .a)",
    "(index .list 0)",
    "labels",
    "labels.job",
    "(span 15)",
];
const FUNCTIONS: &[&str] = &[
    "print",
    "println",
    "len",
    "not",
    "eq",
    "ne",
    "lt",
    "and",
    "or",
    "index",
    "slice",
    "html",
    "js",
    "urlquery",
    "upper",
    "half",
    "same",
    "words",
    "repeat 2",
    "printf \"%v\"",
    "printf \"%d|%s\"",
    "printf \"%8.3f|\"",
    "printf \"%-6v|%+v\"",
    "printf \"%q %x\"",
    "printf \"%05d\"",
];

fn word() -> impl Strategy<Value = String> {
    proptest::sample::select(WORDS).prop_map(str::to_owned)
}

fn command() -> impl Strategy<Value = String> {
    let called = (
        proptest::sample::select(FUNCTIONS),
        proptest::collection::vec(word(), 0..3),
    );
    prop_oneof![
        word(),
        called.prop_map(|(name, args)| format!("{name} {}", args.join(" "))),
    ]
}

fn pipeline() -> impl Strategy<Value = String> {
    proptest::collection::vec(command(), 1..3).prop_map(|commands| commands.join(" | "))
}

fn template() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => pipeline().prop_map(|p| format!("{{{{{p}}}}}")),
        1 => pipeline().prop_map(|p| format!("{{{{$x := {p}}}}}")),
        1 => pipeline().prop_map(|p| format!("{{{{$x = {p}}}}}")),
        2 => "[ a-z\n%]{0,6}",
        1 => Just("{{- 3 -}}".to_owned()),
        1 => Just("{{break}}".to_owned()),
        1 => Just("{{continue}}".to_owned()),
        1 => Just("{{template \"T\" .}}".to_owned()),
        1 => "[{}.$|()\" a-z0-9:=-]{0,8}",
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let body = proptest::collection::vec(inner, 0..3).prop_map(|parts| parts.concat());
        prop_oneof![
            body.clone(),
            (pipeline(), body.clone()).prop_map(|(p, b)| format!("{{{{if {p}}}}}{b}{{{{end}}}}")),
            (pipeline(), body.clone(), body.clone())
                .prop_map(|(p, b, c)| format!("{{{{with {p}}}}}{b}{{{{else}}}}{c}{{{{end}}}}")),
            (pipeline(), body.clone())
                .prop_map(|(p, b)| format!("{{{{range $i, $x := {p}}}}}{b}{{{{end}}}}")),
            (pipeline(), body.clone())
                .prop_map(|(p, b)| format!("{{{{range {p}}}}}{b}{{{{else}}}}-{{{{end}}}}")),
            body.prop_map(|b| format!("{{{{define \"T\"}}}}{b}{{{{end}}}}")),
        ]
    })
}

#[test]
fn as_the_real_package() {
    let Some(peer) = peer::find() else { return };
    let seed: u64 = std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let data = json!({"a": "x<y", "n": 3, "list": ["p", 2, null, [1]], "map": {"k": "v", "l": 1.5},
        "none": [], "nil": null});
    let mut cases = Vec::new();
    while cases.len() < 3000 {
        let text = template().new_tree(&mut runner).unwrap().current();
        cases.push(Case {
            text: format!("{{{{$x := .a}}}}{text}"),
            data: data.clone(),
            missing: ["", "zero", "error"][cases.len() % 3].to_owned(),
        });
    }
    let mut different = Vec::new();
    let mut fine = 0;
    for (case, wanted) in cases.iter().zip(peer::ask(&peer, &cases)) {
        let got = run(case);
        fine += usize::from(wanted.is_ok());
        // Recursion ends at another depth; Go's `slice` refuses what comes out of
        // data, and a byte is a number like others here.
        let beyond = wanted.as_ref().is_err_and(|e| {
            e.contains("maximum template depth")
                || e.contains("cannot index slice/array with type interface {}")
                || e.contains("of type uint8")
        });
        if shown(&got) != shown(&wanted) && !beyond {
            let text = &case.text;
            different.push(format!("{text:?}\n  {}\n  {}", shown(&wanted), shown(&got)));
        }
    }
    assert!(fine > 300, "only {fine} templates run");
    assert!(
        different.is_empty(),
        "{} of {} differ:\n{}",
        different.len(),
        cases.len(),
        different[..different.len().min(25)].join("\n")
    );
}

proptest! {
    #[test]
    fn never_panics(text in "([{][{]|[}][}]|[-. $|()\"'`:=,a-z0-9/*\n]|if|end|range|é){0,40}") {
        let _ = run(&Case { text, data: json!({"a": [1, "b"]}), missing: String::new() });
    }
}
