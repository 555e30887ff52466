//! Which gateways enforce a revision: who waits asks all replicas, and each writes down what its own streams have
//! acknowledged, as soon as they do.
//!
//! **Invariants.** A gateway counts as soon as it may serve the tenant, and until its last lease has ended; it counts as
//! enforcing only by its own word, given for the revision or a later one by each of its processes that may still serve.
//! What is not waited for costs nothing here: acknowledgements are then written on a period.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sortie_proto::code::Code;
use sortie_proto::id::{GatewayId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::{Connected, Fleet, gateways_of, write_down};
use crate::database::changes;
use crate::database::gateways::{self, Holder};
use crate::error::{Error, Result};
use crate::feed::signals::Signals;

/// How many may wait at once. Each asks the database four times a second, and for all of them together there is one
/// pool of connections.
pub(super) const WAITS_MAX: usize = 64;
/// How often who waits looks without having been woken.
const LOOK: Duration = Duration::from_millis(250);
/// How long a replica watches for a revision that somebody waits for. No wait is longer.
const WATCH: Duration = Duration::from_secs(30);
/// How many revisions are watched for at once; of more the oldest are left to the period.
const WATCHED_MAX: usize = 4_096;

/// What became of a revision.
#[derive(Debug)]
pub struct Enforcement {
    /// How many gateways may serve what it is about.
    pub gateways: usize,
    /// From the call until the last of those that enforce it was known to.
    pub slowest: Duration,
    /// Those that have not said so.
    pub missing: Vec<Holder>,
}

impl Fleet {
    /// Waits until every gateway that may serve a tenant, or one vault of it, enforces a revision; at most `wait`.
    ///
    /// # Errors
    /// `overloaded` if too many wait already; `unavailable` if the database has gone back, for then the revision may not
    /// be in it; else as the database's. The revision is published all the same.
    pub async fn enforced(
        &self,
        tenant: TenantId,
        vault: Option<VaultId>,
        revision: Revision,
        wait: Duration,
    ) -> Result<Enforcement> {
        let begun = Instant::now();
        let _turn = self.0.waits.try_acquire().map_err(|full| {
            Error::new(Code::Overloaded)
                .because("too many wait for gateways")
                .caused_by(full)
        })?;
        let mut told = self.0.signals.told();
        let tx = self.database().system().await?;
        let mut missing = gateways::holders(&tx, tenant, vault).await?;
        Signals::want(&tx, revision).await?;
        tx.commit().await?;
        let (gateways, mut slowest) = (missing.len(), Duration::ZERO);
        loop {
            let before = missing.len();
            self.strike(&mut missing, revision).await?;
            if missing.len() < before {
                slowest = begun.elapsed();
            }
            let left = wait.saturating_sub(begun.elapsed());
            if missing.is_empty() || left.is_zero() {
                return Ok(Enforcement {
                    gateways,
                    slowest,
                    missing,
                });
            }
            tokio::select! {
                Ok(()) = told.changed() => {}
                () = tokio::time::sleep(LOOK.min(left)) => {}
            }
        }
    }

    /// Takes those from the list that enforce a revision.
    async fn strike(&self, missing: &mut Vec<Holder>, revision: Revision) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let floor = self.database().floor();
        let seen = floor.seen();
        let tx = self.database().system().await?;
        let enforcing = gateways::enforcing(&tx, missing, revision).await?;
        floor.compare(seen, changes::head(&tx).await?.last)?;
        tx.commit().await?;
        missing.retain(|holder| !enforcing.contains(&holder.gateway));
        Ok(())
    }

    /// Writes down what the streams of this replica acknowledge while somebody waits for it. Runs until it is dropped.
    pub async fn report(self) {
        let mut wanted = self.0.signals.wanted();
        let mut heard = self.0.heard.subscribe();
        let mut watch = Watch::default();
        loop {
            tokio::select! {
                revision = wanted.recv() => match revision {
                    Ok(revision) => watch.begin(revision, Instant::now()),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                Ok(()) = heard.changed(), if watch.is_on() => {}
                () = sleep_until(watch.end()), if watch.is_on() => {}
            }
            watch.expire(Instant::now());
            let processes = self.processes();
            let connected = gateways_of(&processes);
            let news = watch.news(&connected);
            if !news.is_empty()
                && let Err(error) = self.tell(&news, &processes).await
            {
                // The period writes it, and who waits finds it then.
                error.log("writing down what gateways acknowledged");
            }
            watch.told(&news);
            watch.settle(&connected);
        }
    }

    async fn tell(&self, news: &[&Connected], processes: &[Connected]) -> Result<()> {
        let told: HashSet<GatewayId> = news.iter().map(|one| one.gateway).collect();
        let processes = processes.iter().filter(|one| told.contains(&one.gateway));
        let processes: Vec<Connected> = processes.cloned().collect();
        let tx = self.database().system().await?;
        write_down(&tx, &processes).await?;
        Signals::tell(&tx).await?;
        tx.commit().await
    }
}

/// The revisions that are waited for, and what was told of each gateway since the first of them.
#[derive(Debug, Default)]
struct Watch {
    until: BTreeMap<Revision, Instant>,
    told: HashMap<GatewayId, Revision>,
}

impl Watch {
    fn is_on(&self) -> bool {
        !self.until.is_empty()
    }

    fn begin(&mut self, revision: Revision, now: Instant) {
        self.until.insert(revision, now + WATCH);
        if self.until.len() > WATCHED_MAX {
            self.until.pop_first();
        }
    }

    /// When the first of them is given up.
    fn end(&self) -> Instant {
        let first = self.until.values().min().copied();
        first.unwrap_or_else(Instant::now)
    }

    fn expire(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
    }

    /// The gateways whose acknowledgement tells somebody something new.
    fn news<'a>(&self, connected: &'a [Connected]) -> Vec<&'a Connected> {
        let Some((&lowest, _)) = self.until.first_key_value() else {
            return Vec::new();
        };
        let is_news = |one: &&Connected| {
            let told = self.told.get(&one.gateway);
            one.acknowledged >= lowest && told.is_none_or(|told| *told < one.acknowledged)
        };
        connected.iter().filter(is_news).collect()
    }

    fn told(&mut self, news: &[&Connected]) {
        for one in news {
            self.told.insert(one.gateway, one.acknowledged);
        }
    }

    /// Stops watching for what all streams have passed.
    fn settle(&mut self, connected: &[Connected]) {
        self.until
            .retain(|revision, _| connected.iter().any(|one| one.acknowledged < *revision));
        if !self.is_on() {
            self.told.clear();
        }
    }
}

#[cfg(test)]
mod tests;
