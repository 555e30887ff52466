//! The first process of a container: hands the listener over, starts the command, hands signals on to it, collects what
//! ends, and ends with the process outside, whichever way that goes.
//!
//! Invariants: while the command runs the line to the process outside is open; when it closes, this process ends, and
//! the kernel ends the container with it. Signals of the terminal reach the command without us, and are not sent twice.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use sortie_sys::process::unblock_signals;

use super::{EXECUTE, NOT_SET_UP, Options, block_signals, refused};
use crate::config;
use crate::error::{Error, Result};
use crate::run::environment::OTHER_PROXIES;
use crate::run::isolate::handover::hand_over;

/// Runs the command to its end.
///
/// # Errors
/// [`Error::System`] says which part of it the system refused.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    block_signals()?;
    let Some((program, arguments)) = options.command.split_first() else {
        return Err(Error::Usage("no command was given".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(file) = &options.environment {
        let bytes = std::fs::read(file).map_err(|source| Error::file("read", file, source))?;
        surround(&mut command, &bytes);
    }
    let line = hand_over(&options.handover, &[]).map_err(|source| {
        Error::system(
            "reach sortie from inside of the container (does the engine run on this machine itself?)",
            source,
        )
    })?;
    nix::sys::prctl::set_no_new_privs().map_err(|errno| refused("give privileges up", errno))?;
    unblock_signals(&mut command);
    let started = command.spawn();
    let child = started.map_err(|source| Error::system(EXECUTE, source))?;
    watch(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)), &line)
}

/// Puts the environment of the file over the image's own, without what would lead past the gateway there.
fn surround(command: &mut Command, file: &[u8]) {
    for (name, _) in config::variables() {
        let text = name.to_string_lossy();
        let mut proxies = OTHER_PROXIES.iter();
        let is_proxy = proxies.any(|other| text.eq_ignore_ascii_case(other));
        if is_proxy || sortie_proto::environment::is_ours(&text) {
            command.env_remove(&name);
        }
    }
    for (name, value) in read(file) {
        command.env(name, value);
    }
}

/// An environment as a file: `NAME=VALUE`, each with a NUL behind it, which no value can have.
pub(in crate::run::isolate) fn write(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in environment {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn read(bytes: &[u8]) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    bytes.split(|byte| *byte == 0).filter_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next()?, parts.next()?);
        Some((OsStr::from_bytes(name), OsStr::from_bytes(value)))
    })
}

/// Waits for the command's end, or for that of the process outside.
fn watch(child: Pid, mut line: &UnixStream) -> Result<ExitCode> {
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK)
        .map_err(|errno| refused("wait for signals", errno))?;
    loop {
        // What ended before there was somebody to hear of it is collected, too.
        while let Ok(Some(signal)) = signals.read_signal() {
            forward(&signal, child);
        }
        if let Some(code) = collect(child)? {
            return Ok(code);
        }
        let signalled = signals.as_fd();
        let ends = line.as_fd();
        let mut waiting = [
            PollFd::from_borrowed_fd(signalled, PollFlags::IN),
            PollFd::from_borrowed_fd(ends, PollFlags::IN),
        ];
        match poll(&mut waiting, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for the command", errno.into())),
        }
        let [_, line_event] = waiting;
        if !line_event.revents().is_empty() && !goes_on(line.read(&mut [0])) {
            return Ok(ExitCode::from(NOT_SET_UP));
        }
    }
}

/// Nothing is ever said on the line: what can be read is its end.
fn goes_on(read: io::Result<usize>) -> bool {
    match read {
        Ok(count) => count > 0,
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
        ),
    }
}

/// What somebody sent is the command's. What the kernel sent, for a terminal, the command has already.
fn forward(signal: &libc::signalfd_siginfo, child: Pid) {
    let number = i32::try_from(signal.ssi_signo).ok();
    let Some(signal_name) = number.and_then(|number| Signal::try_from(number).ok()) else {
        return;
    };
    if signal_name != Signal::SIGCHLD && signal.ssi_code <= 0 {
        // It may have ended meanwhile.
        let _ = kill(child, signal_name);
    }
}

/// Collects all that ended, and answers with the command's exit code if that was among it.
fn collect(child: Pid) -> Result<Option<ExitCode>> {
    loop {
        let code = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(id, code)) if id == child => code,
            Ok(WaitStatus::Signaled(id, signal, _)) if id == child => 128 + signal as i32,
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(refused("wait for the command", errno)),
        };
        return Ok(Some(ExitCode::from(
            u8::try_from(code).unwrap_or(NOT_SET_UP),
        )));
    }
}

#[cfg(test)]
mod tests;
