//! Fair shares of a node that has too much to do: who is refused first.
//!
//! A tenant's share is its weight over the weights of all tenants that have something open. On a node that has room,
//! shares mean nothing. On one that is overloaded, a tenant that uses its share or more is refused; one that uses less
//! is not touched, so that a noisy tenant is what a noisy tenant notices.
//!
//! **Invariant.** What is open is never cut for it: only new requests are refused.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::pressure::{Memory, Short};

/// Why a request is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// As many requests are open as the node takes.
    Requests,
    /// Memory is short.
    Memory,
    /// The worker threads are behind.
    Lag,
}

impl Reason {
    /// The metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Memory => "memory",
            Self::Lag => "lag",
        }
    }
}

/// What is open on the node, and by how many.
#[derive(Debug, Default)]
pub struct Load {
    open: AtomicU32,
    weights: AtomicU64,
}

impl Load {
    /// A request of somebody was opened.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A request of somebody was closed.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// A tenant has its first request open.
    pub fn came(&self, weight: NonZeroU32) {
        self.weights
            .fetch_add(weight.get().into(), Ordering::Relaxed);
    }

    /// A tenant's last request was closed.
    pub fn went(&self, weight: NonZeroU32) {
        self.weights
            .fetch_sub(weight.get().into(), Ordering::Relaxed);
    }

    /// Whether one more request of a tenant is refused, which has `own` others open and was counted already.
    #[must_use]
    pub fn judge(
        &self,
        (own, weight): (u32, NonZeroU32),
        max: NonZeroU32,
        pressure: Short,
    ) -> Option<Reason> {
        if pressure.memory == Memory::Out {
            return Some(Reason::Memory);
        }
        let open = self.open.load(Ordering::Relaxed);
        let is_full = open > max.get();
        if !is_full && pressure.memory == Memory::Enough && !pressure.lags {
            return None;
        }
        let all = self.weights.load(Ordering::Relaxed).max(1);
        let weight = u64::from(weight.get());
        let uses_share_of = |whole: u32| {
            let share = u64::from(whole) * weight / all;
            u64::from(own) >= share.max(1)
        };
        if is_full && uses_share_of(max.get()) {
            return Some(Reason::Requests);
        }
        if pressure.memory == Memory::Short && uses_share_of(open) {
            return Some(Reason::Memory);
        }
        // Behind by itself alone, a tenant is only slow: refusing it helps nobody.
        let is_alone = all <= weight;
        (pressure.lags && !is_alone && uses_share_of(open)).then_some(Reason::Lag)
    }
}

#[cfg(test)]
mod tests;
