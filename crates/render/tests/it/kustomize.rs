//! Every case of `tests/corpus/kustomize` builds to its `expected.yaml`, or fails with what
//! `expected.error` says; the real program (`KUSTOMIZE=path`) agrees on both. `BLESS=1` writes
//! what the real program says.

use std::path::{Path, PathBuf};
use std::process::Command;
use towpath_render::{Tree, kustomize};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/kustomize")
}

fn tree(dir: &Path) -> Tree {
    fn add(dir: &Path, root: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(dir)
            .expect("directory")
            .map(|e| e.expect("entry").path())
        {
            if entry.is_dir() {
                add(&entry, root, tree);
            } else {
                let path = entry
                    .strip_prefix(root)
                    .expect("below the root")
                    .to_str()
                    .expect("name")
                    .to_string();
                tree.insert(&path, std::fs::read(&entry).expect("file"));
            }
        }
    }
    let mut tree = Tree::default();
    add(dir, dir, &mut tree);
    tree
}

/// Builds a directory with the real program: its output or its words.
type Peer = Box<dyn Fn(&Path) -> Result<String, String>>;

#[allow(clippy::disallowed_methods)]
fn peer() -> Option<Peer> {
    let named = std::env::var_os("KUSTOMIZE").map(PathBuf::from);
    let program = named.or_else(|| towpath_testkit::peer("kustomize"))?;
    Some(Box::new(move |dir| {
        let output = Command::new(&program)
            .arg("build")
            .arg(dir)
            .output()
            .expect("kustomize");
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).expect("UTF-8"))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }))
}

fn build(tree: &Tree, dir: &str) -> Result<String, String> {
    let findings = |findings: Vec<_>| {
        findings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
            + "\n"
    };
    kustomize::build(tree, dir)
        .map(|r| r.to_yaml())
        .map_err(findings)
}

// The first lines that differ say more than two whole texts.
fn difference(left: &str, right: &str) -> String {
    let mut lines = left.lines().zip(right.lines()).enumerate();
    match lines.find(|(_, (l, r))| l != r) {
        Some((at, (l, r))) => format!("line {}:\n  ours   {l}\n  theirs {r}", at + 1),
        None => format!(
            "{} lines against {}",
            left.lines().count(),
            right.lines().count()
        ),
    }
}

#[test]
fn cases() {
    let peer = peer();
    let bless = std::env::var_os("BLESS").is_some();
    let mut failures = Vec::new();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(corpus())
        .expect("corpus")
        .map(|e| e.expect("case").path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "the corpus is missing");
    assert!(cases.len() >= 30, "the corpus is missing");
    for case in cases {
        let name = case
            .file_name()
            .and_then(|n| n.to_str())
            .expect("name")
            .to_string();
        let input = case.join("input");
        let start = if input.join("overlay").is_dir() {
            "overlay"
        } else {
            ""
        };
        let ours = build(&tree(&input), start);
        let (expected, refused) = (case.join("expected.yaml"), case.join("expected.error"));
        if bless {
            let peer = peer.as_ref().expect("BLESS needs KUSTOMIZE");
            match (peer(&input.join(start)), &ours) {
                (Ok(text), _) => std::fs::write(&expected, text).expect("write"),
                (Err(_), Err(words)) => std::fs::write(&refused, words).expect("write"),
                (Err(words), Ok(_)) => failures.push(format!(
                    "{name}: kustomize refuses this, we do not: {words}"
                )),
            }
        } else if let Some(peer) = &peer {
            let theirs = peer(&input.join(start));
            if theirs.is_ok() != ours.is_ok() {
                failures.push(format!(
                    "{name}: kustomize says {theirs:?}, we say {:?}",
                    ours.as_ref().err()
                ));
            } else if let (Ok(theirs), Ok(ours)) = (&theirs, &ours)
                && theirs != ours
            {
                failures.push(format!(
                    "{name} (against the program): {}",
                    difference(ours, theirs)
                ));
            }
        }
        match &ours {
            Ok(text) => match std::fs::read_to_string(&expected) {
                Ok(kept) if kept == *text => {}
                Ok(kept) => failures.push(format!("{name}: {}", difference(text, &kept))),
                Err(_) => failures.push(format!("{name}: builds, but expected.yaml is missing")),
            },
            Err(words) => {
                let kept = std::fs::read_to_string(&refused).unwrap_or_default();
                if kept != *words {
                    failures.push(format!("{name}: refused with\n{words}expected\n{kept}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_sample_renders_as_the_program_does() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/deploy");
    let tree = tree(&deploy);
    let peer = peer();
    for stage in ["dev", "stg", "prd"] {
        let ours =
            build(&tree, &format!("overlays/{stage}")).unwrap_or_else(|words| panic!("{words}"));
        assert!(
            ours.contains(&format!("namespace: hello-{stage}")),
            "{ours}"
        );
        if let Some(peer) = &peer {
            let theirs = peer(&deploy.join("overlays").join(stage)).expect("kustomize");
            assert!(ours == theirs, "{stage}: {}", difference(&ours, &theirs));
        }
    }
}

mod properties {
    use proptest::prelude::*;
    use towpath_render::{Tree, kustomize};

    fn line() -> impl Strategy<Value = String> {
        let keys = prop::sample::select(vec![
            "resources",
            "patches",
            "images",
            "labels",
            "namePrefix",
            "namespace",
            "replicas",
            "commonLabels",
            "configMapGenerator",
            "secretGenerator",
            "replacements",
            "sortOptions",
            "components",
            "generatorOptions",
        ]);
        let values = prop::sample::select(vec![
            "[a.yaml]",
            "x",
            "[]",
            "{}",
            "null",
            "[{name: a}]",
            "[{path: a.yaml}]",
            "{a: b}",
            "[{patch: '[]'}]",
            "1",
            "[{name: a, literals: [b=c]}]",
            "[{patch: '{}', target: {kind: '('}}]",
            "{order: fifo}",
            "[.]",
            "[..]",
            "[{pairs: {a: b}, includeSelectors: true}]",
            "[{name: web, count: 2}]",
            "[{name: i, newTag: t}]",
            "[{source: {kind: A}, targets: [{select: {kind: A}, fieldPaths: [a.0.b]}]}]",
            "&a [*a]",
        ]);
        (keys, values).prop_map(|(key, value)| format!("{key}: {value}\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_build_never_panics_and_findings_have_words(
            lines in prop::collection::vec(line(), 0..6),
            object in "(apiVersion: v1\nkind: [A-Z]{0,2}\nmetadata: \\{name: [a-z]{0,2}\\}\n[a-z:\\[\\]{} \n-]{0,40}(---\n)?){0,3}",
        ) {
            let tree: Tree = [("kustomization.yaml", lines.concat()), ("a.yaml", object)].into_iter().collect();
            match kustomize::build(&tree, "") {
                Ok(rendered) => prop_assert_eq!(rendered.to_yaml().is_empty(), rendered.objects().is_empty()),
                Err(findings) => {
                    prop_assert!(!findings.is_empty());
                    prop_assert!(findings.iter().all(|f| !f.message.is_empty() && !f.rule.is_empty()));
                }
            }
        }

        #[test]
        fn a_pinned_file_reads_back(text in "[a-z:\\[\\]{}#' \n-]{0,80}", digest in "sha256:[0-9a-f]{64}") {
            if let Ok(pinned) = kustomize::pin("k", &text, &[("demo/hello".into(), digest.clone())]) {
                prop_assert!(pinned.contains(&digest));
                let again = kustomize::pin("k", &pinned, &[("demo/hello".into(), digest)]);
                prop_assert_eq!(again.ok(), Some(pinned));
            }
        }
    }
}
