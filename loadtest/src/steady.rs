//! A machine that measures itself less: who stands for other machines goes first, and no processor sleeps.
//!
//! Where everything shares a machine, the generator and the upstream wait for processors behind control and PostgreSQL,
//! which in earnest have their own. And a virtual processor that has nothing to do is given to somebody else: it comes back
//! late, to caches that are cold. Both are latencies, and neither is the gateway's.
//!
//! So threads of the generator and the upstream are scheduled before all others (`SCHED_RR`, sched(7)), and processors
//! that have nothing to do poll (`/dev/cpu_dma_latency` at 0: `pm_qos_interface` in the kernel's documentation). Both
//! hold for what goes past a gateway, too. What cannot be helped, a processor that the host takes away, is watched
//! ([`stalls`]). It needs Linux, and root.

pub mod stalls;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use self::stalls::Stalls;
use crate::cpus::Apart;

/// What a processor that has nothing to do may need until it works again, in µs: with nothing, it does not sleep.
const LATENCY_MAX: i32 = 0;
/// What results say.
const NOTE: &str =
    "The generator and the upstream were scheduled before all else, and processors kept awake.";

/// While it lives, processors are kept awake, and watched.
#[derive(Debug)]
pub struct Steady {
    /// The request holds while the file is open.
    _awake: File,
    stalls: Arc<Stalls>,
}

impl Steady {
    /// Lets this process and the upstream go first, for as long as they live, and keeps all processors awake.
    ///
    /// # Errors
    /// Where the system does not allow it.
    pub fn start(apart: &Apart, upstream: u32) -> Result<Self> {
        let awake = stay_awake()
            .context("--steady keeps processors awake by /dev/cpu_dma_latency, which needs root")?;
        for pid in [std::process::id(), upstream] {
            schedule(&["--all-tasks"], 1, pid)?;
        }
        let stalls = Arc::new(Stalls::default());
        for cpu in apart.all()? {
            stalls::watch(&stalls, cpu)?;
        }
        Ok(Self {
            _awake: awake,
            stalls,
        })
    }

    /// When processors stood still.
    #[must_use]
    pub fn stalls(&self) -> &Arc<Stalls> {
        &self.stalls
    }

    /// How it was measured.
    #[must_use]
    pub fn notes(&self) -> [String; 2] {
        [NOTE.to_owned(), self.stalls.to_string()]
    }
}

fn stay_awake() -> std::io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .open("/dev/cpu_dma_latency")?;
    file.write_all(&LATENCY_MAX.to_ne_bytes())?;
    Ok(file)
}

/// Schedules a process or a thread before all that have no priority of this kind, or a lower one.
fn schedule(more: &[&str], priority: u32, id: u32) -> Result<()> {
    let set = Command::new("chrt")
        .args(more)
        .args(["--rr", "--pid", &priority.to_string(), &id.to_string()])
        .output()
        .context("--steady needs chrt (util-linux)")?;
    ensure!(
        set.status.success(),
        "--steady needs the right to set priorities: {}",
        String::from_utf8_lossy(&set.stderr).trim()
    );
    Ok(())
}
