//! `towpath token`.

use crate::cli::Context;
use crate::exit::{Exit, Problem};

/// Print the administrator's login token of this data directory
///
/// Examples:
///   towpath token
///   git clone http://admin:$(towpath token)@127.0.0.1:8080/git/demo/hello.git
///   skopeo login --username admin --password "$(towpath token)" 127.0.0.1:8080
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {}

/// Prints it.
pub async fn run(context: Context, _: Args) -> Result<Exit, Problem> {
    println!(
        "{}",
        crate::connection::read_token(&context.config)?.reveal_secret()
    );
    Ok(Exit::Reached)
}
