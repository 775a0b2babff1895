//! Long campaigns: what every change is tested with a little, with very much of it.

use crate::{packages, peers, step};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Instant;

/// How much
#[derive(clap::Args)]
pub struct Args {
    /// Kills of the API server under random clients
    #[arg(long, default_value_t = 1000)]
    kills: u64,
    /// Mutated inputs for each decoder
    #[arg(long, default_value_t = 200_000)]
    inputs: u64,
    /// Only campaigns whose name holds this, e.g. kills
    #[arg(long)]
    only: Option<String>,
}

/// One campaign: tests of one package with a larger number.
struct Campaign {
    name: &'static str,
    /// Package and filter of test names.
    tests: &'static [(&'static str, &'static str)],
    setting: (&'static str, String),
}

/// Runs all campaigns, also after one that failed, and says which did.
pub fn run(args: Args) -> Result<()> {
    let campaigns = [
        Campaign {
            name: "kills: acknowledged writes under random clients",
            tests: &[("towpath-apiserver", "crash::")],
            setting: ("TOWPATH_CRASH_KILLS", args.kills.to_string()),
        },
        Campaign {
            name: "random: reviews, apply histories and patches on both servers",
            tests: &[("towpath-apiserver", "random::")],
            setting: ("TOWPATH_RANDOM_FULL", "1".to_string()),
        },
        Campaign {
            name: "inputs: mutated bytes for every decoder",
            tests: &[
                ("towpath-api", "fuzz"),
                ("towpath-query", "fuzz"),
                ("towpath-apiserver", "fuzz"),
            ],
            setting: ("TOWPATH_FUZZ", args.inputs.to_string()),
        },
        Campaign {
            name: "promql: random queries over random samples beside the real engine",
            tests: &[("towpath-query", "promql::differential")],
            setting: ("TOWPATH_PROMQL_ROUNDS", "40".to_string()),
        },
    ];
    packages::install(&[packages::TEST])?;
    let peers = peers::run()?;
    let chosen: Vec<&Campaign> = campaigns
        .iter()
        .filter(|c| args.only.as_ref().is_none_or(|only| c.name.contains(only)))
        .collect();
    if chosen.is_empty() {
        let known: Vec<&str> = campaigns.iter().map(|c| c.name).collect();
        bail!(
            "no campaign has that name; there are\n  {}",
            known.join("\n  ")
        );
    }
    let mut failed = Vec::new();
    for campaign in chosen {
        let begin = Instant::now();
        eprintln!("== {}", campaign.name);
        if let Err(error) = campaign.run(&peers) {
            failed.push(format!("{}: {error:#}", campaign.name));
        }
        eprintln!("== took {} s", begin.elapsed().as_secs());
    }
    if !failed.is_empty() {
        bail!("failed:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

impl Campaign {
    fn run(&self, peers: &Path) -> Result<()> {
        for (package, filter) in self.tests {
            let mut test = step::cargo();
            test.args(["test", "--locked", "--package", package, filter]);
            test.args(["--", "--nocapture"]);
            test.env("TOWPATH_PEERS", peers)
                .env("TOWPATH_TEST_FULL", "1")
                .env(self.setting.0, &self.setting.1);
            step::run(&mut test)?;
        }
        Ok(())
    }
}
