//! `sortie run --isolate`: the command in user, network, mount, PID and IPC namespaces of its own, whose only way out is
//! the relay. bubblewrap makes them where it is installed, and this program otherwise; or it is put into a
//! [`container`].
//!
//! Invariants: the network holds a loopback and the relay's listener on it, and nothing else; the relay itself runs
//! outside. What the parent's Unix sockets stand in (temporary folders, `/run`) is empty and private, and sockets that
//! stand elsewhere are covered; abstract ones are of the network. Keys and profiles of Sortie are covered.
//! Deliberately not here: files. The home folder is there and can be written, so that an agent can do its work.

pub(crate) mod container;
mod cover;
mod handover;
pub(crate) mod inside;
mod route;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sortie_proto::environment::Proxy;
use tokio::process::Child;

use self::container::Container;
use self::cover::covered;
use self::handover::{Handover, Inner, Met, PORT, PORTS_MAX};
use self::inside::View;
use super::child::{self, Signals};
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::relay;

/// Who makes the namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum How {
    /// bubblewrap where it is installed, and plain namespaces otherwise
    Auto,
    /// bubblewrap
    Bwrap,
    /// This program
    Namespaces,
    /// A container of Docker or Podman, made from --image
    Container,
}

/// Whether and how a command is isolated.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// On Linux: let the command reach nothing but the gateway, in namespaces of its own or in a container
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        conflicts_with = "no_relay"
    )]
    isolate: Option<How>,
    /// Take connections of an isolated command that knows no proxy, too: to ports 80, 443 and those of services
    #[arg(long, requires = "isolate")]
    redirect: bool,
    /// A file or folder that an isolated command is not shown; may be repeated
    #[arg(long, value_name = "PATH", requires = "isolate")]
    hide: Vec<PathBuf>,
    #[command(flatten)]
    container: container::Options,
}

impl Options {
    /// Whether it is.
    pub(super) const fn is_wanted(&self) -> bool {
        self.isolate.is_some()
    }

    /// Looks whether what was asked for can be done here, as far as that can be known beforehand. `session` is the file
    /// of the session's token, which is not shown.
    ///
    /// # Errors
    /// As [`Container::find`], [`Error::File`] for what is to be hidden and is not there, and [`Error::Usage`] for
    /// `--redirect` with a container and for what is a container's without one.
    pub(super) async fn prepare(&self, session: Option<&Path>) -> Result<Option<Isolation>> {
        let Some(how) = self.isolate else {
            return Ok(None);
        };
        let (hide, redirect) = (cover::hidden(&self.hide, session)?, self.redirect);
        Ok(Some(match how {
            How::Auto | How::Bwrap | How::Namespaces if self.container.is_given() => {
                return Err(Error::Usage(
                    "--image, --engine and --share are for a container: say --isolate=container"
                        .to_owned(),
                ));
            }
            How::Auto | How::Bwrap | How::Namespaces => Isolation::Namespaces {
                how,
                hide,
                redirect,
            },
            How::Container if redirect => {
                return Err(Error::Usage(
                    "--redirect is for namespaces: in a container a command has to know the proxy"
                        .to_owned(),
                ));
            }
            How::Container => {
                let found = Box::pin(Container::find(&self.container, hide));
                Isolation::Container(Box::new(found.await?))
            }
        }))
    }
}

/// How long namespaces and mounts may take.
const SET_UP_DEADLINE: Duration = Duration::from_secs(20);
/// Folders that everybody's sockets stand in.
const SHARED: [&str; 5] = ["/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm"];

/// The ports of redirected connections: the Web's, and those of services.
fn ports(services: impl Iterator<Item = u16>) -> Vec<u16> {
    let own: BTreeSet<u16> = services.filter(|port| *port != PORT).collect();
    let web = [443, 80];
    let others = own.into_iter().filter(|port| !web.contains(port));
    web.into_iter().chain(others).take(PORTS_MAX).collect()
}

/// The command's proxy, which asks for no password, since nobody else is there.
///
/// # Errors
/// None that a port of ours has.
pub(super) fn proxy() -> Result<Proxy> {
    super::parse(&format!("127.0.0.1:{PORT}"))
}

/// How a command is isolated.
#[derive(Debug)]
pub(super) enum Isolation {
    /// In namespaces, and on this machine's files.
    Namespaces {
        /// Who makes them.
        how: How,
        /// What else is covered.
        hide: Vec<PathBuf>,
        /// Whether connections to any address are taken.
        redirect: bool,
    },
    /// In a container.
    Container(Box<Container>),
}

/// A command and its environment.
type Line<'a, E> = (&'a [OsString], E);

impl Isolation {
    /// Whether the command is in a container, where this machine's programs and folders are not.
    pub(super) const fn is_container(&self) -> bool {
        matches!(self, Self::Container(_))
    }

    /// The words that `--print` shows: the engine's, for a container.
    ///
    /// # Errors
    /// As running it.
    pub(super) fn shown(&self, folder: &str, command: Vec<OsString>) -> Result<Vec<OsString>> {
        match self {
            Self::Namespaces { .. } => Ok(command),
            Self::Container(container) => container.shown(folder, &command),
        }
    }

    /// Runs the command to its end, as [`child::run`] does. `folder` is where the files are that its environment names,
    /// `services` are the ports of those that it may reach.
    ///
    /// # Errors
    /// Whatever keeps it from being started; what the system forbids comes with what would allow it.
    pub(super) async fn run(
        &self,
        command: Line<'_, impl Iterator<Item = (OsString, OsString)>>,
        way: relay::Run<'_>,
        (folder, services): (&Path, impl Iterator<Item = u16>),
        context: &Context,
    ) -> Result<ExitCode> {
        match self {
            Self::Namespaces {
                how,
                hide,
                redirect,
            } => {
                let separate = Separate {
                    how: *how,
                    hide,
                    redirect: if *redirect {
                        ports(services)
                    } else {
                        Vec::new()
                    },
                    folder,
                };
                Box::pin(separate.run(command, way, context)).await
            }
            Self::Container(container) => {
                Box::pin(container.run(command, folder, way, context)).await
            }
        }
    }
}

/// A command in namespaces.
#[derive(Debug)]
struct Separate<'a> {
    how: How,
    hide: &'a [PathBuf],
    /// Ports at which connections to any address are taken; none for the proxy alone.
    redirect: Vec<u16>,
    folder: &'a Path,
}

impl Separate<'_> {
    async fn run(
        &self,
        command: Line<'_, impl Iterator<Item = (OsString, OsString)>>,
        way: relay::Run<'_>,
        context: &Context,
    ) -> Result<ExitCode> {
        let mut signals = Signals::catch()?;
        let handover = Handover::open()?;
        let view = view(&[handover.folder(), self.folder], self.hide)?;
        let mut child = self.start(command, (&handover, view))?;
        let (met, inner) = met(handover, &mut child, &mut signals).await?;
        let _relay = way.behind(inner.proxy, inner.entrances, context)?;
        let (command, _line) = met.go().await?;
        child::follow(&mut child, command, &mut signals).await
    }

    fn start(
        &self,
        (command, environment): Line<'_, impl Iterator<Item = (OsString, OsString)>>,
        (handover, view): (&Handover, View),
    ) -> Result<Child> {
        let program =
            std::env::current_exe().map_err(|source| Error::system("find this program", source))?;
        let found = find_bwrap();
        let line = match (self.how, found) {
            (How::Auto | How::Bwrap, Some(bwrap)) => {
                let redirects = !self.redirect.is_empty();
                bubblewrap(&bwrap, &program, (&view, redirects))?
            }
            (How::Bwrap, None) => {
                return Err(Error::failed(
                    "bubblewrap (bwrap) is not installed",
                    "Install it, or pass --isolate=namespaces.",
                ));
            }
            // A container is made by its own module.
            (How::Auto | How::Namespaces | How::Container, _) => plain(&program, &view),
        };
        let mut started = std::process::Command::new(line.first().unwrap_or(&OsString::new()));
        started
            .args(line.iter().skip(1))
            .arg("--handover")
            .arg(handover.socket())
            .args(
                self.redirect
                    .iter()
                    .map(|port| format!("--redirect={port}")),
            )
            .arg("--")
            .args(command)
            .env_clear()
            .envs(environment);
        sortie_sys::process::be_killed_with_parent(&mut started);
        tokio::process::Command::from(started)
            .spawn()
            .map_err(|source| Error::system("start what isolates the command", source))
    }
}

/// What is private, what of that is kept, and what is covered.
fn view(ours: &[&Path], hide: &[PathBuf]) -> Result<View> {
    let here =
        std::env::current_dir().map_err(|source| Error::system("find the folder", source))?;
    let program = std::env::current_exe();
    let program = program.map_err(|source| Error::system("find this program", source))?;
    let named =
        ["XDG_RUNTIME_DIR", "TMUX_TMPDIR"].map(|name| config::variable(name).map(PathBuf::from));
    let shared = SHARED.map(PathBuf::from).into_iter();
    // By their real paths: /var/run is a link to /run nearly everywhere.
    let folders: BTreeSet<PathBuf> = shared
        .chain(named.into_iter().flatten())
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| path.is_dir() && path.parent().is_some())
        .collect();
    let is_private = |path: &Path| folders.iter().any(|folder| path.starts_with(folder));
    if folders.contains(&here) {
        return Err(Error::failed(
            format!(
                "{} is shared with every program of this machine",
                here.display()
            ),
            "Run the command from a folder of its own.",
        ));
    }
    let kept = ours
        .iter()
        .map(|path| path.to_path_buf())
        .chain([here, program]);
    let keep: Vec<PathBuf> = kept.filter(|path| is_private(path)).collect();
    let mask = covered(ours, hide, |path| {
        !is_private(path) || keep.iter().any(|kept| path.starts_with(kept))
    });
    Ok(View {
        mask,
        private: folders.into_iter().collect(),
        keep,
    })
}

fn find_bwrap() -> Option<PathBuf> {
    config::program("bwrap")
}

fn plain(program: &Path, view: &View) -> Vec<OsString> {
    let mut line: Vec<OsString> = vec![program.into(), "__inside".into(), "separate".into()];
    for (name, paths) in [
        ("--private", &view.private),
        ("--keep", &view.keep),
        ("--mask", &view.mask),
    ] {
        for path in paths {
            line.extend([name.into(), path.into()]);
        }
    }
    line
}

fn bubblewrap(
    bwrap: &Path,
    program: &Path,
    (view, redirects): (&View, bool),
) -> Result<Vec<OsString>> {
    let mut line: Vec<OsString> = vec![bwrap.into()];
    // Root keeps its powers over these namespaces if it is not told otherwise.
    let options = "--unshare-user --unshare-net --unshare-pid --unshare-ipc --die-with-parent --cap-drop ALL \
                   --dev-bind / / --proc /proc";
    line.extend(options.split(' ').map(OsString::from));
    if redirects {
        // For our own step alone, which gives them up by entering a namespace below: root may map itself into that one
        // with CAP_SETFCAP only (user_namespaces(7)).
        let powers = "--cap-add CAP_NET_ADMIN --cap-add CAP_NET_BIND_SERVICE --cap-add CAP_SETFCAP";
        line.extend(powers.split(' ').map(OsString::from));
    }
    for folder in &view.private {
        line.extend(["--tmpfs".into(), folder.into()]);
    }
    for path in &view.keep {
        line.extend(["--bind".into(), path.into(), path.into()]);
    }
    for path in &view.mask {
        if path.is_dir() {
            line.extend(["--tmpfs".into(), path.into()]);
        } else {
            line.extend(["--ro-bind".into(), "/dev/null".into(), path.into()]);
        }
    }
    let here =
        std::env::current_dir().map_err(|source| Error::system("find the folder", source))?;
    line.extend(["--chdir".into(), here.into(), "--".into(), program.into()]);
    line.extend(["__inside", "become"].map(OsString::from));
    line.extend(redirects.then(|| "--lower".into()));
    Ok(line)
}

/// Ends what was started to isolate a command, since a signal came before there was one.
async fn stopped(child: &mut Child) -> Error {
    // It may have ended by itself.
    drop(child.start_kill());
    drop(child.wait().await);
    Error::failed(
        "stopped before the command started",
        "A signal asked for it.",
    )
}

/// Waits until the command's network is there.
async fn met(handover: Handover, child: &mut Child, signals: &mut Signals) -> Result<(Met, Inner)> {
    let meeting = tokio::time::timeout(SET_UP_DEADLINE, handover.meet());
    tokio::select! {
        met = meeting => met.unwrap_or_else(|_elapsed| Err(Error::failed(
            "the isolated command did not come up",
            "Try again, or --isolate=namespaces.",
        ))),
        _caught = signals.next() => Err(stopped(child).await),
        ended = child.wait() => {
            drop(ended);
            Err(Error::failed("the command cannot be isolated on this machine", hint()))
        }
    }
}

/// What forbids namespaces, as far as the system says.
fn hint() -> String {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let found = [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "Allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1`.",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "Allow user namespaces: `sysctl user.max_user_namespaces=15000`.",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor restricts user namespaces: install bubblewrap and its profile, or \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0`.",
        ),
    ];
    let named = found
        .into_iter()
        .find(|(path, value, _)| read(path).is_ok_and(|found| found == *value));
    named.map_or_else(
        || {
            "What was refused stands above. In a container, it has to allow user namespaces and a /proc of one's own; \
             without --isolate the command runs, and reaches what this machine reaches."
                .to_owned()
        },
        |(_, _, next)| next.to_owned(),
    )
}

#[cfg(test)]
mod tests;
