//! `towpath secrets …`.

use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};

/// Replace the keys behind secrets and tokens
///
/// Examples:
///   towpath secrets rotate-key
///   towpath secrets rotate-token-key
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Seal all Secrets on disk with a new key
    RotateKey,
    /// Sign tokens with a new key; tokens of the old one stay good until they end
    RotateTokenKey,
}

/// Runs the subcommand.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let (path, said) = match args.command {
        Command::RotateKey => ("/keys/secrets", "all Secrets are sealed with a new key"),
        Command::RotateTokenKey => ("/keys/tokens", "tokens are signed with a new key"),
    };
    let request = http::Request::post(path).body(Vec::new());
    let request =
        request.map_err(|error| Problem::new(Exit::Failed, "bad-request", error.to_string()))?;
    connection
        .client
        .request::<serde_json::Value>(request)
        .await?;
    println!("{said}");
    Ok(Exit::Reached)
}
