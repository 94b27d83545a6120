//! The kobune binary: parse, assemble, supervise. No behaviour of Kubernetes lives here.

mod addons;
mod check_config;
mod claim;
mod cli;
mod completion;
mod database;
mod images;
mod kubeconfig;
mod layers;
mod logging;
mod machine;
mod memory;
mod node;
mod notes;
mod notify;
mod paths;
mod preload;
mod reset;
mod role;
mod server;
mod settings;
mod supervise;
mod values;
mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    // Helper processes of pods start as this program too; they are not for people.
    if std::env::args().nth(1).is_some_and(|word| word == "pod-init") {
        kobune_containerd::pod_init();
    }
    match parse().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kobune: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line with the settings of variables and configuration files put in.
fn parse() -> Result<Cli> {
    let mut words: Vec<String> = std::env::args().collect();
    let cli = Cli::command();
    let subcommand = words.get(1).and_then(|word| cli.find_subcommand(word));
    if let (Some(subcommand), Some(server)) = (subcommand, cli.find_subcommand("server"))
        && !asks_for_help(&words)
    {
        let variables = std::env::vars()
            .filter(|(name, _)| name.starts_with("KOBUNE_"))
            .collect();
        let combined = layers::combine(subcommand, server, &words[2..], &variables)?;
        words.truncate(2);
        words.extend(combined);
    }
    let matches = Cli::command().get_matches_from(words);
    Ok(Cli::from_arg_matches(&matches)?)
}

fn asks_for_help(words: &[String]) -> bool {
    words.iter().any(|word| word == "--help" || word == "-h")
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Server(arguments) => server::run(*arguments),
        Command::Kubeconfig(arguments) => kubeconfig::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Completion { shell } => {
            completion::run(shell);
            Ok(())
        }
        Command::Version => {
            version::run();
            Ok(())
        }
        Command::Image(arguments) => images::run(arguments),
        Command::Reset(arguments) => reset::run(&arguments),
    }
}
