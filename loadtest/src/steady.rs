//! A machine that measures itself less: who stands for other machines goes first, and no processor sleeps.
//!
//! Where everything shares a machine, the generator and the upstream wait for processors behind control and PostgreSQL,
//! which in earnest have their own. And a virtual processor that has nothing to do is given to somebody else: it comes back
//! late, to caches that are cold. Both are latencies, and neither is the gateway's.
//!
//! So threads of the generator and the upstream are scheduled before all others (`SCHED_RR`), and a loop that yields to
//! anything (`SCHED_IDLE`) keeps each processor awake (sched(7)). Both hold for what goes past a gateway, too. It needs
//! Linux, and the right to set priorities.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};

use crate::cpus::Apart;

/// What results say.
pub const NOTE: &str =
    "The generator and the upstream were scheduled before all else, and processors kept awake.";

/// A loop until it is killed, or the process whose id is put in is gone.
const AWAKE: &str =
    "while kill -0 $0 2>/dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done";

/// While it lives, processors are kept awake.
#[derive(Debug)]
pub struct Steady {
    _awake: Vec<Child>,
}

impl Steady {
    /// Lets this process and the upstream go first, for as long as they live, and keeps all processors awake.
    ///
    /// # Errors
    /// Where the system does not allow it.
    pub async fn start(apart: &Apart, upstream: u32) -> Result<Self> {
        let own = std::process::id();
        let awake = (apart.all()?.into_iter())
            .map(|cpu| stay_awake(cpu, own))
            .collect::<Result<_>>()?;
        for pid in [own, upstream] {
            go_first(pid).await?;
        }
        Ok(Self { _awake: awake })
    }
}

fn stay_awake(cpu: usize, parent: u32) -> Result<Child> {
    Command::new("taskset")
        .args(["--cpu-list", &cpu.to_string(), "chrt", "--idle", "0"])
        .args(["sh", "-c", AWAKE, &parent.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("--steady needs taskset and chrt (util-linux)")
}

async fn go_first(pid: u32) -> Result<()> {
    let set = Command::new("chrt")
        .args(["--all-tasks", "--rr", "--pid", "1", &pid.to_string()])
        .output()
        .await
        .context("--steady needs chrt (util-linux)")?;
    ensure!(
        set.status.success(),
        "--steady needs the right to set priorities: {}",
        String::from_utf8_lossy(&set.stderr).trim()
    );
    Ok(())
}
