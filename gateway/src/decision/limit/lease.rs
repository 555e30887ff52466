//! Leases tokens from the buckets that all nodes share.
//!
//! A task of its own, on the thread that talks with control: requests never wait for it, they only leave their bucket
//! with it when that runs low. It asks for all of them in one round trip; each question charges what was taken beside a
//! lease, and is answered with the next batch. What a node has leased and does not use goes back after a second.
//!
//! **What a store that is away costs.** A call that is not answered within the budget is given up, and the store is left
//! alone for a while, each time for longer. Until it answers again, each node's own share of a rate counts. Nothing has
//! to be restarted, and what happened meanwhile is not charged later.

pub mod redis;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::metrics::{Call, Metrics};
use super::rate::{Grant, View};
use super::{Key, Limits, Who, Wish};
use crate::error::Unit;

/// Buckets that may wait to be asked for; beyond it the next request of such a bucket leaves it again.
pub const WISHES_MAX: usize = 4_096;
/// Buckets that one round trip asks for.
const BATCH_MAX: usize = 256;
/// Leases that are followed, to give back what is left of them. What is left of others stays with this node.
const HELD_MAX: usize = 65_536;
/// A lease that was not renewed for so long is given back.
const IDLE: Duration = Duration::from_secs(1);
/// How long the store is left alone after a call that failed or was late, at first and at most.
const AWAY_FIRST: Duration = Duration::from_millis(50);
const AWAY_MAX: Duration = Duration::from_secs(2);

/// Where the shared buckets are.
pub trait Store: Send {
    /// Makes ready what a call needs, within bounds of its own.
    fn connect(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Answers all questions, in their order.
    fn lease(
        &mut self,
        questions: &[Question],
    ) -> impl Future<Output = Result<Vec<Grant>, Failure>> + Send;

    /// A call was given up: what it would have said is lost, and must not be taken for another one's answer.
    fn give_up(&mut self);
}

/// The store does not answer. Its own words may hold an address or a password: they are not kept.
#[derive(Debug, thiserror::Error)]
#[error("the store of shared limits does not answer")]
pub struct Failure;

/// What is asked for a bucket.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The bucket's name: who and what, hashed.
    pub name: [u8; 16],
    /// The rate.
    pub rate: sortie_proto::limits::Rate,
    /// What was taken beside a lease; below zero, what is given back.
    pub owed: i64,
    /// How many are wanted.
    pub wanted: i64,
}

/// The task that leases.
#[derive(Debug)]
pub struct Lessor<S> {
    store: S,
    wishes: mpsc::Receiver<Wish>,
    budget: Duration,
    metrics: Metrics,
    limits: Limits,
    held: HashMap<Key, (Wish, Instant)>,
    away: Away,
}

/// For how long the store is left alone.
#[derive(Debug)]
struct Away {
    until: Instant,
    next: Duration,
}

impl Key {
    /// The name of the bucket in the store. Ids are hashed: whoever reads the store learns nothing about tenants.
    fn name(self) -> [u8; 16] {
        let (kind, first, second) = match self.who {
            Who::Session(id) => (0, id.uuid(), uuid::Uuid::nil()),
            Who::SessionIn(id, vault) => (1, id.uuid(), vault.uuid()),
            Who::Agent(id) => (2, id.uuid(), uuid::Uuid::nil()),
            Who::Service(id) => (3, id.uuid(), uuid::Uuid::nil()),
            Who::Vault(id) => (4, id.uuid(), uuid::Uuid::nil()),
            Who::Tenant(id) => (5, id.uuid(), uuid::Uuid::nil()),
        };
        let unit = match self.unit {
            Unit::Requests => 0,
            Unit::Bytes => 1,
            Unit::Concurrency => 2,
        };
        let hash = Sha256::new()
            .chain_update([kind, unit])
            .chain_update(first)
            .chain_update(second)
            .finalize();
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(hash) {
            *to = from;
        }
        name
    }
}

impl<S: Store> Lessor<S> {
    /// Makes one. `budget` is how long a call may take.
    #[must_use]
    pub fn new(store: S, wishes: mpsc::Receiver<Wish>, budget: Duration, limits: Limits) -> Self {
        Self {
            store,
            wishes,
            budget,
            metrics: limits.0.parts.metrics.clone(),
            limits,
            held: HashMap::new(),
            away: Away {
                until: Instant::now(),
                next: AWAY_FIRST,
            },
        }
    }

    /// Leases until the shutdown.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut tick = interval(IDLE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => return,
                // Before the wishes, which under load are always there.
                _ = tick.tick() => {}
                count = self.wishes.recv_many(&mut wishes, BATCH_MAX) => if count == 0 {
                    return;
                },
            }
            if wishes.is_empty() {
                self.give_back().await;
            } else {
                self.renew(&mut wishes).await;
            }
        }
    }

    /// Asks for more for buckets that run low.
    async fn renew(&mut self, wishes: &mut Vec<Wish>) {
        let now = Instant::now();
        let questions: Vec<_> = wishes
            .iter()
            .map(|wish| Question {
                name: wish.key.name(),
                rate: wish.rate,
                owed: wish.bucket.owed(),
                wanted: self.view(wish).batch(),
            })
            .collect();
        let grants = self.call(&questions).await;
        for (at, wish) in wishes.drain(..).enumerate() {
            match grants.as_ref().and_then(|grants| grants.get(at)) {
                Some(grant) => {
                    let view = self.view(&wish);
                    wish.bucket.granted(*grant, view);
                    wish.bucket.answered();
                    if self.held.len() < HELD_MAX || self.held.contains_key(&wish.key) {
                        let _before = self.held.insert(wish.key, (wish, now));
                    }
                }
                None => {
                    let pause = self.away.until.saturating_duration_since(now);
                    wish.bucket.ask_later(self.view(&wish).now, pause);
                    wish.bucket.answered();
                }
            }
        }
    }

    /// Gives back what idle buckets have left.
    async fn give_back(&mut self) {
        let now = Instant::now();
        let idle = |_: &Key, (_, at): &mut (Wish, Instant)| now.duration_since(*at) >= IDLE;
        let mut questions: Vec<_> = self
            .held
            .extract_if(idle)
            .filter_map(|(key, (wish, _))| {
                let left = wish.bucket.unused();
                (left > 0).then(|| Question {
                    name: key.name(),
                    rate: wish.rate,
                    owed: -left,
                    wanted: 0,
                })
            })
            .collect();
        while !questions.is_empty() {
            let rest = questions.split_off(questions.len().min(BATCH_MAX));
            // What cannot be given back is lost: nobody may take it twice.
            let _given = self.call(&questions).await;
            questions = rest;
        }
    }

    /// One round trip; `None` when there is no answer in time.
    async fn call(&mut self, questions: &[Question]) -> Option<Vec<Grant>> {
        if Instant::now() < self.away.until {
            self.metrics.called(Call::Bypassed);
            return None;
        }
        let outcome = match self.store.connect().await {
            Ok(()) => timeout(self.budget, self.store.lease(questions)).await,
            Err(failure) => Ok(Err(failure)),
        };
        let call = match outcome {
            Ok(Ok(grants)) => {
                self.metrics.called(Call::Answered);
                if self.away.next > AWAY_FIRST {
                    tracing::info!("shared limits are shared again");
                }
                self.away.next = AWAY_FIRST;
                return Some(grants);
            }
            Ok(Err(_failure)) => Call::Failed,
            Err(_elapsed) => Call::Late,
        };
        self.metrics.called(call);
        self.store.give_up();
        if self.away.next == AWAY_FIRST {
            tracing::warn!(why = ?call, "shared limits cannot be shared: each node's own share of them counts");
        }
        self.away.until = Instant::now() + self.away.next;
        self.away.next = (self.away.next * 2).min(AWAY_MAX);
        None
    }

    fn view(&self, wish: &Wish) -> View {
        self.limits.asking().view(wish.rate)
    }
}

#[cfg(test)]
mod tests;
