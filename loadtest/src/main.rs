//! Arguments and exit code.

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Drives a running Sortie from outside and measures it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a recording upstream until it is ended; prints `ready {…}` with its ports.
    Upstream(sortie_loadtest::upstream::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Upstream(options) => sortie_loadtest::upstream::run(options),
    }
}
