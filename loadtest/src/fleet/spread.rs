//! How long something took, each time.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::report::{Table, short};

/// Durations, in microseconds.
#[derive(Debug)]
pub struct Spread(Histogram<u64>);

impl Spread {
    /// Of none yet.
    ///
    /// # Errors
    /// Never: the bounds are constant.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 600_000_000, 3)?))
    }

    /// One more.
    pub fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.max(1));
    }

    /// What so many of a hundred do not exceed, in milliseconds.
    #[must_use]
    pub fn at(&self, percentile: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        self.0.value_at_percentile(percentile) as f64 / 1e3
    }

    /// A row of a table of spreads.
    #[must_use]
    pub fn row(&self, what: &str) -> Vec<String> {
        let shown = [50.0, 90.0, 99.0, 100.0].map(|percentile| short(self.at(percentile)));
        let mut row = vec![what.to_owned(), self.0.len().to_string()];
        row.extend(shown);
        row
    }

    /// The head of such a table.
    #[must_use]
    pub fn table() -> Table {
        Table::new(&[
            "from the call",
            "times",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "most ms",
        ])
    }
}
