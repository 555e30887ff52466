//! Where something was measured, and of what.

use std::fmt;
use std::process::Command;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A machine, and the commit that ran on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// The commit, with `+` behind it if the tree held more than it.
    pub commit: String,
    /// Its processor.
    pub processor: String,
    /// How many of them.
    pub processors: usize,
    /// Its kernel.
    pub kernel: String,
    /// How many processes wanted to run in the last minute: others disturb.
    pub load: String,
    /// The part of all processors' time, in per cent, that a virtual machine's host gave to others since
    /// [`Machine::watch`] (`steal`, see `proc_stat(5)`): what was measured waited meanwhile.
    #[serde(default)]
    pub stolen: Option<f64>,
}

/// Time of all processors, in ticks, and what of it was given to others.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

static WATCHED: OnceLock<Option<Ticks>> = OnceLock::new();

impl Machine {
    /// Counts from here on what the host gives to others.
    pub fn watch() {
        let _first = WATCHED.get_or_init(Ticks::now);
    }

    /// This one. What cannot be read is `unknown`.
    #[must_use]
    pub fn here() -> Self {
        let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
        let mark = if changed.is_empty() { "" } else { "+" };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            commit: format!(
                "{}{mark}",
                said("git", &["rev-parse", "--short=12", "HEAD"])
            ),
            processor: field("model name")
                .next()
                .unwrap_or_else(|| "unknown".to_owned()),
            // Not those that this process keeps to: all.
            processors: field("processor").count(),
            kernel: said("uname", &["-sr"]),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            stolen: WATCHED
                .get()
                .copied()
                .flatten()
                .and_then(Ticks::stolen_since),
        }
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        let all = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = all
            .split_whitespace()
            .map_while(|part| part.parse().ok())
            .collect();
        Some(Self {
            // What guests used is in their hosts' user time already.
            all: ticks.iter().take(8).sum(),
            stolen: *ticks.get(7)?,
        })
    }

    fn stolen_since(self) -> Option<f64> {
        let now = Self::now()?;
        let all = now.all.saturating_sub(self.all);
        let stolen = now.stolen.saturating_sub(self.stolen);
        (all > 0).then(|| stolen as f64 * 100.0 / all as f64)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Commit {}, {} × {}, {}, load at the end {}",
            self.commit, self.processors, self.processor, self.kernel, self.load
        )?;
        match self.stolen {
            Some(stolen) => write!(f, ", {stolen:.1} % of processors' time taken by the host"),
            None => Ok(()),
        }
    }
}

/// What the kernel says of each processor.
fn field(name: &str) -> impl Iterator<Item = String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let values = values.filter(|(key, _)| key.trim() == name);
    let values: Vec<_> = values.map(|(_, value)| value.trim().to_owned()).collect();
    values.into_iter()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_missing| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
