//! The cluster's time, for what the world outside knows by it: ends of tokens and grants, times in the journal. Leases
//! and deadlines are on monotonic clocks elsewhere.
//!
//! It is the database's time, as control told it last, and goes on with this machine's clock since it was started. So it
//! does not matter what this machine takes the time for: an operator or a smearing time server may set its wall clock
//! as they like, and no token lives longer and no revocation is forgotten sooner. Before control has told the time, and
//! with a control that does not, it is the wall clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// A time that is told arrives late and never early, so that the latest one is the best. If it is so many microseconds
/// behind the one before, the clock of the database has been set.
const SET_BACK: i64 = 5_000_000;

static CLOCK: Clock = Clock(AtomicI64::new(0));

/// Seconds since the Unix epoch.
#[must_use]
pub fn seconds() -> i64 {
    micros() / 1_000_000
}

/// Microseconds since the Unix epoch.
#[must_use]
pub fn micros() -> i64 {
    CLOCK.at(since_start()).unwrap_or_else(wall)
}

/// Takes the time that control tells, in microseconds since the Unix epoch. Zero is from one that does not tell it.
pub fn told(time: i64) {
    if let (1.., Some(since_start)) = (time, since_start()) {
        CLOCK.told(time, since_start);
    }
}

/// By how much this machine's wall clock is ahead of the cluster's time; negative, if it is behind. Zero before control
/// has told it.
#[must_use]
pub fn ahead() -> f64 {
    let (wall, cluster) = (wall(), CLOCK.at(since_start()));
    let apart = cluster.map_or(0, |cluster| wall.abs_diff(cluster));
    let apart = Duration::from_micros(apart).as_secs_f64();
    if cluster > Some(wall) { -apart } else { apart }
}

/// The time since this machine started, sleep included; `None` when it cannot be read.
#[must_use]
pub fn since_start() -> Option<Duration> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::CLOCK_BOOTTIME;
    // Darwin's monotonic clock counts while the machine sleeps.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::CLOCK_MONOTONIC;
    clock_gettime(clock).ok().map(Duration::from)
}

fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().map_or(0, micros_of)
}

fn micros_of(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// When this machine started, in microseconds since the Unix epoch; zero until control has told the time.
#[derive(Debug)]
struct Clock(AtomicI64);

impl Clock {
    fn at(&self, since_start: Option<Duration>) -> Option<i64> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            started => since_start.map(|since| started.saturating_add(micros_of(since))),
        }
    }

    /// For one caller at a time: the follow service.
    fn told(&self, time: i64, since_start: Duration) {
        let started = time.saturating_sub(micros_of(since_start));
        let before = self.0.load(Ordering::Relaxed);
        if before == 0 || started > before || started < before.saturating_sub(SET_BACK) {
            self.0.store(started, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_time_is_what_was_told_and_goes_on_by_itself() {
        let clock = Clock(AtomicI64::new(0));
        let since = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(clock.at(since(7)), None);
        clock.told(1_000 * SECOND, Duration::from_secs(7));
        assert_eq!(clock.at(since(7)), Some(1_000 * SECOND));
        assert_eq!(clock.at(since(10)), Some(1_003 * SECOND));
        assert_eq!(clock.at(None), None);
    }

    #[test]
    fn what_is_told_late_sets_nothing_back_and_a_clock_that_was_set_does() {
        let clock = Clock(AtomicI64::new(0));
        let at = Some(Duration::from_secs(20));
        clock.told(1_000 * SECOND, Duration::from_secs(10));
        clock.told(1_008 * SECOND, Duration::from_secs(20));
        assert_eq!(clock.at(at), Some(1_010 * SECOND));
        clock.told(1_011 * SECOND, Duration::from_secs(20));
        assert_eq!(clock.at(at), Some(1_011 * SECOND));
        clock.told(900 * SECOND, Duration::from_secs(20));
        assert_eq!(clock.at(at), Some(900 * SECOND));
    }
}
