//! `towpath version`.

use crate::cli::{Context, Output};
use crate::exit::{Exit, Problem};

/// Print versions
///
/// Examples:
///   towpath version
///   towpath version -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {}

/// Kubernetes level of the embedded API.
pub const KUBERNETES: &str = "v1.36.3";

/// Prints the versions of this program, its Kubernetes level and whether it carries the UI.
pub async fn run(context: Context, _: Args) -> Result<Exit, Problem> {
    let ui = if crate::http::ui_present() {
        "embedded"
    } else {
        "not built"
    };
    if context.output == Output::Json {
        let text = serde_json::json!({
            "towpath": env!("CARGO_PKG_VERSION"), "kubernetes": KUBERNETES, "ui": ui,
        });
        println!("{text}");
    } else {
        println!(
            "towpath {}\nkubernetes {KUBERNETES}\nweb ui {ui}",
            env!("CARGO_PKG_VERSION")
        );
    }
    Ok(Exit::Reached)
}
