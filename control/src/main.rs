//! `sortie-control`: the control plane.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sortie_control::api;
use sortie_control::config::{Config, Log, LogFormat};
use sortie_control::error::Chain;
use sortie_control::fence::restore::Restored;
use sortie_control::server::{self, Server};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a configuration that cannot be used (`EX_USAGE` of sysexits).
const EXIT_CONFIG: u8 = 64;

/// The control plane of a Sortie cluster: admin API, database, feed, keys.
#[derive(Debug, Parser)]
#[command(name = "sortie-control", version)]
struct Arguments {
    /// A TOML file; without it, everything has a default. The environment (`SORTIE_CONTROL__API__LISTEN=…`) wins.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Print the effective configuration and exit.
    #[arg(long)]
    check: bool,
    /// Print the description of the REST API (OpenAPI 3.1) and exit.
    #[arg(long)]
    openapi: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What it does instead of running.
#[derive(Debug, Subcommand)]
enum Command {
    /// Say that a backup of the database was restored, and that it is meant
    ///
    /// A backup has forgotten what was revoked since it was made, so control refuses to start on it. Stop every control,
    /// restore the backup, and run this once, with the data folder of the control that refused. It ends every session of every
    /// tenant: agents mint new ones. Then do again what the backup cannot know: delete API keys and agents that were
    /// deleted since, shut out gateways, and set credentials that were changed.
    Restore(Restore),
}

/// What `restore` is told.
#[derive(Debug, Args)]
struct Restore {
    /// Raise the epoch: no token that was ever given out is accepted any more.
    #[arg(long, required = true)]
    fence: bool,
    /// Begin this epoch, and not the next one: needed where the fence is lost, which knows those that were used.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    epoch: Option<u64>,
    /// Print what was done as JSON.
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    output: String,
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
    // A core dump would hold open keys, and so does the memory.
    if let Err(error) = sortie_sys::forbid_dumps() {
        tracing::warn!(%error, "core dumps, and reading this process's memory, cannot be forbidden");
    }
    if let Some(Command::Restore(asked)) = arguments.command {
        return match restore(&config, asked.epoch) {
            Ok(restored) => {
                println!("{}", show(&restored, &asked.output));
                ExitCode::SUCCESS
            }
            Err(error) => {
                tracing::error!(error = %Chain(&*error), "nothing was restored");
                ExitCode::FAILURE
            }
        };
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
async fn restore(
    config: &Config,
    epoch: Option<u64>,
) -> Result<Restored, Box<dyn std::error::Error>> {
    Ok(Box::pin(server::restore(config, epoch)).await?)
}

fn show(restored: &Restored, output: &str) -> String {
    if output == "json" {
        return serde_json::to_string_pretty(restored).unwrap_or_default();
    }
    let Restored {
        was,
        seen,
        epoch,
        tenants,
    } = restored;
    let seen = seen.as_deref().unwrap_or("nothing later");
    format!(
        "epoch {epoch} begins: the database was at {was}, the fence had seen {seen}\n\
         ended every session of {tenants} tenants; agents mint new ones once control runs\n\
         do again what was done since the backup: keys and agents deleted, gateways shut out, credentials changed"
    )
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
