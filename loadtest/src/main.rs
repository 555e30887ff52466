//! Arguments and exit code.

use anyhow::Result;
use clap::{Parser, Subcommand};
use sortie_loadtest::report::{machine::Machine, summary};
use sortie_loadtest::{
    audit, bench, drive, fleet, memory, mint, revocation, upstream, with, workers,
};

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
    /// Measures the gateway beside other proxies.
    Bench(bench::Options),
    /// Drives an instrumented gateway, for a profile-guided build.
    Train(bench::Training),
    /// Measures how fast control takes gateways' journals into PostgreSQL.
    Audit(audit::Options),
    /// Measures how fast control mints sessions.
    Mint(mint::Options),
    /// Goes through a scenario with many agents, and asks what must hold.
    Drive(Box<drive::Options>),
    /// Measures the memory of connections that do nothing.
    Memory(memory::Options),
    /// Holds connections for `memory`, in a process of its own.
    #[command(hide = true)]
    Hold(memory::holder::Options),
    /// Follows control as many gateways at once.
    Fleet(fleet::Options),
    /// Measures how soon gateways under load cut what is revoked.
    Revocation(revocation::Options),
    /// Measures how requests a second grow with worker threads.
    Workers(workers::Options),
    /// Runs a command with a cluster around it.
    With(with::Options),
    /// Puts a folder of results on one page.
    Summary(summary::Options),
}

fn main() -> Result<()> {
    Machine::watch();
    match Arguments::parse().command {
        Command::Upstream(options) => upstream::run(options),
        Command::Bench(options) => bench::run(&options),
        Command::Train(training) => bench::train(&training),
        Command::Audit(options) => audit::run(&options),
        Command::Mint(options) => mint::run(&options),
        Command::Drive(options) => drive::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::Hold(options) => memory::holder::run(&options),
        Command::Fleet(options) => fleet::run(&options),
        Command::Revocation(options) => revocation::run(&options),
        Command::Workers(options) => workers::run(&options),
        Command::With(options) => with::run(&options),
        Command::Summary(options) => summary::run(&options),
    }
}
