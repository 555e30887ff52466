//! The wall clock, for what the world outside knows by it: ends of tokens and grants, times in the journal. Leases and
//! deadlines are on monotonic clocks elsewhere.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch.
#[must_use]
pub fn seconds() -> i64 {
    micros() / 1_000_000
}

/// Microseconds since the Unix epoch.
#[must_use]
pub fn micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}
