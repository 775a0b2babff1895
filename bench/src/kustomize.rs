//! Rendering 1,000 and 4,000 resources, beside the real kustomize.

use super::report::Row;
use super::stats::median;
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Instant;
use xtask::{peers, step};

/// Both renderers on the same generated tree; the outputs must be equal.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    [(1000usize, 30.0), (4000, 200.0)]
        .iter()
        .map(|(count, least)| one(*count, *least, repeats))
        .collect()
}

fn one(count: usize, least: f64, repeats: usize) -> Result<Row> {
    let dir =
        std::env::temp_dir().join(format!("towpath-kustomize-{}-{count}", std::process::id()));
    generate(&dir, count)?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    // The peer is quadratic: one run at the larger size is a minute.
    let repeats = if count > 1000 { 1 } else { repeats.min(3) };
    let kustomize = peers::dir().join("kustomize");
    for _ in 0..repeats {
        let begin = Instant::now();
        let theirs = step::output(
            step::program(&kustomize.to_string_lossy())
                .arg("build")
                .arg(&dir),
        )?;
        peer.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        let mine = step::output(step::program(&super::binary()).arg("render").arg(&dir))?;
        ours.push(begin.elapsed().as_secs_f64());
        if mine != theirs {
            bail!("the outputs for {count} resources differ");
        }
    }
    std::fs::remove_dir_all(&dir)?;
    let (ours, peer) = (median(ours), median(peer));
    let ratio = peer / ours;
    Ok(Row::new(
        format!("kustomize render of {count} resources, whole process"),
        format!("{:.0} ms (**{ratio:.0}×**)", ours * 1000.0),
        format!("{:.1} s (kustomize 5.8.1)", peer),
        &format!("≥ {least}×"),
        ratio >= least,
    ))
}

fn generate(dir: &Path, count: usize) -> Result<()> {
    use std::fmt::Write;
    std::fs::create_dir_all(dir)?;
    let mut resources = String::new();
    for number in 0..count / 2 {
        let _ = write!(
            resources,
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-{number}\ndata:\n  key: value-{number}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{number}\nspec:\n  replicas: 1\n  selector:\n    matchLabels:\n      app: app-{number}\n\
             \x20 template:\n    metadata:\n      labels:\n        app: app-{number}\n    spec:\n      containers:\n      - name: main\n        image: registry.example.org/app:v1\n\
             \x20       envFrom:\n        - configMapRef:\n            name: config-{number}\n---\n"
        );
    }
    std::fs::write(dir.join("resources.yaml"), resources)?;
    std::fs::write(
        dir.join("kustomization.yaml"),
        "resources:\n- resources.yaml\nnamePrefix: prd-\nnamespace: prd\nlabels:\n- pairs:\n    team: a\nimages:\n- name: registry.example.org/app\n  newTag: v2\n\
         patches:\n- target:\n    kind: Deployment\n    name: app-7\n  patch: |-\n    - op: replace\n      path: /spec/replicas\n      value: 3\n",
    )?;
    Ok(())
}
