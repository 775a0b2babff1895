//! The upstream conformance suite against a Towpath of its own: built from the Go module that
//! `tests/peers/e2e` pins, with its test images loaded into Towpath's own registry. The result of
//! each test is kept in `docs/conformance.md`; a test that once passed must not fail again.

mod history;
mod images;
mod report;
mod server;
mod suite;

use crate::packages;
use anyhow::{Result, bail};
use history::History;
use std::path::PathBuf;

/// File with the result of every test.
const HISTORY: &str = "docs/conformance.md";

/// Run the upstream conformance suite
#[derive(clap::Args)]
pub struct Args {
    /// Only these interest groups, e.g. api-machinery,auth
    #[arg(long, value_delimiter = ',', value_name = "SIG")]
    sig: Vec<String>,
    /// Only tests whose name matches this regular expression
    #[arg(long, value_name = "REGEX")]
    focus: Option<String>,
    /// Not the tests whose name matches this regular expression
    #[arg(long, value_name = "REGEX")]
    skip: Option<String>,
    /// Tests that run at the same time
    #[arg(long, default_value_t = 4)]
    procs: u32,
    /// End after this long; what has not run then keeps its last result
    #[arg(long, default_value = "6h", value_name = "DURATION")]
    limit: String,
    /// Towpath to test [default: a release build of this checkout]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Use a server that runs already, with this kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Leave the server and what failed tests made
    #[arg(long)]
    keep: bool,
    /// Do not run again, one by one, what failed
    #[arg(long)]
    no_retry: bool,
    /// Do not write the results to docs/conformance.md
    #[arg(long)]
    dry: bool,
    /// Only build the suite and the images
    #[arg(long)]
    build: bool,
}

/// Builds what is missing, runs, keeps the history, and fails where a test fails that once
/// passed.
pub fn run(args: Args) -> Result<()> {
    packages::install(&[packages::DEMO, packages::TEST])?;
    let suite = suite::Suite::build()?;
    let images = images::build(&suite)?;
    if args.build {
        return Ok(());
    }
    let mut history = History::read(HISTORY, suite.tests()?)?;
    let commit = suite::commit()?;
    let server = match &args.kubeconfig {
        Some(_) => None,
        None => Some(server::Server::start(args.binary.clone(), args.keep)?),
    };
    if let Some(server) = &server {
        images.load(server)?;
    }
    let kubeconfig = match (&server, &args.kubeconfig) {
        (Some(server), _) => server.kubeconfig()?,
        (None, Some(file)) => std::path::absolute(file)?,
        (None, None) => bail!("no server"),
    };
    let mut results = suite.run(&suite::Selection {
        kubeconfig: &kubeconfig,
        focus: &focus(&args.sig, args.focus.as_deref()),
        skip: args.skip.as_deref(),
        procs: args.procs,
        limit: &args.limit,
        keep: args.keep,
    })?;
    if !args.no_retry {
        retry(&suite, &kubeconfig, &args.limit, &mut results)?;
    }
    drop(server);
    report::print(&results);
    let lost = history.record(&commit, &results);
    if !args.dry {
        history.write(HISTORY)?;
    }
    eprintln!("{}", history.sums());
    if !lost.is_empty() {
        bail!("passed once and fails now:\n  {}", lost.join("\n  "));
    }
    Ok(())
}

fn focus(sigs: &[String], focus: Option<&str>) -> String {
    match (sigs, focus) {
        ([], Some(focus)) => format!("({focus}).*\\[Conformance\\]"),
        ([], None) => "\\[Conformance\\]".into(),
        (sigs, focus) => format!(
            "\\[sig-({})\\].*{}.*\\[Conformance\\]",
            sigs.join("|"),
            focus.map(|f| format!("({f})")).unwrap_or_default()
        ),
    }
}

// A failure among others may be the machine's; alone, it is the test's.
fn retry(
    suite: &suite::Suite,
    kubeconfig: &std::path::Path,
    limit: &str,
    results: &mut [report::Case],
) -> Result<()> {
    let names: Vec<String> = results
        .iter()
        .filter(|case| !case.passed)
        .map(|case| regex::escape(&case.name))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    eprintln!("{} failed; once more, one by one", names.len());
    let again = suite.run(&suite::Selection {
        kubeconfig,
        focus: &names.join("|"),
        skip: None,
        procs: 1,
        limit,
        keep: false,
    })?;
    for case in again {
        if let Some(first) = results.iter_mut().find(|first| first.name == case.name) {
            *first = case;
        }
    }
    Ok(())
}
