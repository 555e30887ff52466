//! The command itself: started, signalled, waited for.
//!
//! Invariant: a signal that asks us to end asks the command, and we end after it, so that the session is revoked.
//! Ctrl-C at a terminal reaches the command without us: the terminal sends it to the whole foreground group.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Result};

/// Runs it to its end in this environment and no other. 126 if it cannot be executed, 127 if there is no such command, 128 + N if signal N ended it.
///
/// # Errors
/// [`Error::System`] if it cannot be started for another reason.
pub(super) async fn run(
    command: &[OsString],
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<ExitCode> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::Usage("no command was given".to_owned()));
    };
    // Before the command starts: a signal in between would end us and leave the session.
    let mut signals = Signals::catch()?;
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(missing(program, 127, "there is no such command"));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Ok(missing(program, 126, "it may not be executed"));
        }
        Err(source) => return Err(Error::system("start the command", source)),
    };
    follow(&mut child, None, &mut signals).await
}

/// Waits for the child, and sends it what we are sent; or the command that is behind it.
///
/// # Errors
/// [`Error::System`] if it cannot be waited for.
pub(super) async fn follow(
    child: &mut Child,
    command: Option<Pid>,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            caught = signals.next() => forward(child, command, caught),
        }
    };
    ended
        .map(exit_code)
        .map_err(|source| Error::system("wait for the command", source))
}

fn missing(program: &OsString, code: u8, why: &str) -> ExitCode {
    crate::output::complain(&format!("sortie: {}: {why}", program.to_string_lossy()));
    ExitCode::from(code)
}

fn forward(child: &Child, command: Option<Pid>, signal: Signal) {
    let at_terminal = std::io::stdin().is_terminal();
    if at_terminal && matches!(signal, Signal::SIGINT | Signal::SIGQUIT) {
        return;
    }
    // No id means that it was waited for: there is nobody to tell.
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(command.unwrap_or_else(|| Pid::from_raw(id)), signal);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The signals that are sent on.
pub(super) struct Signals(Vec<(tokio::signal::unix::Signal, Signal)>);

impl Signals {
    /// Catches them from here on.
    pub(super) fn catch() -> Result<Self> {
        let wanted = [
            (SignalKind::interrupt(), Signal::SIGINT),
            (SignalKind::terminate(), Signal::SIGTERM),
            (SignalKind::hangup(), Signal::SIGHUP),
            (SignalKind::quit(), Signal::SIGQUIT),
            (SignalKind::user_defined1(), Signal::SIGUSR1),
            (SignalKind::user_defined2(), Signal::SIGUSR2),
        ];
        let caught = wanted.map(|(kind, name)| signal(kind).map(|caught| (caught, name)));
        let caught: std::io::Result<Vec<_>> = caught.into_iter().collect();
        caught
            .map(Self)
            .map_err(|source| Error::system("catch signals", source))
    }

    /// The next one that comes.
    pub(super) async fn next(&mut self) -> Signal {
        let waiting = self.0.iter_mut().map(|(caught, name)| {
            Box::pin(async move {
                caught.recv().await;
                *name
            })
        });
        futures_util::future::select_all(waiting).await.0
    }
}

#[cfg(test)]
mod tests;
