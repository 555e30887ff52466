//! What the nodes tell the measurement: who has all of its state since when, and which changes came when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use sortie_proto::revision::Revision;
use tokio::time::{Instant, sleep};

/// The most changes that are remembered between two looks.
const SEEN_MAX: usize = 1_000_000;
const POLL: Duration = Duration::from_millis(5);

/// A change that came to a node, and was acknowledged by it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Which node.
    pub node: usize,
    /// Its revision.
    pub revision: Revision,
    /// When.
    pub at: Instant,
}

/// What the nodes tell.
#[derive(Debug)]
pub struct Board {
    synced: Mutex<Vec<Option<Instant>>>,
    seen: Mutex<Vec<Seen>>,
    broken: AtomicU64,
    refused: AtomicU64,
}

impl Board {
    /// For so many nodes.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            synced: Mutex::new(vec![None; nodes]),
            seen: Mutex::default(),
            broken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A node has all of its state, or has no longer.
    pub fn synced(&self, node: usize, is: bool) {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = synced.get_mut(node)
            && since.is_some() != is
        {
            *since = is.then(Instant::now);
        }
    }

    /// A change came to a node.
    pub fn saw(&self, seen: Seen) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < SEEN_MAX {
            all.push(seen);
        }
    }

    /// A stream ended with an error.
    pub fn broke(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// A subscription was refused.
    pub fn was_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many streams ended with an error.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// How many subscriptions were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Forgets the changes that came so far.
    pub fn forget(&self) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Waits until a revision, or a later one, has come to so many nodes. Answers when it came to each.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn arrived(
        &self,
        revision: Revision,
        nodes: usize,
        patience: Duration,
    ) -> Result<Vec<Instant>> {
        let deadline = Instant::now() + patience;
        loop {
            let mut times = self.times(revision);
            let came = times.len();
            if came >= nodes {
                times.sort();
                return Ok(times);
            }
            ensure!(
                Instant::now() < deadline,
                "a change came to {came} of {nodes} nodes"
            );
            // Nodes write down the time themselves: how often this looks does not matter.
            sleep(POLL).await;
        }
    }

    /// When a revision, or a later one, first came to each node.
    fn times(&self, revision: Revision) -> Vec<Instant> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut first = std::collections::HashMap::new();
        for seen in seen.iter().filter(|seen| seen.revision >= revision) {
            first.entry(seen.node).or_insert(seen.at);
        }
        first.into_values().collect()
    }

    /// Waits until all nodes have all of their state. Answers how long after a moment the last one had it.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn all_synced(&self, since: Instant, patience: Duration) -> Result<Duration> {
        let deadline = Instant::now() + patience;
        loop {
            let (have, nodes, last) = self.have_synced(since);
            if have == nodes {
                return Ok(last);
            }
            ensure!(
                Instant::now() < deadline,
                "{have} of {nodes} nodes have all of their state"
            );
            sleep(POLL).await;
        }
    }

    fn have_synced(&self, since: Instant) -> (usize, usize, Duration) {
        let synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let times = synced.iter().flatten().filter(|at| **at >= since);
        let last = times.clone().max().map(|at| at.duration_since(since));
        (times.count(), synced.len(), last.unwrap_or_default())
    }
}
