//! `kobune completion`.

use clap::CommandFactory;

/// Prints a completion script for `shell`.
pub fn run(shell: clap_complete::Shell) {
    clap_complete::generate(
        shell,
        &mut crate::cli::Cli::command(),
        "kobune",
        &mut std::io::stdout(),
    );
}
