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
    let _ = (source, target);
    Err(Problem::new(Exit::Failed, "import", "not wired"))
}

fn show(target: &std::path::Path) -> Result<Exit, Problem> {
    let _ = target;
    Err(Problem::new(Exit::Failed, "import", "not wired"))
}
