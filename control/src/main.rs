//! `sortie-control`: the control plane.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nix::sys::resource::{Resource, setrlimit};
use sortie_control::api;
use sortie_control::config::{Config, Log, LogFormat};
use sortie_control::error::Chain;
use sortie_control::server::Server;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a configuration that cannot be used (`EX_USAGE` of sysexits).
const EXIT_CONFIG: u8 = 64;

/// The control plane of a Sortie cluster: admin API, database, feed, keys.
#[derive(Debug, Parser)]
#[command(name = "sortie-control", version)]
struct Arguments {
    /// A TOML file; without it, everything has a default. The environment (`SORTIE_CONTROL__API__LISTEN=…`) wins.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print the effective configuration and exit.
    #[arg(long)]
    check: bool,
    /// Print the description of the REST API (OpenAPI 3.1) and exit.
    #[arg(long)]
    openapi: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "--check and --openapi print; a bad configuration has no log yet"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.openapi {
        println!("{}", api::document().to_pretty_json().unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let config = match Config::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(invalid) => {
            eprintln!("sortie-control: {invalid}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if arguments.check {
        print!("{}", config.to_text());
        return ExitCode::SUCCESS;
    }
    start_log(&config.log);
    // A core dump would hold open keys.
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(&*error), "control stops");
            ExitCode::FAILURE
        }
    }
}

fn start_log(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::new(&log.level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

#[tokio::main]
async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let server = tokio::select! {
        started = Box::pin(Server::start(config)) => started?,
        _ = terminate.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}
