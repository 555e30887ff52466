//! `sortie run --isolate=container`: the command in a container of Docker or Podman that has no network, whose only way
//! out is the relay.
//!
//! The engine makes the namespaces. The first process inside is this program, mounted with the libraries that it runs
//! with (`own`): it opens a listener in the container's network, hands it out to the relay, and starts the command.
//!
//! Invariants: the container has a loopback and nothing else, no capability, and no way to new ones. It sees of this
//! machine the folder that the command starts in, what was shared by name, and a private folder; of these not the keys
//! of Sortie, nor sockets that somebody listens at. It is removed at its end, and ends with this process, killed or not.
//! The session's token is in none of it. Nothing is pulled.

mod engine;
mod own;

use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::process::Child;

use self::engine::Engine;
use self::own::Own;
use super::cover::covered;
use super::handover::{Handover, Inner, Met};
use super::{SHARED, inside, stopped};
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::relay;
use crate::run::child::{self, Signals};

/// How long making a container may take: some engines copy the image.
const SET_UP_DEADLINE: Duration = Duration::from_secs(300);
/// Folders that belong to the image: a folder of this machine over one of them would hide its programs.
const SYSTEM: [&str; 12] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/sbin", "/sys",
    "/usr",
];
/// What a container is made of.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// With --isolate=container: the image, which has the command in it; it has to be there already [default:
    /// `SORTIE_IMAGE`]
    // Not by clap's `env`: variables may stand around, arguments are meant.
    #[arg(long, value_name = "IMAGE", requires = "isolate")]
    image: Option<String>,
    /// The container engine, by name or path [default: `SORTIE_CONTAINER_ENGINE`, or docker or podman, whichever answers
    /// first]
    #[arg(long, value_name = "ENGINE", requires = "isolate")]
    engine: Option<PathBuf>,
    /// A file or folder that the container sees, besides the folder the command starts in; `PATH:ro` to be read only;
    /// may be repeated
    #[arg(long, value_name = "PATH", requires = "isolate", value_parser = shared)]
    share: Vec<Shared>,
}

impl Options {
    /// Whether something of it stands on the command line.
    pub(super) const fn is_given(&self) -> bool {
        self.image.is_some() || self.engine.is_some() || !self.share.is_empty()
    }
}

/// A path of this machine that is seen inside, at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shared {
    path: PathBuf,
    writable: bool,
}

fn shared(text: &str) -> std::result::Result<Shared, String> {
    let (path, writable) = match text.strip_suffix(":ro") {
        Some(path) => (path, false),
        None => (text, true),
    };
    let path = Path::new(path)
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let kind = path.metadata().map_err(|error| error.to_string())?;
    if kind.file_type().is_socket() {
        return Err("a socket would be a way past the gateway".to_owned());
    }
    Ok(Shared { path, writable })
}

/// What is shared, each path once: engines refuse to mount two things at one place. The last word counts, so that the
/// folder the command starts in can be named to be read only.
fn every(here: &Path, named: &[Shared]) -> Vec<Shared> {
    let mut shared = vec![Shared {
        path: here.to_owned(),
        writable: true,
    }];
    for one in named {
        shared.retain(|other| other.path != one.path);
        shared.push(one.clone());
    }
    // The outer ones first: an inner one lies over them.
    shared.sort_by_key(|shared| shared.path.components().count());
    shared
}

/// An engine and an image that are there.
#[derive(Debug)]
pub(crate) struct Container {
    engine: Engine,
    image: String,
    shared: Vec<Shared>,
    hide: Vec<PathBuf>,
    /// Where the command starts.
    here: PathBuf,
}

/// The folders of one run, as they are named inside and outside.
#[derive(Debug, Clone, Copy)]
struct Folders<'a> {
    /// What the command's environment names, and a home.
    private: &'a Path,
    /// Where the listener is handed over.
    handover: &'a Path,
}

impl Folders<'_> {
    fn home(&self) -> PathBuf {
        self.private.join("home")
    }

    fn environment(&self) -> PathBuf {
        self.private.join("environment")
    }
}

impl Container {
    /// Asks the engine; makes nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] without an image, [`Error::Failed`] for an engine or an image that is not there, and for a folder
    /// that no container can see.
    pub(crate) async fn find(options: &Options, hide: Vec<PathBuf>) -> Result<Self> {
        let named = |name| config::variable(name).filter(|value| !value.is_empty());
        let image = options.image.clone().or_else(|| named("SORTIE_IMAGE"));
        let image = image.filter(|name| !name.is_empty());
        let image = image.ok_or_else(|| {
            Error::Usage(
                "--isolate=container needs an image that has the command in it: name it with --image, or in SORTIE_IMAGE"
                    .to_owned(),
            )
        })?;
        let here =
            std::env::current_dir().map_err(|source| Error::system("find the folder", source))?;
        let shared = every(&here, &options.share);
        shared.iter().try_for_each(|shared| usable(&shared.path))?;
        let engine = options.engine.clone();
        let engine = engine.or_else(|| named("SORTIE_CONTAINER_ENGINE").map(PathBuf::from));
        let engine = Engine::find(engine.as_deref()).await?;
        engine.has(&image).await?;
        Ok(Self {
            engine,
            image,
            shared,
            hide,
            here,
        })
    }

    /// The words that `--print` shows.
    ///
    /// # Errors
    /// As running it.
    pub(crate) fn shown(&self, folder: &str, command: &[OsString]) -> Result<Vec<OsString>> {
        let folders = Folders {
            private: Path::new(folder),
            handover: Path::new("HANDOVER"),
        };
        self.line("sortie-run-NAME", folders, command)
    }

    /// Runs the command to its end, as [`child::run`] does.
    ///
    /// # Errors
    /// Whatever keeps it from being started.
    pub(crate) async fn run(
        &self,
        (command, environment): (&[OsString], impl Iterator<Item = (OsString, OsString)>),
        private: &Path,
        way: relay::Run<'_>,
        context: &Context,
    ) -> Result<ExitCode> {
        let mut signals = Signals::catch()?;
        let handover = Handover::open()?;
        let folders = Folders {
            private,
            handover: handover.folder(),
        };
        let home = folders.home();
        fs::create_dir(&home).map_err(|source| Error::file("make", &home, source))?;
        let own = [("HOME", home.as_os_str()), ("PWD", self.here.as_os_str())]
            .map(|(name, value)| (name.into(), value.into()));
        let bytes = inside::environment(environment.chain(own));
        config::write_private(&folders.environment(), &bytes)?;
        let name = handover.folder().file_name().unwrap_or_default();
        let name = format!("sortie-run-{}", suffix(&name.to_string_lossy()));
        let line = self.line(&name, folders, command)?;
        let mut child = start(&line)?;
        let (met, inner) = self.met(handover, &mut child, &mut signals).await?;
        let _relay = way.behind(inner.proxy, inner.entrances, context)?;
        // The container ends when this line does.
        let (command, _line) = met.go().await?;
        child::follow(&mut child, command, &mut signals).await
    }

    fn line(
        &self,
        name: &str,
        folders: Folders<'_>,
        command: &[OsString],
    ) -> Result<Vec<OsString>> {
        let own = Own::find()?;
        let (entry, rest) = own
            .start
            .split_first()
            .ok_or_else(|| Error::failed("this program has no name", "Start it by its path."))?;
        let mut line: Vec<OsString> = vec![self.engine.program.clone().into()];
        line.extend(
            // What the command prints is nobody's log.
            "run --rm --interactive --network=none --cap-drop=ALL --security-opt=no-new-privileges \
             --security-opt=label=disable --log-driver=none --pull=never"
                .split_whitespace()
                .map(OsString::from),
        );
        line.extend(self.engine.own_proxies().map(OsString::from));
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            line.push("--tty".into());
        }
        line.push(format!("--name={name}").into());
        line.extend(self.engine.user().into_iter().map(OsString::from));
        line.push(option("--workdir=", &self.here));
        for mount in self.mounts(&own, folders) {
            line.push("--mount".into());
            line.push(mount.words()?);
        }
        line.push(option("--entrypoint=", Path::new(entry)));
        line.push(self.image.clone().into());
        line.extend(rest.iter().cloned());
        line.extend(["__inside", "contain", "--handover"].map(OsString::from));
        line.push(folders.handover.join("handover").into());
        line.push("--environment".into());
        line.push(folders.environment().into());
        line.push("--".into());
        line.extend(command.iter().cloned());
        Ok(line)
    }

    /// The outer ones first: an inner one lies over them.
    fn mounts(&self, own: &Own, folders: Folders<'_>) -> Vec<Mount> {
        let mut mounts = Vec::new();
        for shared in &self.shared {
            mounts.push(Mount::bind(&shared.path, &shared.path, shared.writable));
        }
        let is_seen = |path: &Path| {
            self.shared
                .iter()
                .any(|shared| path.starts_with(&shared.path))
        };
        for path in covered(&[folders.private, folders.handover], &self.hide, is_seen) {
            mounts.push(if path.is_dir() {
                Mount::Empty(path)
            } else {
                Mount::bind(Path::new("/dev/null"), &path, false)
            });
        }
        mounts.push(Mount::bind(folders.private, folders.private, false));
        mounts.push(Mount::bind(&folders.home(), &folders.home(), true));
        mounts.push(Mount::bind(folders.handover, folders.handover, false));
        for (place, file) in &own.files {
            mounts.push(Mount::bind(file, place, false));
        }
        mounts
    }

    async fn met(
        &self,
        handover: Handover,
        child: &mut Child,
        signals: &mut Signals,
    ) -> Result<(Met, Inner)> {
        let name = self.engine.program.display();
        let meeting = tokio::time::timeout(SET_UP_DEADLINE, handover.meet());
        tokio::select! {
            met = meeting => met.unwrap_or_else(|_elapsed| Err(Error::failed(
                format!("{name} did not start the container"),
                "Try again, and look at the engine's own log.",
            ))),
            _caught = signals.next() => Err(stopped(child).await),
            ended = child.wait() => {
                drop(ended);
                Err(Error::failed(
                    format!("{name} cannot start the container"),
                    "What it refused stands above. The engine has to run on this machine itself, not in a virtual \
                     machine or behind a network, and the image has to be of this machine's architecture.",
                ))
            }
        }
    }
}

/// A file or folder that the container sees.
#[derive(Debug)]
enum Mount {
    Bind {
        from: PathBuf,
        to: PathBuf,
        writable: bool,
    },
    /// Nothing, in the place of a folder.
    Empty(PathBuf),
}

impl Mount {
    fn bind(from: &Path, to: &Path, writable: bool) -> Self {
        Self::Bind {
            from: from.to_owned(),
            to: to.to_owned(),
            writable,
        }
    }

    fn words(&self) -> Result<OsString> {
        let mut words = OsString::new();
        match self {
            Self::Bind { from, to, writable } => {
                words.push("type=bind,source=");
                words.push(plain(from)?);
                words.push(",target=");
                words.push(plain(to)?);
                words.push(if *writable { "" } else { ",readonly" });
            }
            Self::Empty(to) => {
                words.push("type=tmpfs,target=");
                words.push(plain(to)?);
            }
        }
        Ok(words)
    }
}

/// A path that engines read as it is: their lists are separated by commas, and some know quotes.
fn plain(path: &Path) -> Result<&Path> {
    let text = path.to_string_lossy();
    if text.contains([',', '"', '\n', '\r']) {
        return Err(Error::failed(
            format!("{text:?} has a character that container engines read as the end of a path"),
            "Run the command from a folder without commas and quotes in its path.",
        ));
    }
    Ok(path)
}

/// Whether a container can see a folder of this machine without losing its own.
fn usable(path: &Path) -> Result<()> {
    let is_same = |other: &str| Path::new(other) == path;
    if SYSTEM.iter().chain(&SHARED).any(|other| is_same(other)) {
        return Err(Error::failed(
            format!(
                "{} is the system's, and a container has one of its own",
                path.display()
            ),
            "Run the command from a folder of its own, and share no folder of the system.",
        ));
    }
    plain(path).map(drop)
}

fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// What tells this run's folder from another's is a name for its container, too.
fn suffix(folder: &str) -> String {
    let random = folder.rsplit('-').next().unwrap_or_default();
    random.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn start(line: &[OsString]) -> Result<Child> {
    let mut started = std::process::Command::new(line.first().unwrap_or(&OsString::new()));
    started.args(line.iter().skip(1));
    sortie_sys::process::be_killed_with_parent(&mut started);
    tokio::process::Command::from(started)
        .spawn()
        .map_err(|source| Error::system("start the container engine", source))
}

#[cfg(test)]
mod tests;
