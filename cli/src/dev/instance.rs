//! Who runs in a data folder: a lock that says that somebody does, and a record that says who.
//!
//! Invariants: the lock alone proves that a cluster runs, since the kernel lets it go with the process, however that
//! ends. The record is written under the lock. A process id is given again once its process is gone, so that of a
//! record is signalled only while the lock is held, and only if the kernel says that its process began when the one of
//! the record did.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::layout::Layout;
use crate::config::write_private;
use crate::error::{Error, Result};

/// How often the lock is tried before somebody else is said to hold it: one who only looks holds it for an instant.
const TRIES: u32 = 10;
/// How long between two tries, and between two looks.
const PAUSE: Duration = Duration::from_millis(25);
/// How often a record is read anew while the lock is held and it does not say by whom.
const LOOKS: u32 = 80;

/// How far a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// Something is not there yet.
    Starting,
    /// The demonstration has succeeded; without one, the gateway is ready.
    Ready,
    /// It was asked to stop.
    Stopping,
}

/// What the process that holds the lock says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The id of `sortie dev`.
    pub(super) pid: i32,
    /// When the kernel began that process, in its own words; `None` where it does not tell.
    began: Option<String>,
    pub(super) phase: Phase,
    /// Whether it runs in the background.
    pub(super) detached: bool,
    /// Whether the demo tenant and upstream are there.
    pub(super) demo: bool,
    pub(super) port_base: u16,
    pub(super) started_at: Timestamp,
    /// The version of `sortie`.
    pub(super) version: String,
    /// The id of control, once it was started.
    pub(super) control: Option<u32>,
    /// The id of the gateway, once it was started.
    pub(super) gateway: Option<u32>,
}

impl Record {
    /// Of this process, with a demonstration.
    pub(super) fn ours(port_base: u16, detached: bool) -> Self {
        let pid = Pid::this().as_raw();
        let now = Timestamp::now();
        Self {
            pid,
            began: began(pid),
            phase: Phase::Starting,
            detached,
            demo: true,
            port_base,
            // People read it: to the second.
            started_at: Timestamp::from_second(now.as_second()).unwrap_or(now),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            control: None,
            gateway: None,
        }
    }

    /// Whether this is the same start of the same process.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.pid, &self.began, self.started_at) == (other.pid, &other.began, other.started_at)
    }

    /// Whether the process that has the id now is the one that wrote this.
    fn is_alive(&self) -> bool {
        self.pid > 0
            && kill(Pid::from_raw(self.pid), None) != Err(Errno::ESRCH)
            && began(self.pid) == self.began
    }

    /// Asks it to stop.
    ///
    /// # Errors
    /// [`Error::System`] if the system does not let us.
    pub(super) fn ask_to_stop(&self) -> Result<()> {
        match kill(Pid::from_raw(self.pid), Signal::SIGTERM) {
            // Gone in between: that is what was wanted.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::system("stop `sortie dev`", errno.into())),
        }
    }
}

/// This process as the only cluster of a folder, for as long as it lives.
#[derive(Debug)]
pub(super) struct Instance {
    path: PathBuf,
    record: Record,
    _lock: Flock<File>,
}

impl Instance {
    /// Takes the folder; `None` if another `sortie dev` has it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) async fn claim(layout: &Layout, record: Record) -> Result<Option<Self>> {
        for _ in 0..TRIES {
            if let Some(lock) = lock(layout.folder(), FlockArg::LockExclusiveNonblock)? {
                let path = record_path(layout.folder());
                let instance = Self {
                    path,
                    record,
                    _lock: lock,
                };
                instance.write()?;
                return Ok(Some(instance));
            }
            sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// Changes what it says about itself.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        change(&mut self.record);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.record)
            .map_err(|error| Error::system("write JSON", error.into()))?;
        write_private(&self.path, &text)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // The lock goes right after. A record that stays, of a process that was killed, proves nothing.
        drop(fs::remove_file(&self.path));
    }
}

/// The cluster that runs in a folder, if one does.
///
/// # Errors
/// [`Error::File`], and [`Error::Failed`] if one runs and does not say which.
pub(super) async fn find(folder: &Path) -> Result<Option<Record>> {
    if !folder.join("lock").exists() {
        return Ok(None);
    }
    // The lock is taken before the record is written: for an instant an old record, or none, stands beside it.
    for _ in 0..LOOKS {
        if lock(folder, FlockArg::LockSharedNonblock)?.is_some() {
            return Ok(None);
        }
        let record = fs::read(record_path(folder))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        if let Some(record) = record.filter(Record::is_alive) {
            return Ok(Some(record));
        }
        sleep(PAUSE).await;
    }
    Err(Error::failed(
        format!(
            "something runs in {} and does not say what",
            folder.display()
        ),
        "`fuser` or `lsof` of the file `lock` in it names the process.",
    ))
}

fn record_path(folder: &Path) -> PathBuf {
    folder.join("instance.json")
}

fn lock(folder: &Path, how: FlockArg) -> Result<Option<Flock<File>>> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| Error::file("open", &path, source))?;
    match Flock::lock(file, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(Error::file("lock", &path, errno.into())),
    }
}

/// When a process began, in ticks since the machine did: field 22 of `/proc/PID/stat`, `proc(5)`. Its second field is a
/// name in parentheses that may hold anything.
#[cfg(target_os = "linux")]
fn began(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// Not told without a call of its own.
#[cfg(not(target_os = "linux"))]
const fn began(_pid: i32) -> Option<String> {
    None
}

#[cfg(test)]
mod tests;
