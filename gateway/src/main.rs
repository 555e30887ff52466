//! The gateway's process: arguments, configuration, logging, the server, the exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sortie_gateway::config::Config;
use sortie_gateway::logging;
use sortie_gateway::server::Server;
#[cfg(debug_assertions)]
use sortie_sys::allocation::Counting;
use tikv_jemallocator::Jemalloc;

#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: Counting<Jemalloc> = Counting(Jemalloc);

/// Exit code for a configuration that cannot be used (sysexits.h: `EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// The gateway: brokers agents' requests.
#[derive(Debug, Parser)]
#[command(name = "sortie-gateway", version)]
struct Arguments {
    /// The configuration, TOML. Variables that start with `SORTIE_GATEWAY__` go over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Takes the ports over from the gateway that serves from the same data folder, once this one is ready to serve; that
    /// one then ends what it has open, and exits. Fails if there is none.
    #[arg(long)]
    upgrade: bool,
    /// Prints the effective configuration and exits.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(invalid) => return fail(&invalid, EXIT_USAGE),
    };
    if arguments.check {
        return show(&config.text);
    }
    if let Err(error) = logging::start(&config.log) {
        return fail(&error, EXIT_USAGE);
    }
    // One provider for everything that is not the data path. An error says that there is one already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let server = if arguments.upgrade {
        Server::upgrade(config)
    } else {
        Server::new(config)
    };
    match server.and_then(Server::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "--check prints; it is the command's output"
)]
fn show(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "logging may not have started")]
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("sortie-gateway: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::from(code)
}
