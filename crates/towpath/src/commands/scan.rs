//! `towpath scan db …`.

use crate::cli::Context;
use crate::exit::{Exit, Problem};
use std::path::PathBuf;

/// Manage the advisory database of the vulnerability gate
///
/// Examples:
///   towpath scan db import all.zip
///   towpath scan db import advisories/
///   towpath scan db show
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The advisory database
    Db {
        #[command(subcommand)]
        command: Db,
    },
}

#[derive(clap::Subcommand)]
enum Db {
    /// Replace the database by the OSV advisories of a zip archive or a directory
    Import {
        /// Zip archive or directory of OSV JSON files
        source: PathBuf,
    },
    /// Say how many advisories there are and how old they are
    Show,
}

/// File of the database.
pub fn database(config: &crate::config::Config) -> PathBuf {
    config.data_dir.join("scan/osv.db")
}

/// Runs the subcommand.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let Command::Db { command } = args.command;
    let target = database(&context.config);
    match command {
        Db::Import { source } => import(&source, &target),
        Db::Show => show(&target),
    }
}

fn import(source: &std::path::Path, target: &std::path::Path) -> Result<Exit, Problem> {
    let failed = |why: String| {
        Problem::new(
            Exit::Failed,
            "import",
            format!("{} was not imported", source.display()),
        )
        .why(why)
        .state("the database is as it was before")
    };
    if let Some(dir) = target.parent() {
        std::fs::create_dir_all(dir).map_err(|e| failed(e.to_string()))?;
    }
    let done =
        towpath_scan::osv::import(source, target).map_err(|e| failed(crate::exit::chain(&e)))?;
    for skipped in &done.skipped {
        eprintln!("warning: {skipped}");
    }
    println!(
        "{} advisories on {} packages",
        done.documents, done.packages
    );
    Ok(Exit::Reached)
}

fn show(target: &std::path::Path) -> Result<Exit, Problem> {
    let database = towpath_scan::osv::Database::open(target).map_err(|error| {
        Problem::new(
            Exit::NotFound,
            "no-database",
            "there is no usable advisory database",
        )
        .why(crate::exit::chain(&error))
        .next("towpath scan db import FILE")
    })?;
    let age = target
        .metadata()
        .and_then(|m| m.modified())
        .ok()
        .and_then(|t| t.elapsed().ok());
    let days = age.map(|a| a.as_secs() / 86_400).unwrap_or_default();
    println!(
        "{} packages with advisories, imported {days} d ago",
        database.len()
    );
    Ok(Exit::Reached)
}
