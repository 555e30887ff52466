//! Arguments and exit code.

use anyhow::Result;
use clap::{Parser, Subcommand};
use sortie_loadtest::{audit, bench, mint, upstream};

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
    Upstream(upstream::Options),
    /// Measures the gateway beside NGINX.
    Bench(bench::Options),
    /// Drives an instrumented gateway, for a profile-guided build.
    Train(bench::Training),
    /// Measures how fast control takes gateways' journals into PostgreSQL.
    Audit(audit::Options),
    /// Measures how fast control mints sessions.
    Mint(mint::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Upstream(options) => upstream::run(options),
        Command::Bench(options) => bench::run(&options),
        Command::Train(training) => bench::train(&training),
        Command::Audit(options) => audit::run(&options),
        Command::Mint(options) => mint::run(&options),
    }
}
