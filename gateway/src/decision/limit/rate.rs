//! A bucket of requests or bytes: what this node may take of a rate that holds for the cluster.
//!
//! Two sources fill it. Tokens that were **leased** from the bucket that all nodes share are taken first, and while that
//! one has more, a batch beyond. Beside them stands this node's own **share**: a GCRA at the rate divided by the number
//! of nodes. It admits what comes before the first lease, and while there is none to be had. What was taken beside a
//! lease is charged to the shared bucket with the next one. Once that one was found empty, the share is as empty, until
//! the same moment.
//!
//! **Invariants.** All is a few atomics: no lock, no wait. Without a shared bucket the nodes together admit the rate.
//! With one, they admit the rate in the long run; a node is ahead by a batch at most, and by its share of the burst
//! where it meets a subject for the first time.
//!
//! The `governor` crate has the same algorithm, with the rate fixed when a bucket is made and no debts. Here the rate
//! is an argument (admins change it, and the number of nodes does), and bytes are counted when they have passed.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use sortie_proto::limits::Rate;

/// The longest debt: a bucket that owes more is forgiven the rest.
const DEBT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an answer of the shared bucket speaks for it.
const FRESH: Duration = Duration::from_secs(2);

/// A moment, in nanoseconds since the node started.
pub type Moment = u64;

/// A bucket. It is full when it is made.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When this node's share is full again.
    full_at: AtomicU64,
    /// Tokens that were leased; below zero, those that were taken beside a lease and are still to be charged.
    lease: AtomicI64,
    /// Until when nothing more is asked for: the shared bucket is empty.
    ask_after: AtomicU64,
    /// Until when the shared bucket is taken to have more.
    fresh_until: AtomicU64,
    /// At how many leased tokens more are asked for.
    low: AtomicI64,
    /// Whether somebody has been told to ask and has not answered.
    asked: AtomicBool,
}

/// A rate as one node sees it at a moment.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The rate of the cluster.
    pub rate: Rate,
    /// How many nodes share it.
    pub nodes: u32,
    /// When.
    pub now: Moment,
}

/// What the shared bucket answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// So many tokens were leased.
    pub tokens: i64,
    /// So long it has no more; zero if it has.
    pub dry: Duration,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl View {
    /// How long this node's share takes to gain so many.
    fn cost(&self, many: u64) -> u64 {
        nanos(self.rate.time_of(many)).saturating_mul(self.nodes.max(1).into())
    }

    /// How long this node's share takes to fill. One token always fits.
    fn window(&self) -> u64 {
        nanos(self.rate.time_of(self.rate.burst().get())).max(self.cost(1))
    }

    /// How many tokens are leased at once: what a tenth of a second brings, but of this node's share of the burst a
    /// quarter at least and a half at most. What is not used goes back.
    #[must_use]
    pub fn batch(&self) -> i64 {
        let tenth = u128::from(self.rate.count().get()) * 100;
        let tenth = tenth / self.rate.per().duration().as_millis().max(1);
        let share = self.rate.burst().get() / u64::from(self.nodes.max(1));
        let batch = u64::try_from(tenth).unwrap_or(u64::MAX);
        let batch = batch.max(share / 4).min(share / 2).max(1);
        i64::try_from(batch).unwrap_or(i64::MAX)
    }
}

impl Bucket {
    /// Takes one token.
    ///
    /// # Errors
    /// How long until there may be one.
    pub fn take(&self, view: View) -> Result<(), Duration> {
        if self.leased(view) {
            self.spend(view, 1, view.window());
            return Ok(());
        }
        let (cost, window) = (view.cost(1), view.window());
        let spent = self
            .full_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |full| {
                let next = full.max(view.now).saturating_add(cost);
                (next - view.now <= window).then_some(next)
            });
        match spent {
            Ok(_) => {
                self.lease.fetch_sub(1, Ordering::AcqRel);
                Ok(())
            }
            Err(full) => {
                let next = full.max(view.now).saturating_add(cost);
                Err(Duration::from_nanos(next - view.now - window))
            }
        }
    }

    /// Gives a token back that led to nothing: another limit refused.
    pub fn give_back(&self, view: View) {
        self.lease.fetch_add(1, Ordering::AcqRel);
        let cost = view.cost(1);
        let _before = self
            .full_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |full| {
                Some(full.saturating_sub(cost))
            });
    }

    /// Asks whether the bucket is out of debt. Takes nothing: what passes is charged when it has passed.
    ///
    /// # Errors
    /// How long until it is.
    pub fn check(&self, view: View) -> Result<(), Duration> {
        if self.lease.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        let full = self.full_at.load(Ordering::Acquire);
        match full.saturating_sub(view.now.saturating_add(view.window())) {
            0 => Ok(()),
            debt => Err(Duration::from_nanos(debt)),
        }
    }

    /// Takes what has passed. The bucket may owe then.
    pub fn charge(&self, view: View, many: u64) {
        let signed = i64::try_from(many).unwrap_or(i64::MAX);
        self.lease.fetch_sub(signed, Ordering::AcqRel);
        // While the shared bucket has more, it is the one that is owed: what one node passed, all of them owe.
        let debt = if self.is_fresh(view.now) {
            0
        } else {
            nanos(DEBT_MAX)
        };
        self.spend(view, many, view.window().saturating_add(debt));
    }

    /// Whether somebody is to be told to ask for more. Says so once until that was answered.
    pub fn is_low(&self, now: Moment) -> bool {
        self.lease.load(Ordering::Relaxed) <= self.low.load(Ordering::Relaxed)
            && now >= self.ask_after.load(Ordering::Relaxed)
            && !self.asked.load(Ordering::Relaxed)
            && !self.asked.swap(true, Ordering::AcqRel)
    }

    // What follows is the lessor's.

    /// What is to be charged to the shared bucket. It is taken from here: it is charged once.
    pub fn owed(&self) -> i64 {
        let lease = self.lease.load(Ordering::Acquire);
        let owed = lease.saturating_neg().max(0);
        self.lease.fetch_add(owed, Ordering::AcqRel);
        owed
    }

    /// What is left of a lease. It is taken from here, to be given back.
    pub fn unused(&self) -> i64 {
        let left = self
            .lease
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |lease| {
                (lease > 0).then_some(0)
            });
        left.unwrap_or(0)
    }

    /// Takes the shared bucket's answer.
    pub fn granted(&self, grant: Grant, view: View) {
        self.lease.fetch_add(grant.tokens, Ordering::AcqRel);
        self.low.store(view.batch() / 2, Ordering::Relaxed);
        let until = |time: Duration| view.now.saturating_add(nanos(time));
        let window = until(Duration::from_nanos(view.window()));
        let fresh = if grant.dry.is_zero() { until(FRESH) } else { 0 };
        self.fresh_until.store(fresh, Ordering::Release);
        let full = if grant.dry.is_zero() {
            // There is something left, so that nothing is owed.
            self.full_at.load(Ordering::Acquire).min(window)
        } else {
            let ask_after = until(grant.dry.min(FRESH));
            self.ask_after.store(ask_after, Ordering::Relaxed);
            // The next token comes when the shared bucket has one.
            window
                .saturating_add(nanos(grant.dry))
                .saturating_sub(view.cost(1))
        };
        // A request that is counted in this moment is forgotten here; the lease knows of it.
        self.full_at.store(full, Ordering::Release);
    }

    /// Nobody answers: nothing is asked for a while.
    pub fn ask_later(&self, now: Moment, pause: Duration) {
        let until = now.saturating_add(nanos(pause));
        self.ask_after.store(until, Ordering::Relaxed);
    }

    /// The question was answered, or given up: it may be asked again.
    pub fn answered(&self) {
        self.asked.store(false, Ordering::Release);
    }

    fn is_fresh(&self, now: Moment) -> bool {
        now < self.fresh_until.load(Ordering::Acquire)
    }

    /// Takes a leased token; or one that the next lease will be charged for, as long as there is likely to be one.
    fn leased(&self, view: View) -> bool {
        let least = if self.is_fresh(view.now) {
            -view.batch()
        } else {
            0
        };
        self.lease
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |lease| {
                (lease > least).then(|| lease - 1)
            })
            .is_ok()
    }

    /// Takes from this node's share, without asking; no further than `most` ahead of now.
    fn spend(&self, view: View, many: u64, most: u64) {
        let cost = view.cost(many);
        let most = view.now.saturating_add(most);
        let _before = self
            .full_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |full| {
                let next = full.max(view.now).saturating_add(cost);
                // A longer debt of before stays.
                Some(next.min(most.max(full)))
            });
    }
}

#[cfg(test)]
mod tests;
