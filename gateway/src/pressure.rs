//! What the node is short of: memory, and time on its worker threads. A task measures, requests read.
//!
//! Memory is what this process has resident, against the least of what it was given: the setting, its control group's
//! limit, the machine's memory. It is measured on Linux; elsewhere it is always enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use prometheus::{Gauge, IntGauge, Registry};
use tokio::time::Instant;

/// How often it is measured.
const PERIOD: Duration = Duration::from_millis(100);
/// From so many hundredths of the memory on, new work of who uses much is refused.
const SHORT: u64 = 92;
/// From so many on, all new work is.
const OUT: u64 = 95;
/// So much of each new measurement goes into the lag.
const SMOOTHING: f64 = 0.3;

/// How short of memory the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// There is enough.
    Enough,
    /// Tenants that use their share or more are refused.
    Short,
    /// Every new request and every new connection is refused.
    Out,
}

/// What the node is short of at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Memory.
    pub memory: Memory,
    /// Whether the worker threads are behind.
    pub lags: bool,
}

/// The last measurement. Cheap to clone; clones see the same one.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// 0 enough, 1 short, 2 out.
    memory: AtomicU8,
    lags: AtomicBool,
}

impl Pressure {
    /// What the node is short of now.
    #[must_use]
    pub fn now(&self) -> Short {
        Short {
            memory: self.memory(),
            lags: self.0.lags.load(Ordering::Relaxed),
        }
    }

    /// How short of memory it is now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        match self.0.memory.load(Ordering::Relaxed) {
            0 => Memory::Enough,
            1 => Memory::Short,
            _ => Memory::Out,
        }
    }

    fn set(&self, found: Short) {
        let memory = match found.memory {
            Memory::Enough => 0,
            Memory::Short => 1,
            Memory::Out => 2,
        };
        let before = self.0.memory.swap(memory, Ordering::Relaxed);
        if before != memory {
            tracing::warn!(memory = ?found.memory, "the memory that is left has changed");
        }
        self.0.lags.store(found.lags, Ordering::Relaxed);
    }
}

/// What is measured against.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes that the process may take; `None` is what the system says.
    pub memory_max: Option<u64>,
    /// How far the worker threads may be behind.
    pub lag_max: Duration,
}

/// Measures.
#[derive(Debug)]
pub struct Watch {
    pressure: Pressure,
    memory_max: Option<u64>,
    lag_max: Duration,
    lag: f64,
    memory_bytes: IntGauge,
    lag_seconds: Gauge,
}

impl Watch {
    /// Makes one, and registers what it measures.
    ///
    /// # Errors
    /// A metric's name that is taken.
    pub fn new(
        config: &Config,
        pressure: Pressure,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("sortie_gateway_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let memory_max = config.memory_max.or_else(given);
        let max = gauge("memory_max_bytes", "Memory that the process may take")?;
        max.set(memory_max.and_then(|max| max.try_into().ok()).unwrap_or(0));
        let lag_seconds = Gauge::new(
            "sortie_gateway_worker_lag_seconds",
            "How far the worker threads are behind",
        )?;
        registry.register(Box::new(lag_seconds.clone()))?;
        Ok(Self {
            pressure,
            memory_max,
            lag_max: config.lag_max,
            lag: 0.0,
            memory_bytes: gauge("memory_bytes", "Resident memory of the process")?,
            lag_seconds,
        })
    }

    /// Measures until it is dropped. It runs where requests do: a turn that comes late is the lag.
    pub async fn run(mut self) {
        loop {
            let before = Instant::now();
            tokio::time::sleep(PERIOD).await;
            let late = before.elapsed().saturating_sub(PERIOD).as_secs_f64();
            self.lag = self.lag.mul_add(1.0 - SMOOTHING, late * SMOOTHING);
            self.lag_seconds.set(self.lag);
            self.pressure.set(Short {
                memory: self.memory(),
                lags: self.lag > self.lag_max.as_secs_f64(),
            });
        }
    }

    fn memory(&self) -> Memory {
        let (Some(max), Some(taken)) = (self.memory_max, resident()) else {
            return Memory::Enough;
        };
        self.memory_bytes.set(taken.try_into().unwrap_or(i64::MAX));
        judge(taken, max)
    }
}

fn judge(taken: u64, max: u64) -> Memory {
    match taken.saturating_mul(100) / max.max(1) {
        hundredths if hundredths >= OUT => Memory::Out,
        hundredths if hundredths >= SHORT => Memory::Short,
        _ => Memory::Enough,
    }
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    field(Path::new("/proc/self/status"), "VmRSS:")
}

/// What the system lets this process take.
fn given() -> Option<u64> {
    let machine = field(Path::new("/proc/meminfo"), "MemTotal:");
    machine.into_iter().chain(groups()).min()
}

/// A field of a file of the kernel's that says kB.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The limits of the process's control groups, its own and those around it: of version 2, else of version 1.
fn groups() -> Vec<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse().ok();
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.unwrap_or_default().trim_start_matches('/');
    let inside = Path::new("/sys/fs/cgroup").join(own);
    let around = inside
        .ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let mut found: Vec<u64> = around
        .filter_map(|folder| read(folder.join("memory.max")))
        .collect();
    found.extend(read(PathBuf::from(
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    )));
    found
}

#[cfg(test)]
mod tests;
