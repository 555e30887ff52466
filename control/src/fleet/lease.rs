//! Beats: what extends the leases of gateways.
//!
//! Each second a replica commits a beat to the database; the same transaction gives revisions to all that is
//! committed, so that the beat knows how far the order went when it was made. A nonce is echoed behind a beat that
//! *began* after the nonce came, once everything up to that beat's revision has been sent. So neither a buffered
//! heartbeat nor a replica on a fenced database extends a lease.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use sortie_proto::revision::Revision;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::database::{Database, changes, cluster};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::ready::Ready;

const PERIOD: Duration = Duration::from_secs(1);
/// A beat that takes longer is given up; the next one is made.
const COMMIT_MAX: Duration = Duration::from_secs(5);
/// How many groups of nonces wait at most. One group a beat: a minute without beats.
const WAITING_MAX: usize = 64;

/// A committed beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beat {
    /// Counts from 1 on this replica.
    pub number: u64,
    /// The last revision that it saw.
    pub revision: Revision,
}

/// The beats of this replica.
#[derive(Debug, Clone)]
pub struct Beats {
    replica: Uuid,
    /// The number of the last beat that began.
    begun: Arc<AtomicU64>,
    committed: watch::Sender<Beat>,
    made: Instant,
    /// The database's time when this was made, in microseconds since the Unix epoch; zero before the first beat.
    started: Arc<AtomicI64>,
}

impl Default for Beats {
    fn default() -> Self {
        Self::new()
    }
}

impl Beats {
    /// None has begun yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            replica: Uuid::now_v7(),
            begun: Arc::default(),
            committed: watch::Sender::new(Beat::default()),
            made: Instant::now(),
            started: Arc::default(),
        }
    }

    /// The database's time, in microseconds since the Unix epoch; zero before the first beat.
    #[must_use]
    pub fn time(&self) -> i64 {
        match self.started.load(Ordering::Relaxed) {
            0 => 0,
            started => started.saturating_add(micros(self.made.elapsed())),
        }
    }

    /// The number of the last beat that began: a later one covers a nonce that comes now.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Follows the committed beats.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Beat> {
        self.committed.subscribe()
    }

    /// Beats until it is dropped.
    pub async fn run(self, database: Database, metrics: Metrics, ready: Ready) {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let beaten = timeout(COMMIT_MAX, self.beat(&database)).await;
            match beaten.unwrap_or_else(|late| {
                Err(Error::new(sortie_proto::code::Code::Unavailable).caused_by(late))
            }) {
                Ok(beat) => {
                    metrics.beats.inc();
                    ready.set_beating(true);
                    self.committed.send_replace(beat);
                }
                Err(error) => {
                    ready.set_beating(false);
                    error.log("the beat");
                }
            }
        }
    }

    /// A beat on a database that has gone back is none, and nothing of it is committed.
    async fn beat(&self, database: &Database) -> Result<Beat> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let tx = database.feed().await?;
        let revision = changes::sequence(&tx, database.floor()).await?;
        let signed = i64::try_from(number).map_err(Error::internal)?;
        let time = cluster::beat(&tx, self.replica, signed).await?;
        let started = time.saturating_sub(micros(self.made.elapsed()));
        tx.commit().await?;
        database.floor().rise(revision);
        self.started.store(started, Ordering::Relaxed);
        Ok(Beat { number, revision })
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// The nonces of one stream that wait for a beat.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    /// The last beat that had begun when a nonce came, and the latest such nonce.
    waiting: VecDeque<(u64, u64)>,
    /// Covered by a beat; goes out when the stream has sent everything up to the revision.
    due: Option<(u64, Revision)>,
}

impl Nonces {
    pub(super) fn arrived(&mut self, nonce: u64, begun: u64) {
        match self.waiting.back_mut() {
            Some((at, latest)) if *at == begun => *latest = nonce,
            Some(_) | None => self.waiting.push_back((begun, nonce)),
        }
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
    }

    /// A beat was committed. While an earlier one waits for the stream, later nonces wait too: else a stream that is
    /// always a little behind would never echo.
    pub(super) fn beaten(&mut self, beat: Beat) {
        if self.due.is_some() {
            return;
        }
        while let Some(&(begun, nonce)) = self.waiting.front()
            && begun < beat.number
        {
            self.due = Some((nonce, beat.revision));
            self.waiting.pop_front();
        }
    }

    /// The nonce to echo, if the stream has sent everything up to `sent`.
    pub(super) fn echo(&mut self, sent: Revision) -> Option<u64> {
        let (nonce, revision) = self.due?;
        if sent < revision {
            return None;
        }
        self.due = None;
        Some(nonce)
    }
}

#[cfg(test)]
mod tests;
