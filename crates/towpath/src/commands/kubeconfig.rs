//! `towpath kubeconfig`.

use crate::cli::Context;
use crate::exit::{Exit, Problem};
use crate::state::ServerState;

/// Print a kubeconfig for kubectl
///
/// Examples:
///   towpath kubeconfig > ~/.kube/config
///   KUBECONFIG=<(towpath kubeconfig) kubectl get pods -A
///   towpath kubeconfig --path
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Print the path of the file that the server keeps instead
    #[arg(long)]
    path: bool,
}

/// Prints the file or its path.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let path = crate::compose::kubeconfig_file(&context.config);
    if ServerState::read(&context.config.data_dir).is_none() && !path.exists() {
        return Err(
            Problem::new(Exit::Unreachable, "server-down", "no server has run here")
                .next("towpath up"),
        );
    }
    if args.path {
        println!("{}", path.display());
        return Ok(Exit::Reached);
    }
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Problem::new(
            Exit::Denied,
            "no-kubeconfig",
            format!("read {}: {error}", path.display()),
        )
    })?;
    print!("{text}");
    Ok(Exit::Reached)
}
