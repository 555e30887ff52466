//! `sortie __inside`: what happens between `sortie run --isolate` and its command, in three processes of this program.
//!
//! [`Step::Separate`] makes the namespaces and waits. [`Step::Settle`], the first process of the new PID namespace,
//! arranges what can be seen and collects what ends. [`Step::Become`] hands the listener over and becomes the command;
//! behind bubblewrap, which does the first two, it is the only one. In a container the engine does the first two, and
//! [`Step::Contain`] is the first process there: it stays, with the command as its child.
//!
//! Invariants: the command has no capability over the namespaces that it is in: its user namespace is one below the one
//! that owns them. It cannot get new ones (`no_new_privs`). Nothing here starts a thread, since the kernel separates
//! single-threaded processes only.

mod contain;

pub(super) use self::contain::write as environment;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Gid, Pid, Uid, getgid, getuid};
use sortie_sys::process::be_killed_with_parent;

use super::handover::hand_over;
use super::route::own_every_address;
use crate::error::{Error, Result};
use crate::output::complain;

pub(crate) const EXAMPLE: &str = "\
Example:
  sortie run --isolate -- curl https://api.github.com/user";

/// The exit code of a command whose surroundings could not be made, as of bubblewrap.
const NOT_SET_UP: u8 = 1;

/// How far things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Make the namespaces.
    Separate,
    /// Arrange what can be seen.
    Settle,
    /// Be the command.
    Become,
    /// Be the first process of a container.
    Contain,
}

/// What the parent wants.
#[derive(Debug, Args)]
pub(crate) struct Options {
    step: Step,
    /// Where the listener is handed over.
    #[arg(long)]
    handover: PathBuf,
    #[command(flatten)]
    view: View,
    /// Ports at which connections to any address are taken.
    #[arg(long)]
    redirect: Vec<u16>,
    /// Put one more user namespace between the command and its surroundings.
    #[arg(long)]
    lower: bool,
    /// The file with the command's environment, in a container.
    #[arg(long)]
    environment: Option<PathBuf>,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What the command sees of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct View {
    /// Folders that are empty and its own.
    #[arg(long)]
    pub(crate) private: Vec<PathBuf>,
    /// What of them is there all the same.
    #[arg(long)]
    pub(crate) keep: Vec<PathBuf>,
    /// Folders and files that are not there to be read.
    #[arg(long)]
    pub(crate) mask: Vec<PathBuf>,
}

/// Does a step.
///
/// # Errors
/// [`Error::System`] says which part of it the system refused.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let done = match options.step {
        Step::Separate => separate(options),
        Step::Settle => settle(options),
        Step::Become => Err(become_command(options)),
        Step::Contain => contain::run(options),
    };
    if let Err(Error::System {
        act: EXECUTE,
        source,
    }) = &done
    {
        // What a shell answers.
        let program = options
            .command
            .first()
            .map(|program| program.to_string_lossy());
        complain(&format!(
            "sortie: {}: {source}",
            program.unwrap_or_default()
        ));
        let missing = source.kind() == io::ErrorKind::NotFound;
        return Ok(ExitCode::from(if missing { 127 } else { 126 }));
    }
    done
}

const EXECUTE: &str = "execute the command";

/// Makes the namespaces, of which the PID namespace begins with the next process.
fn separate(options: &Options) -> Result<ExitCode> {
    block_signals()?;
    let (user, group) = (getuid(), getgid());
    let all = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC;
    unshare(all).map_err(|errno| refused("make namespaces", errno))?;
    map((Uid::from_raw(0), user), (Gid::from_raw(0), group))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["__inside", "settle", "--lower", "--handover"])
        .arg(&options.handover)
        .args(redirect(options));
    for (name, paths) in [
        ("--private", &options.view.private),
        ("--keep", &options.view.keep),
        ("--mask", &options.view.mask),
    ] {
        for path in paths {
            command.arg(name).arg(path);
        }
    }
    command.arg("--").args(&options.command);
    be_killed_with_parent(&mut command);
    let started = command.spawn();
    let child =
        started.map_err(|source| Error::system("start the first process inside", source))?;
    collect(child.id())
}

fn redirect(options: &Options) -> impl Iterator<Item = String> {
    let ports = options.redirect.iter();
    ports.map(|port| format!("--redirect={port}"))
}

/// The user and group inside, each with the one outside that it is.
fn map(user: (Uid, Uid), group: (Gid, Gid)) -> Result<()> {
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|source| Error::file("write", Path::new(path), source))
    };
    // Without this a process could leave a group that something is denied to (user_namespaces(7)).
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{} {} 1", user.0, user.1))?;
    write("/proc/self/gid_map", format!("{} {} 1", group.0, group.1))
}

fn settle(options: &Options) -> Result<ExitCode> {
    block_signals()?;
    let here =
        std::env::current_dir().map_err(|source| Error::system("find the folder", source))?;
    arrange(&options.view)?;
    sortie_sys::network::raise_loopback()
        .map_err(|source| Error::system("switch the loopback on", source))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["__inside", "become", "--lower", "--handover"])
        .arg(&options.handover)
        .args(redirect(options))
        .arg("--")
        .args(&options.command)
        // By its path: what it was before may be covered.
        .current_dir(here);
    let started = command.spawn();
    let child = started.map_err(|source| Error::system("start the command inside", source))?;
    collect(child.id())
}

fn arrange(view: &View) -> Result<()> {
    let none = None::<&str>;
    let alone = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, alone, none)
        .map_err(|errno| refused("have mounts of its own", errno))?;
    let kept: Vec<(&PathBuf, OwnedFd)> = view
        .keep
        .iter()
        .map(|path| {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            let opened = open(path, flags, Mode::empty());
            opened
                .map(|opened| (path, opened))
                .map_err(|errno| Error::file("open", path, errno.into()))
        })
        .collect::<Result<_>>()?;
    for folder in &view.private {
        cover(folder, "mode=1777")?;
    }
    for (path, opened) in kept {
        restore(path, &opened)?;
    }
    for path in &view.mask {
        if path.is_dir() {
            cover(path, "mode=0555")?;
        } else {
            bind(Path::new("/dev/null"), path)?;
        }
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none)
        .map_err(|errno| refused("mount /proc", errno))
}

/// Puts an empty folder over one. It may stand in one that is empty by now.
fn cover(folder: &Path, mode: &str) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| Error::file("make", folder, source))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some(mode))
        .map_err(|errno| Error::file("cover", folder, errno.into()))
}

/// Puts back what was covered.
fn restore(path: &Path, opened: &OwnedFd) -> Result<()> {
    let source = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let made = if source.is_dir() {
        fs::create_dir_all(path)
    } else {
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::File::create(path).map(drop))
    };
    made.map_err(|source| Error::file("make", path, source))?;
    bind(&source, path)
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .map_err(|errno| Error::file("bind", to, errno.into()))
}

/// Comes back only with what went wrong.
fn become_command(options: &Options) -> Error {
    let Some((program, arguments)) = options.command.split_first() else {
        return Error::Usage("no command was given".to_owned());
    };
    let ready = || -> Result<()> {
        if !options.redirect.is_empty() {
            own_every_address()
                .map_err(|source| Error::system("take connections to any address", source))?;
        }
        hand_over(&options.handover, &options.redirect)
            .map_err(|source| Error::system("hand the listeners over to the relay", source))?;
        if options.lower {
            lower()?;
        }
        nix::sys::prctl::set_no_new_privs().map_err(|errno| refused("give privileges up", errno))
    };
    match ready() {
        Err(error) => error,
        Ok(()) => Error::system(EXECUTE, Command::new(program).args(arguments).exec()),
    }
}

/// Enters a user namespace below the one that owns the others, as the user that we are outside.
fn lower() -> Result<()> {
    // What somebody is in the namespace above this one, and outside of it.
    let ids = |file: &str| -> Option<(u32, u32)> {
        let map = fs::read_to_string(file).ok()?;
        let mut words = map.split_whitespace().map(str::parse);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    };
    let (Some(user), Some(group)) = (ids("/proc/self/uid_map"), ids("/proc/self/gid_map")) else {
        return Err(refused("find out who this is", Errno::EINVAL));
    };
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| refused("make a namespace", errno))?;
    map(
        (Uid::from_raw(user.1), Uid::from_raw(user.0)),
        (Gid::from_raw(group.1), Gid::from_raw(group.0)),
    )
}

/// Waits for a process, and for all that are left to the first process of a namespace, which it is.
fn collect(child: u32) -> Result<ExitCode> {
    let child = Pid::from_raw(i32::try_from(child).unwrap_or(0));
    loop {
        let code = match wait() {
            Ok(WaitStatus::Exited(id, code)) if id == child => code,
            Ok(WaitStatus::Signaled(id, signal, _)) if id == child => 128 + signal as i32,
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(refused("wait for the command", errno)),
        };
        return Ok(ExitCode::from(u8::try_from(code).unwrap_or(NOT_SET_UP)));
    }
}

/// Signals are the command's: the terminal's come to it by themselves, others are sent to it.
fn block_signals() -> Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)
        .map_err(|errno| refused("block signals", errno))
}

fn refused(act: &'static str, errno: Errno) -> Error {
    Error::system(act, errno.into())
}
