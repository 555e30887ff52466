//! How long this node may serve a vault without hearing from control.
//!
//! A beat carries a nonce; control echoes it once all that a database beat behind it could see has been sent. The lease
//! runs from the moment at which *this node sent* the nonce, on a clock that counts while the machine sleeps: neither a
//! delayed echo nor a suspended machine makes it longer. **Invariants:** the confirmed moment only moves forward, but
//! for the end of all leases, and before the first echo no lease holds.
//!
//! A process that did not run for a while (stopped, frozen, starved) has missed what was revoked meanwhile, however long
//! its lease still is. It knows by a tick that did not come, and serves again once control has confirmed a moment behind
//! the gap.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

use crate::clock;

/// The most beats that may wait for their echo. The oldest is forgotten first: a later echo confirms more.
const BEATS_MAX: usize = 256;

/// How long the tick may be late, in milliseconds.
const STALL_MAX: u64 = 10_000;

/// A clock in milliseconds that never stops and is set by nobody. Zero means that it cannot be read.
pub type BootClock = fn() -> u64;

/// The time since the machine started, sleep included.
#[must_use]
pub fn boot_clock() -> u64 {
    millis(clock::since_start())
}

/// The time for which this machine has run.
fn running_clock() -> u64 {
    let read = clock_gettime(ClockId::CLOCK_MONOTONIC).ok();
    millis(read.map(Duration::from))
}

fn millis(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The beats that were sent, and up to which moment control has confirmed us.
#[derive(Debug)]
pub struct Lease {
    clock: BootClock,
    running: BootClock,
    confirmed: AtomicU64,
    /// Confirmed moments before it do not count.
    counts_from: AtomicU64,
    /// The last tick by the running clock; zero before the first.
    ticked: AtomicU64,
    sent: Mutex<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    last: u64,
    waiting: VecDeque<(u64, u64)>,
}

impl Lease {
    /// A lease that does not hold yet.
    #[must_use]
    pub fn new(clock: BootClock) -> Self {
        Self::with_clocks(clock, running_clock)
    }

    fn with_clocks(clock: BootClock, running: BootClock) -> Self {
        Self {
            clock,
            running,
            confirmed: AtomicU64::new(0),
            counts_from: AtomicU64::new(0),
            ticked: AtomicU64::new(0),
            sent: Mutex::new(Sent::default()),
        }
    }

    /// The nonce of a beat that is sent right behind this call. Never one that was used before.
    pub fn beat(&self) -> u64 {
        let now = (self.clock)();
        let mut sent = self.sent.lock();
        sent.last = sent.last.saturating_add(1);
        let nonce = sent.last;
        if sent.waiting.len() >= BEATS_MAX {
            sent.waiting.pop_front();
        }
        sent.waiting.push_back((nonce, now));
        nonce
    }

    /// Takes an echo: it confirms the nonce and all before it. One that was never sent confirms nothing.
    pub fn echo(&self, nonce: u64) {
        let mut sent = self.sent.lock();
        let Some(index) = sent.waiting.iter().position(|(sent, _)| *sent == nonce) else {
            return;
        };
        if let Some((_, at)) = sent.waiting.drain(..=index).next_back() {
            self.confirmed.fetch_max(at, Ordering::Release);
        }
    }

    /// Forgets the beats of a connection that has ended: their echoes cannot come any more.
    pub fn disconnected(&self) {
        self.sent.lock().waiting.clear();
    }

    /// Ends it: it holds again with the next echo of a beat that is sent from now on.
    pub fn end(&self) {
        self.disconnected();
        self.confirmed.store(0, Ordering::Release);
    }

    /// How long ago the confirmed moment is; `None` before the first.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        let age = || Duration::from_millis((self.clock)().saturating_sub(confirmed));
        (confirmed != 0).then(age)
    }

    /// The confirmed moment in milliseconds of the clock; zero before the first.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Called every second. Answers whether the one before is so long ago that what was confirmed does not count.
    pub fn tick(&self) -> bool {
        let stalled = self.has_stalled();
        if stalled {
            // Before the tick counts: nobody must see the one without the other.
            self.counts_from.store((self.clock)(), Ordering::Release);
        }
        self.ticked.store((self.running)(), Ordering::Release);
        stalled
    }

    fn has_stalled(&self) -> bool {
        let ticked = self.ticked.load(Ordering::Acquire);
        ticked != 0 && (self.running)().saturating_sub(ticked) > STALL_MAX
    }

    /// Whether a vault of this staleness may be served.
    #[must_use]
    pub fn holds(&self, staleness: Duration) -> bool {
        self.is_within(self.confirmed(), staleness)
    }

    /// Whether a moment of the clock is there, and less than a staleness ago.
    #[must_use]
    pub fn is_within(&self, moment: u64, staleness: Duration) -> bool {
        let now = (self.clock)();
        moment != 0
            && now != 0
            && !self.has_stalled()
            && moment >= self.counts_from.load(Ordering::Acquire)
            && u128::from(now.saturating_sub(moment)) < staleness.as_millis()
    }
}

#[cfg(test)]
mod tests;
