//! Child processes: started with their output in a file, watched until ready, accounted, ended in good order.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a process may take to become ready, PostgreSQL's first start included.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end when asked.
const END: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Linux counts in hundredths of a second for user space, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);
const PAGE: u64 = 4096;

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `FOLDER/NAME.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(std::process::Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Self {
            name: name.to_owned(),
            child,
            pid,
            log,
        })
    }

    /// Waits until a check holds.
    ///
    /// # Errors
    /// When the process ends before, or the time is over; the end of its log is in the message.
    pub async fn until<F: Future<Output = bool>>(&mut self, check: impl Fn() -> F) -> Result<()> {
        let deadline = Instant::now() + START;
        while !check().await {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended before it was ready ({status}):\n{}",
                    self.name,
                    self.last_lines()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "{} is not ready:\n{}",
                self.name,
                self.last_lines()
            );
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ended(mut self) -> Result<()> {
        let ended = timeout(END, self.child.wait()).await;
        ended.with_context(|| format!("{} did not end", self.name))??;
        Ok(())
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_lines(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// User and system time of it and of its children, all threads.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn cpu(&self) -> Result<Duration> {
        let mut spent = Duration::ZERO;
        for pid in family(self.pid)? {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The name in parentheses may hold spaces: fields are counted behind it. utime and stime are 14 and 15.
            let (_, fields) = stat.rsplit_once(") ").context("not a stat line")?;
            for field in fields.split(' ').skip(11).take(2) {
                spent += TICK * field.parse()?;
            }
        }
        Ok(spent)
    }

    /// Resident memory of it and of its children, in bytes.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn resident(&self) -> Result<u64> {
        family(self.pid)?.into_iter().map(resident).sum()
    }

    /// Resident memory of it alone, in bytes.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn own_resident(&self) -> Result<u64> {
        resident(self.pid)
    }

    /// Asks it to end, and kills it if it does not.
    pub async fn stop(mut self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            // It may have ended by itself: then there is nobody to tell.
            let _told = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if timeout(END, self.child.wait()).await.is_err() {
            super::report::say(&format!("{} did not end and was killed", self.name));
        }
    }
}

fn resident(pid: u32) -> Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm.split(' ').nth(1).context("not a statm line")?;
    Ok(pages.parse::<u64>()? * PAGE)
}

/// A process and its children: NGINX works in one of them.
fn family(pid: u32) -> Result<Vec<u32>> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .context("process accounts are read from /proc: this needs Linux")?;
    let mut family = vec![pid];
    for child in listed.split_whitespace() {
        family.push(child.parse()?);
    }
    Ok(family)
}
