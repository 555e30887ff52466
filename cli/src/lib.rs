//! The `sortie` command: the whole cluster on one machine (`dev`), a command behind it (`run`) or what goes
//! with one that is started elsewhere (`env`), the secrets that lie around moved into it (`import`), and its
//! administration over REST.
//!
//! Invariants: a secret is never an argument, since arguments show in `ps` and in the shell's history: values come
//! from a prompt, from standard input or from a file. Only `config` reads the environment, only `output` prints,
//! only `tasks` spawns. It knows nothing of gateway and control but their ports, files and REST.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 64 bad configuration, 69 not reachable, 77 refused. `run` answers with
//! the code of its command.

mod args;
mod ask;
mod certificate;
mod client;
mod config;
mod dev;
mod doctor;
mod env;
mod error;
mod import;
mod interrupt;
mod manual;
mod output;
mod profile;
mod relay;
mod run;
mod tasks;
mod trust;
mod verbs;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Args, Command};
use crate::error::{Error, Result};
use crate::output::Output;

/// Reads the arguments, does what they say, and answers with the exit code.
#[must_use]
pub fn start() -> ExitCode {
    // Two crypto providers may be linked; rustls takes one only by name.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    let args = Args::parse();
    let out = Output::new(args.connection.output);
    let done = runtime().and_then(|runtime| runtime.block_on(Box::pin(act(args, out))));
    match done {
        Ok(code) => code,
        Err(error) => {
            out.error(&error);
            error.exit_code()
        }
    }
}

/// One thread: children are spawned by it, and the system ties their lives to the thread that spawned them.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::system("start the runtime", source))
}

async fn act(args: Args, out: Output) -> Result<ExitCode> {
    let done = match args.command {
        Command::Dev(options) => return Box::pin(dev::run(options, out)).await,
        Command::Run(options) => {
            let context = config::connect_for(options.has_session(), args.connection, out)?;
            return Box::pin(run::run(options, &context)).await;
        }
        Command::Doctor(options) => {
            return Box::pin(doctor::run(options, args.connection, out)).await;
        }
        Command::Trust(act) => return Box::pin(trust::run(act, args.connection, out)).await,
        Command::Env(options) => {
            let context = config::connect_for(options.has_session(), args.connection, out)?;
            Box::pin(env::run(options, &context)).await
        }
        Command::Import(options) => Box::pin(import::run(&options, args.connection, out)).await,
        Command::Profile(act) => profile::run(act, args.connection, out),
        Command::Completions(options) => {
            manual::completions(&options, &Args::command(), out);
            Ok(())
        }
        Command::Man(options) => manual::man(&options, Args::command(), out),
        #[cfg(target_os = "linux")]
        Command::Inside(options) => return run::isolate::inside::run(&options),
        Command::Relay(options) => Box::pin(relay::run(options, args.connection, out)).await,
        Command::Verb(verb) => {
            if let Some(done) = verbs::run_alone(&verb, out) {
                return done.map(|()| ExitCode::SUCCESS);
            }
            let context = config::connect(args.connection, out)?;
            Box::pin(verbs::run(verb, &context)).await
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
