//! Limits, and the form in which callers write them.

use std::num::NonZeroU32;

use super::{Invalid, Result, v1};
use crate::limits::{Limits, Period, Rate};

impl From<Rate> for v1::Rate {
    fn from(rate: Rate) -> Self {
        let per = match rate.per() {
            Period::Second => v1::Period::Second,
            Period::Minute => v1::Period::Minute,
            Period::Hour => v1::Period::Hour,
            Period::Day => v1::Period::Day,
        };
        Self {
            count: rate.count().get(),
            per: per.into(),
            burst: rate.burst().get(),
        }
    }
}

impl TryFrom<v1::Rate> for Rate {
    type Error = Invalid;

    fn try_from(wire: v1::Rate) -> Result<Self> {
        let per = match wire.per() {
            v1::Period::Second => Period::Second,
            v1::Period::Minute => Period::Minute,
            v1::Period::Hour => Period::Hour,
            v1::Period::Day => Period::Day,
            v1::Period::Unspecified => return Err(Invalid("rate.per")),
        };
        Self::new(wire.count, per, wire.burst).or(Err(Invalid("rate")))
    }
}

/// None at all is no message.
impl From<&Limits> for Option<v1::Limits> {
    fn from(limits: &Limits) -> Self {
        (!limits.is_none()).then(|| v1::Limits {
            requests: limits.requests.map(Into::into),
            bytes: limits.bytes.map(Into::into),
            concurrency: limits.concurrency.map_or(0, NonZeroU32::get),
        })
    }
}

impl TryFrom<Option<v1::Limits>> for Limits {
    type Error = Invalid;

    fn try_from(wire: Option<v1::Limits>) -> Result<Self> {
        let wire = wire.unwrap_or_default();
        Ok(Self {
            requests: wire.requests.map(TryInto::try_into).transpose()?,
            bytes: wire.bytes.map(TryInto::try_into).transpose()?,
            concurrency: NonZeroU32::new(wire.concurrency),
        })
    }
}

/// As callers write them. None at all is no message.
impl From<&Limits> for Option<v1::LimitsSpec> {
    fn from(limits: &Limits) -> Self {
        let rate = |rate: Rate| v1::RateSpec {
            count: rate.count().get(),
            per: rate.per().name().to_owned(),
            burst: rate.burst().get(),
        };
        (!limits.is_none()).then(|| v1::LimitsSpec {
            requests: limits.requests.map(rate),
            bytes: limits.bytes.map(rate),
            concurrency: limits.concurrency.map_or(0, NonZeroU32::get),
        })
    }
}
