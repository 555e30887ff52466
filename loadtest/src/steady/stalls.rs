//! When processors stood still.
//!
//! A virtual machine's host takes processors away for milliseconds, and what waits for one meanwhile is measured as if
//! the gateway had been slow. The guest learns of it afterwards, in ticks (`steal`). So on each processor a thread that
//! goes before everything wakes each millisecond, and looks how late it is.
//!
//! An answer is *calm* if no processor stood still from shortly before it was due until it was there. That does not
//! depend on who was asked: a program keeps no such thread waiting, unless in a single call of the system.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::schedule;
use crate::cpus;

/// How often each processor is looked at.
const TICK: Duration = Duration::from_millis(1);
/// How late a thread that goes first may wake.
const STILL: Duration = Duration::from_millis(1);
/// For how long there is more to do than usual, after a processor stood still.
const AFTER: Duration = Duration::from_millis(100);

/// When processors stood still.
#[derive(Debug)]
pub struct Stalls {
    begin: Instant,
    /// When one last moved again: microseconds since the begin.
    last: AtomicU64,
    count: AtomicU64,
    micros: AtomicU64,
}

impl Default for Stalls {
    fn default() -> Self {
        Self {
            begin: Instant::now(),
            last: AtomicU64::new(0),
            count: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }
}

impl Stalls {
    /// A processor stood still for so long, until now.
    fn add(&self, lasted: Duration) {
        self.last
            .fetch_max(micros(self.begin.elapsed()), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros(lasted), Ordering::Relaxed);
    }

    /// Whether none stood still since shortly before then.
    #[must_use]
    pub fn calm_since(&self, due: Instant) -> bool {
        let last = Duration::from_micros(self.last.load(Ordering::Relaxed));
        last.is_zero() || last + AFTER < due.saturating_duration_since(self.begin)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Processors stood still for more than {} ms {} times, for {} ms in all; *calm* are answers that were due \
             {} ms after that or later.",
            STILL.as_millis(),
            self.count.load(Ordering::Relaxed),
            self.micros.load(Ordering::Relaxed) / 1000,
            AFTER.as_millis()
        )
    }
}

/// Watches a processor for as long as anybody wants to know.
///
/// # Errors
/// Where there is no such processor, or the system sets no priorities.
pub(super) fn watch(stalls: &Arc<Stalls>, cpu: usize) -> Result<()> {
    let (stalls, (say, said)) = (Arc::downgrade(stalls), mpsc::sync_channel(1));
    thread::Builder::new()
        .name(format!("watch {cpu}"))
        .spawn(move || {
            let first = cpus::keep_this_thread(cpu).and_then(|id| schedule(&[], 2, id));
            let may = first.is_ok();
            let _gone = say.send(first);
            if may {
                look(&stalls);
            }
        })?;
    said.recv()?
}

fn look(stalls: &Weak<Stalls>) {
    loop {
        let asleep = Instant::now();
        thread::sleep(TICK);
        let late = asleep.elapsed().saturating_sub(TICK);
        let Some(stalls) = stalls.upgrade() else {
            return;
        };
        if late > STILL {
            stalls.add(late);
        }
    }
}

#[cfg(test)]
mod tests;
