//! What a group of agents came to: latencies, errors by kind, secrets seen.
//!
//! Latency is kept in microseconds to three digits, from the due time of a request to the end of its answer. `lag` is
//! how late a request was taken: the driver's own lateness, and the wait for an agent that is free. Where it is not
//! small beside the latency, the driver was measured, or there were too few agents.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

/// The longest latency that is told from longer ones: ten minutes.
const MICROS_MAX: u64 = 600_000_000;
const DIGITS: u8 = 3;
/// The most kinds of errors that are told apart.
const KINDS_MAX: usize = 64;

/// What happened, by group. Shared by all its agents.
#[derive(Debug)]
pub struct Recorder(Mutex<Measured>);

/// What happened.
#[derive(Debug, Clone)]
pub struct Measured {
    latency: Histogram<u64>,
    /// Of answers that were calm, where that is known.
    calm: Histogram<u64>,
    lag: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    leaks: u64,
    not_taken: u64,
    sent_again: u64,
    bytes: u64,
    seconds: f64,
}

impl Measured {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never: the bounds are constant.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, MICROS_MAX, DIGITS)?,
            calm: Histogram::new_with_bounds(1, MICROS_MAX, DIGITS)?,
            lag: Histogram::new_with_bounds(1, MICROS_MAX, DIGITS)?,
            errors: BTreeMap::new(),
            leaks: 0,
            not_taken: 0,
            sent_again: 0,
            bytes: 0,
            seconds: 0.0,
        })
    }

    /// Adds what happened at another time.
    ///
    /// # Errors
    /// Never: all histograms have the same bounds.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency.add(&other.latency)?;
        self.calm.add(&other.calm)?;
        self.lag.add(&other.lag)?;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        self.leaks += other.leaks;
        self.not_taken += other.not_taken;
        self.sent_again += other.sent_again;
        self.bytes += other.bytes;
        self.seconds += other.seconds;
        Ok(())
    }

    /// For how long it was measured.
    pub fn lasted(&mut self, time: Duration) {
        self.seconds += time.as_secs_f64();
    }

    /// How many were answered as they should.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.latency.len()
    }

    /// How many were answered, a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.answered() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// How many came to nothing.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// How many answers had a credential in them.
    #[must_use]
    pub fn leaks(&self) -> u64 {
        self.leaks
    }

    /// How many were sent anew, since they were certainly not taken.
    #[must_use]
    pub fn not_taken(&self) -> u64 {
        self.not_taken
    }

    /// How many were sent again, since a kept HTTP/1.1 connection ended without an answer: they may have been taken.
    #[must_use]
    pub fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// A latency that so many of a hundred do not exceed, in milliseconds.
    #[must_use]
    pub fn millis(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e3
    }

    /// How many answers came while no processor stood still, where that was watched.
    #[must_use]
    pub fn calm(&self) -> u64 {
        self.calm.len()
    }

    /// A latency that so many of a hundred of those do not exceed, in milliseconds. Not a number where there are none.
    #[must_use]
    pub fn calm_millis(&self, percentile: f64) -> f64 {
        if self.calm.is_empty() {
            return f64::NAN;
        }
        self.calm.value_at_percentile(percentile) as f64 / 1e3
    }

    /// How late ninety-nine of a hundred were taken, in milliseconds.
    #[must_use]
    pub fn lag_millis(&self) -> f64 {
        self.lag.value_at_percentile(99.0) as f64 / 1e3
    }

    /// Points of the latency's distribution: how many nines, and milliseconds.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let points = [
            0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99,
        ];
        points
            .map(|percentile| (nines(percentile), self.millis(percentile)))
            .to_vec()
    }

    /// Errors by kind.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "answered": self.answered(),
            "per_second": self.per_second(),
            "mebibytes": self.bytes as f64 / f64::from(1 << 20),
            "p50_ms": self.millis(50.0),
            "p90_ms": self.millis(90.0),
            "p99_ms": self.millis(99.0),
            "p99_9_ms": self.millis(99.9),
            "calm": self.calm(),
            "calm_p50_ms": self.calm_millis(50.0),
            "calm_p99_ms": self.calm_millis(99.0),
            "max_ms": self.latency.max() as f64 / 1e3,
            "taken_late_p99_ms": self.lag_millis(),
            "errors": self.errors,
            "not_taken": self.not_taken,
            "sent_again": self.sent_again,
            "secrets_seen": self.leaks,
        })
    }
}

/// Where a percentile stands in a plot that has room for its tail: 90 at 1, 99 at 2, 99.9 at 3.
#[must_use]
pub fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).log10()
}

/// One that was answered.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Answered {
    /// From when it was due until its answer ended.
    pub latency: Duration,
    /// How late it was taken by an agent.
    pub lag: Duration,
    /// The bytes of its body.
    pub bytes: u64,
    /// Whether no processor stood still meanwhile. Not, where that is not watched.
    pub calm: bool,
}

impl Recorder {
    /// Of nothing yet.
    ///
    /// # Errors
    /// Never: the bounds are constant.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(Mutex::new(Measured::new()?)))
    }

    /// An arrival was answered.
    pub fn answered(&self, answered: Answered) {
        self.with(|measured| {
            measured.latency.saturating_record(micros(answered.latency));
            if answered.calm {
                measured.calm.saturating_record(micros(answered.latency));
            }
            measured.lag.saturating_record(micros(answered.lag));
            measured.bytes += answered.bytes;
        });
    }

    /// Arrivals came to nothing.
    pub fn failed(&self, kind: &str, count: u64) {
        self.with(|measured| {
            let known = measured.errors.len() < KINDS_MAX || measured.errors.contains_key(kind);
            let kind = if known { kind } else { "other" };
            *measured.errors.entry(kind.to_owned()).or_default() += count;
        });
    }

    /// A credential was seen in an answer.
    pub fn leaked(&self) {
        self.with(|measured| measured.leaks += 1);
    }

    /// A request was sent anew, since it was certainly not taken.
    pub fn not_taken(&self) {
        self.with(|measured| measured.not_taken += 1);
    }

    /// A request was sent again, since its connection ended without an answer.
    pub fn sent_again(&self) {
        self.with(|measured| measured.sent_again += 1);
    }

    /// What happened so far.
    #[must_use]
    pub fn so_far(&self) -> Measured {
        self.with(|measured| measured.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Measured) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(MICROS_MAX)
        .clamp(1, MICROS_MAX)
}

#[cfg(test)]
mod tests;
