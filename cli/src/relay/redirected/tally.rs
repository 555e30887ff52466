//! Why redirected connections were closed, how often, and who is told.
//!
//! Invariant: each reason is said the first time, and then at each power of ten, so that a client that tries again and
//! again fills no log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use crate::output::Output;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// Nobody redirected it.
    Direct,
    /// It is the relay's own way to the gateway.
    Loop,
    /// It said nothing, or not all that it takes, in time.
    Silent,
    /// Its first bytes have no end.
    TooLong,
    /// Neither TLS nor HTTP/1.
    Unknown,
    /// TLS without SNI, or HTTP without one `Host`; or an address in its place.
    Nameless,
    /// No tunnel: a code of the gateway's, or of the relay's own.
    Refused(&'static str),
}

impl Reason {
    /// A word for programs.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Direct => "redirect_missing",
            Self::Loop => "redirect_loop",
            Self::Silent => "opening_timeout",
            Self::TooLong => "opening_too_large",
            Self::Unknown => "opening_unknown",
            Self::Nameless => "name_missing",
            Self::Refused(code) => code,
        }
    }

    /// A sentence for people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Direct => {
                "it was not redirected; a client that knows a proxy uses the relay's own port"
            }
            Self::Loop => {
                "it is the relay's own way to the gateway: leave the relay's user out of the firewall's rule"
            }
            Self::Silent => "the client did not say which host it wants",
            Self::TooLong => "the client's first bytes have no end",
            Self::Unknown => "it is neither TLS nor HTTP/1",
            Self::Nameless => "it names no host (TLS without SNI, or no `Host`)",
            Self::Refused(_) => "there is no tunnel for it",
        }
    }
}

/// How often each reason came up. There are as many as reasons and codes.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Mutex<BTreeMap<Reason, u64>>,
    out: Output,
}

impl Tally {
    /// Nothing yet.
    pub(super) const fn new(out: Output) -> Self {
        Self {
            counts: Mutex::new(BTreeMap::new()),
            out,
        }
    }

    /// One more.
    pub(super) fn count(&self, reason: Reason, meant: Option<SocketAddr>) {
        let Some(count) = self.add(reason) else {
            return;
        };
        let target = meant.map_or_else(|| "nowhere".to_owned(), |meant| meant.to_string());
        self.out.note(&format!(
            "sortie: relay: a redirected connection to {target} was closed: {} ({}, {count} so far)",
            reason.words(),
            reason.code(),
        ));
    }

    /// How often there was one, where that is to be said.
    fn add(&self, reason: Reason) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(reason).or_default();
        *count = count.saturating_add(1);
        let is_round = count
            .checked_ilog10()
            .is_some_and(|digits| *count == 10_u64.pow(digits));
        is_round.then_some(*count)
    }
}

#[cfg(test)]
mod tests;
