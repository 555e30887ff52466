//! Child processes: started with their output in a file, watched until ready, accounted, ended in good order.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::cpus::Apart;

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

    /// Its id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
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

    /// Waits until it ends by itself. Answers what it came to.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ended(mut self) -> Result<Account> {
        let ended = timeout(END, self.finish()).await;
        ended.with_context(|| format!("{} did not end", self.name))
    }

    async fn finish(&mut self) -> Account {
        let mut account = Account::default();
        // What has ended and was not waited for is still accounted.
        while let Ok((is_running, cpu)) = spent(self.pid) {
            account.cpu = cpu;
            account.peak = self.peak().unwrap_or_default().max(account.peak);
            if !is_running {
                break;
            }
            sleep(POLL).await;
        }
        // How it ended is in its log.
        let _status = self.child.wait().await;
        account
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
        let each = family(self.pid)?.into_iter();
        each.map(|pid| Ok(spent(pid)?.1)).sum()
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

    /// The most resident memory that it alone had at any time, in bytes.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn peak(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibi = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibi: u64 = kibi.context("no peak in its status")?.parse()?;
        Ok(kibi << 10)
    }

    /// Asks it to end, and kills it if it does not. Answers what it came to.
    pub async fn stop(mut self) -> Account {
        if let Ok(pid) = i32::try_from(self.pid) {
            // It may have ended by itself: then there is nobody to tell.
            let _told = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ended = timeout(END, self.finish()).await;
        ended.unwrap_or_else(|_late| {
            super::report::say(&format!("{} did not end and was killed", self.name));
            Account::default()
        })
    }
}

/// What a process came to that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    /// Its user and system time, all threads.
    pub cpu: Duration,
    /// The most resident memory that it had, in bytes.
    pub peak: u64,
}

/// Starts a proxy on the processors of gateways, and waits until it listens.
///
/// # Errors
/// When it cannot be started or does not listen.
pub async fn start_listening(
    (name, folder): (&str, &Path),
    command: &mut Command,
    (address, apart): (SocketAddr, &Apart),
) -> Result<Process> {
    let start = || Process::start(name, folder, command);
    let mut process = apart
        .start_gateway(start)
        .context("what is compared with is installed by scripts/setup --peers")?;
    process
        .until(|| async { TcpStream::connect(address).await.is_ok() })
        .await?;
    Ok(process)
}

/// Whether a process runs, and its user and system time, all threads.
fn spent(pid: u32) -> Result<(bool, Duration)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces: fields are counted behind it. The state is 3, utime and stime 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").context("not a stat line")?;
    let mut spent = Duration::ZERO;
    for field in fields.split(' ').skip(11).take(2) {
        spent += TICK * field.parse()?;
    }
    Ok((!fields.starts_with('Z'), spent))
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
