//! A program of the cluster as a child: found, started, waited for, stopped.
//!
//! Invariants: it has its own process group, so that Ctrl-C reaches it only through us and in order; it does not outlive
//! us; its log is private and bounded at each start.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sortie_proto::secret::Secret;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config;
use crate::error::{Error, Result};

/// A log longer than this is set aside at the next start, in bytes.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of a log's end is read to show its last lines, in bytes.
const TAIL_BYTES: u64 = 16 * 1024;
/// How many lines are shown.
const TAIL_LINES: usize = 15;
/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(50);

/// A child that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where this start begins in the log, in bytes.
    begin: u64,
}

/// Finds a program beside our own, or in PATH.
///
/// # Errors
/// [`Error::Failed`] if it is in neither.
pub(super) fn find(name: &str) -> Result<PathBuf> {
    // What is found by a link, as npm makes one, stands beside its target.
    let ours = std::env::current_exe().and_then(fs::canonicalize).ok();
    let beside = ours
        .as_deref()
        .and_then(Path::parent)
        .map(|folder| folder.join(name));
    let in_path = config::variable("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&in_path).map(|folder| folder.join(name)))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::failed(
                format!("`{name}` is neither beside `sortie` nor in PATH"),
                "They come together: in a release beside each other; from a clone, `make dev` builds all three.",
            )
        })
}

impl Process {
    /// Starts it. `join` goes by the environment: arguments show in `ps`.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        config: &Path,
        log: &Path,
        join: Option<&Secret>,
    ) -> Result<Self> {
        let (output, begin) = open_log(log).map_err(|source| Error::file("open", log, source))?;
        let errors = output
            .try_clone()
            .map_err(|source| Error::file("open", log, source))?;
        let mut command = std::process::Command::new(program);
        command
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        for (name, _) in config::variables().filter(|(name, _)| is_foreign(name.as_bytes())) {
            command.env_remove(name);
        }
        if let Some(join) = join {
            let text = std::ffi::OsStr::from_bytes(join.expose());
            command.env("SORTIE_GATEWAY__JOIN", text);
        }
        sortie_sys::process::die_with_parent(&mut command);
        let child = Command::from(command)
            .spawn()
            .map_err(|source| Error::file("start", program, source))?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
            begin,
        })
    }

    /// What it is called.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id, until its end was seen.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether its end has not been seen.
    pub(super) fn is_running(&self) -> bool {
        self.child.id().is_some()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// [`Error::Failed`] with the end of its log if it ends or takes too long.
    pub(super) async fn ready(&mut self, admin: String, patience: Duration) -> Result<()> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(|error| Error::Config(format!("cannot make an HTTP client: {error}")))?;
        let url = format!("{admin}/readyz");
        let deadline = Instant::now() + patience;
        loop {
            if http
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            tokio::select! {
                failure = self.ended() => return Err(failure),
                () = sleep(POLL) => {}
            }
            if Instant::now() >= deadline {
                let seconds = patience.as_secs();
                return Err(self.failure(&format!("was not ready after {seconds} s")));
            }
        }
    }

    /// Waits for an end that nobody asked for.
    pub(super) async fn ended(&mut self) -> Error {
        let how = match self.child.wait().await {
            Ok(status) => format!("ended by itself ({status})"),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        self.failure(&how)
    }

    /// Asks it to stop, waits, and ends it if it does not, or if `hurry` says so.
    ///
    /// # Errors
    /// [`Error::Failed`] if it had to be ended, or ended with a failure.
    pub(super) async fn stop(
        mut self,
        patience: Duration,
        hurry: impl Future<Output = ()>,
    ) -> Result<()> {
        // It was waited for already: whoever did that has told how it ended.
        let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            return Ok(());
        };
        let asked = kill(Pid::from_raw(id), Signal::SIGTERM);
        asked.map_err(|errno| Error::system("stop a program", errno.into()))?;
        let ended = tokio::select! {
            ended = timeout_at(Instant::now() + patience, self.child.wait()) => ended.ok(),
            () = hurry => None,
        };
        match ended {
            Some(Ok(status)) if is_clean(status) => Ok(()),
            Some(Ok(status)) => Err(self.failure(&format!("stopped badly ({status})"))),
            Some(Err(source)) => Err(Error::system("wait for a program", source)),
            None => {
                let killed = self.child.kill().await;
                killed.map_err(|source| Error::system("end a program", source))?;
                Err(self.failure("did not stop and was killed"))
            }
        }
    }

    fn failure(&self, how: &str) -> Error {
        let tail = tail(&self.log, self.begin);
        let shown = if tail.is_empty() {
            "its log is empty".to_owned()
        } else {
            format!("the end of its log:\n{tail}")
        };
        Error::failed(
            format!("{} {how}; {shown}", self.name),
            format!("The whole log is {}.", self.log.display()),
        )
    }
}

/// Whether a variable is Sortie's but meant for neither control nor gateway: a key, above all.
fn is_foreign(name: &[u8]) -> bool {
    name.starts_with(b"SORTIE_")
        && !name.starts_with(b"SORTIE_CONTROL__")
        && !name.starts_with(b"SORTIE_GATEWAY__")
}

/// Some programs end by the signal itself, after they have cleaned up.
fn is_clean(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.success() || status.signal() == Some(Signal::SIGTERM as i32)
}

/// The log, and how much earlier starts wrote to it.
pub(super) fn open_log(path: &Path) -> std::io::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let begin = file.metadata()?.len();
    Ok((file, begin))
}

fn tail(path: &Path, begin: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            length.saturating_sub(TAIL_BYTES).max(begin),
        ))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    let last: Vec<_> = lines
        .into_iter()
        .skip(first)
        .map(|line| format!("    {line}"))
        .collect();
    last.join("\n")
}

#[cfg(test)]
mod tests;
