//! When requests are due: fixed before the first is sent, whatever the answers do.
//!
//! Latency is counted from the due time. A driver that waited for answers before it sent the next request would leave
//! out just those that a slow answer kept waiting.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Deserialize;

/// How arrivals lie in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Independent of each other, as those of many agents are: exponential gaps.
    #[default]
    Poisson,
    /// At equal distances.
    Even,
    /// All of a second at its beginning.
    Burst,
}

/// The due times of a group, from the beginning of its phase. It has no end.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    rate: f64,
    next: f64,
    sent: u64,
    random: StdRng,
}

impl Schedule {
    /// A schedule; the same seed gives the same one.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        Self {
            arrivals,
            rate,
            next: 0.0,
            sent: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.sent += 1;
        let number = self.sent as f64;
        self.next = match self.arrivals {
            // The inverse of the distribution; 1 - x is never 0.
            Arrivals::Poisson => self.next - (1.0 - self.random.random::<f64>()).ln() / self.rate,
            Arrivals::Even => number / self.rate,
            Arrivals::Burst => ((number - 1.0) / self.rate).floor(),
        };
        Some(Duration::from_secs_f64(self.next))
    }
}

#[cfg(test)]
mod tests;
