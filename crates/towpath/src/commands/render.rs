//! `towpath render DIR`: what an environment would get, without a server.

use crate::cli::Context;
use crate::exit::{Exit, Problem};
use std::io::Write;
use std::path::{Path, PathBuf};
use towpath_render::Tree;

/// Print the manifests of a Kustomize directory, as environments render them
///
/// Examples:
///   towpath render deploy/overlays/dev
///   towpath render --root . deploy/overlays/prd
///   towpath render deploy/overlays/dev | kubectl diff -f -
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Directory with a kustomization file
    directory: PathBuf,
    /// Directory that bases may lie in [default: the git working copy, else the directory itself]
    #[arg(long)]
    root: Option<PathBuf>,
}

/// Bytes read at most.
const BYTES_MAX: u64 = 256 << 20;

/// Renders.
pub async fn run(_: Context, args: Args) -> Result<Exit, Problem> {
    let bad = |why: String| {
        Problem::new(
            Exit::NotFound,
            "no-directory",
            format!("{} cannot be read", args.directory.display()),
        )
        .why(why)
    };
    let directory = args
        .directory
        .canonicalize()
        .map_err(|e| bad(e.to_string()))?;
    let root = match &args.root {
        Some(root) => root.canonicalize().map_err(|e| bad(e.to_string()))?,
        None => directory
            .ancestors()
            .find(|d| d.join(".git").exists())
            .unwrap_or(&directory)
            .to_path_buf(),
    };
    let mut tree = Tree::default();
    let mut left = BYTES_MAX;
    read(&root, &root, &mut tree, &mut left).map_err(|e| bad(e.to_string()))?;
    let relative = directory
        .strip_prefix(&root)
        .map_err(|_| bad(format!("it is not below {}", root.display())))?;
    match towpath_render::kustomize::build(&tree, &relative.to_string_lossy()) {
        Ok(rendered) => {
            for finding in &rendered.warnings {
                eprintln!(
                    "warning: {}:{}:{}: {}",
                    finding.file, finding.line, finding.column, finding.message
                );
            }
            // A closed pipe is the reader's choice, not a failure.
            let _ = std::io::stdout().write_all(rendered.to_yaml().as_bytes());
            Ok(Exit::Reached)
        }
        Err(findings) => {
            for f in &findings {
                eprintln!(
                    "{}:{}:{}: {} {}",
                    f.file, f.line, f.column, f.message, f.hint
                );
            }
            Err(Problem::new(
                Exit::Failed,
                "render",
                format!("{} cannot be rendered", args.directory.display()),
            ))
        }
    }
}

fn read(root: &Path, dir: &Path, tree: &mut Tree, left: &mut u64) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            // What a build leaves is not what git would carry.
            let name = entry.file_name();
            if name != ".git" && name != "node_modules" && name != "target" {
                read(root, &path, tree, left)?;
            }
        } else if kind.is_file() {
            let bytes = towpath_stdx::bounded::read_file(&path, *left)?;
            *left -= bytes.len() as u64;
            if let Ok(relative) = path.strip_prefix(root) {
                tree.insert(&relative.to_string_lossy(), bytes);
            }
        }
    }
    Ok(())
}
