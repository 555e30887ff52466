//! How much one subject may use: requests, bytes, and requests at once.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// The largest count and burst.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// The longest that an empty bucket may take to fill.
const FILL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What one tenant, vault, agent, service or session may use, over all gateways. What is `None` is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests, when they come.
    pub requests: Option<Rate>,
    /// Bytes of bodies, both ways.
    pub bytes: Option<Rate>,
    /// Requests that are open at once.
    pub concurrency: Option<NonZeroU32>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.requests.is_none() && self.bytes.is_none() && self.concurrency.is_none()
    }
}

/// So many in a period, evenly, and a burst at once: a bucket that holds the burst and fills at the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: NonZeroU64,
    per: Period,
    burst: NonZeroU64,
}

/// A rate that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    /// Zero, or too large.
    #[error("count and burst must be 1 to 1,000,000,000,000")]
    OutOfRange,
    /// A burst that the rate does not fill in a week.
    #[error("the burst must fill in seven days at most")]
    BurstTooLarge,
}

impl Rate {
    /// Makes one.
    ///
    /// # Errors
    /// [`InvalidRate`].
    pub fn new(count: u64, per: Period, burst: u64) -> Result<Self, InvalidRate> {
        let in_range = |number| {
            let number = NonZeroU64::new(number).ok_or(InvalidRate::OutOfRange)?;
            if number.get() > COUNT_MAX {
                return Err(InvalidRate::OutOfRange);
            }
            Ok(number)
        };
        let rate = Self {
            count: in_range(count)?,
            per,
            burst: in_range(burst)?,
        };
        if rate.time_of(burst) > FILL_MAX {
            return Err(InvalidRate::BurstTooLarge);
        }
        Ok(rate)
    }

    /// How many in a period.
    #[must_use]
    pub const fn count(&self) -> NonZeroU64 {
        self.count
    }

    /// The period.
    #[must_use]
    pub const fn per(&self) -> Period {
        self.per
    }

    /// How many at once.
    #[must_use]
    pub const fn burst(&self) -> NonZeroU64 {
        self.burst
    }

    /// How long the bucket takes to gain so many, rounded up.
    #[must_use]
    pub fn time_of(&self, many: u64) -> Duration {
        let period = self.per.duration().as_nanos();
        let nanos = (u128::from(many) * period).div_ceil(u128::from(self.count.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What a rate is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Period {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Reads the name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        })
    }
}

#[cfg(test)]
mod tests;
