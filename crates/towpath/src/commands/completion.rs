//! `towpath completion SHELL`.

use crate::cli::{Context, definition};
use crate::exit::{Exit, Problem};

/// Print completions for a shell
///
/// Examples:
///   towpath completion bash > /etc/bash_completion.d/towpath
///   source <(towpath completion zsh)
///   towpath completion fish > ~/.config/fish/completions/towpath.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub async fn run(_: Context, args: Args) -> Result<Exit, Problem> {
    clap_complete::generate(
        args.shell,
        &mut definition(),
        "towpath",
        &mut std::io::stdout(),
    );
    Ok(Exit::Reached)
}
