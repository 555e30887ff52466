//! How much a session, an agent, a service, a vault and a tenant may use: requests and bytes in a time, requests at
//! once. And, on a node that has too much to do, whose request is refused first ([`share`]).
//!
//! Every limit that is set holds. Rates hold for the cluster ([`rate`], [`lease`]); of what may be open at once, each
//! node takes its part.
//!
//! **Invariants.** A count is exact: it is the number of live [`Slot`]s. There is at most one counter for each subject
//! that has something open, so that table is bounded by what is open; buckets exist for limits that are set only, in a
//! table with a bound. No lock is held, and nothing waits: at a limit a request is refused.
//!
//! Not here: how many connections there may be.

pub mod lease;
pub mod metrics;
pub mod rate;
pub mod share;

use std::cell::LazyCell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use sortie_proto::agent::Grant;
use sortie_proto::code::Code;
use sortie_proto::id::{AgentId, ServiceId, SessionId, TenantId, VaultId};
use sortie_proto::limits::{Limits as Set, Rate};
use sortie_proto::service::Service;
use sortie_proto::tenant::Tenant;
use sortie_proto::token::Claims;
use sortie_proto::vault::Vault;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::metrics::Metrics;
use self::rate::{Bucket, Moment, View};
use self::share::Load;
use super::policy::Permit;
use crate::error::{Error, Exceeded, Result, Subject, Unit};
use crate::pressure::Pressure;
use crate::snapshot::State;

/// The node's own bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Requests of one session that are open at once. The next is refused with `too_many`. 256 suits one sandbox.
    pub session_requests_max: NonZeroU32,
    /// Requests of one vault that are open at once. The next is refused with `too_many`. 8,192 leaves room for others.
    pub vault_requests_max: NonZeroU32,
    /// Requests that are open at once. Beyond it, tenants that use their share are refused with `overloaded`.
    pub requests_max: NonZeroU32,
    /// Buckets that are kept. Beyond it the least used are forgotten: they begin full again.
    pub buckets_max: u64,
}

/// What limits look at beside the request.
#[derive(Debug)]
pub struct Parts {
    /// How many gateways share a limit.
    pub state: State,
    /// What the node is short of.
    pub pressure: Pressure,
    /// What is counted.
    pub metrics: Metrics,
    /// Where buckets that run low are left, if they are shared.
    pub wishes: Option<mpsc::Sender<Wish>>,
}

/// Counts what is open and what was taken. Cheap to clone; clones share the counts.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    parts: Parts,
    open: papaya::HashMap<Who, Arc<Counter>>,
    load: Load,
    buckets: Cache<Key, Arc<Bucket>>,
    started: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Session(SessionId),
    /// As far as a vault limits its sessions.
    SessionIn(SessionId, VaultId),
    Agent(AgentId),
    Service(ServiceId),
    Vault(VaultId),
    Tenant(TenantId),
}

impl Who {
    const fn subject(self) -> Subject {
        match self {
            Self::Session(_) | Self::SessionIn(..) => Subject::Session,
            Self::Agent(_) => Subject::Agent,
            Self::Service(_) => Subject::Service,
            Self::Vault(_) => Subject::Vault,
            Self::Tenant(_) => Subject::Tenant,
        }
    }
}

/// Which bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    who: Who,
    unit: Unit,
}

/// A bucket that a request meets, with the rate that is set for it now.
#[derive(Debug, Clone)]
pub struct Wish {
    key: Key,
    rate: Rate,
    bucket: Arc<Bucket>,
}

#[derive(Debug)]
struct Counter {
    who: Who,
    count: AtomicU32,
    /// Of a tenant; it holds for as long as it has something open.
    weight: NonZeroU32,
}

/// What a counter holds once it has left the table: nobody may enter through it.
const LEFT: u32 = u32::MAX;
/// When to try again where only somebody else's end makes room.
const ENDS: Duration = Duration::from_secs(1);
/// So many bytes may have passed before they are counted.
const UNCOUNTED_MAX: u64 = 16 * 1024;

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The session.
    pub session: SessionId,
    /// Its agent.
    pub agent: AgentId,
    /// The agent's role in the vault, which carries the agent's limits.
    pub grant: Option<&'a Grant>,
    /// The service; `None` passes without one.
    pub service: Option<&'a Service>,
    /// The vault.
    pub vault: &'a Vault,
    /// The tenant.
    pub tenant: &'a Tenant,
}

impl<'a> Asked<'a> {
    /// What a permitted request asks for.
    #[must_use]
    pub fn of(claims: &Claims, permit: &'a Permit) -> Self {
        Self {
            session: claims.session,
            agent: claims.agent,
            grant: permit.vault().grants.get(&claims.agent),
            service: permit.service().map(AsRef::as_ref),
            vault: &permit.vault().vault,
            tenant: permit.tenant(),
        }
    }

    /// Everybody whose limits the request meets. The last is the tenant.
    fn met(&self) -> Met<'a> {
        let of_agent = |set: fn(&Grant) -> &Set| self.grant.map_or(&NONE, set);
        [
            Some((
                Who::SessionIn(self.session, self.vault.id),
                &self.vault.session_limits,
            )),
            Some((
                Who::Session(self.session),
                of_agent(|grant| &grant.session_limits),
            )),
            Some((
                Who::Agent(self.agent),
                of_agent(|grant| &grant.agent_limits),
            )),
            self.service
                .map(|service| (Who::Service(service.id), &service.limits)),
            Some((Who::Vault(self.vault.id), &self.vault.limits)),
            Some((Who::Tenant(self.tenant.id), &self.tenant.limits)),
        ]
    }
}

/// Everybody whose limits a request meets, with what is set for them.
type Met<'a> = [Option<(Who, &'a Set)>; 6];

const NONE: Set = Set {
    requests: None,
    bytes: None,
    concurrency: None,
};

impl Limits {
    /// Makes one with nothing open and every bucket full.
    #[must_use]
    pub fn new(config: Config, parts: Parts) -> Self {
        Self(Arc::new(Inner {
            buckets: Cache::new(config.buckets_max),
            config,
            parts,
            open: papaya::HashMap::new(),
            load: Load::default(),
            started: Instant::now(),
        }))
    }

    /// Takes a place for a request, and a token of every limit on requests that it meets.
    ///
    /// # Errors
    /// `overloaded` when the node is, and the tenant uses its share of it; `too_many` or `rate_limited` when a limit is
    /// reached, with which one.
    pub fn admit(&self, asked: &Asked<'_>) -> Result<Slot> {
        let met = asked.met();
        let mut slot = self.enter(&met, asked.tenant.weight)?;
        slot.meters = self.take(&met)?;
        Ok(slot)
    }

    /// Takes the places of everybody who has a bound.
    fn enter(&self, met: &Met<'_>, weight: NonZeroU32) -> Result<Slot> {
        let mut slot = Slot {
            limits: self.clone(),
            places: [const { None }; 6],
            meters: Vec::new(),
            uncounted: 0,
        };
        self.0.load.opened();
        // The tenant first: a node that is overloaded says so before anything else.
        for (met, place) in met.iter().zip(&mut slot.places).rev() {
            let Some((who, limits)) = met else { continue };
            let Some(max) = self.max(*who, limits) else {
                continue;
            };
            let (counter, others) = self.place(*who, weight, max)?;
            *place = Some(counter);
            if matches!(who, Who::Tenant(_)) {
                self.check_share(others, weight)?;
            }
        }
        Ok(slot)
    }

    /// How much of it may be open on this node, if that is bounded.
    fn max(&self, who: Who, limits: &Set) -> Option<NonZeroU32> {
        let part = limits.concurrency.map(|whole| {
            let part = whole.get().div_ceil(self.nodes());
            NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN)
        });
        let own = match who {
            Who::Session(_) => Some(self.0.config.session_requests_max),
            Who::Vault(_) => Some(self.0.config.vault_requests_max),
            // Counted for its share, whether it is bounded or not.
            Who::Tenant(_) => Some(NonZeroU32::MAX),
            Who::SessionIn(..) | Who::Agent(_) | Who::Service(_) => None,
        };
        own.into_iter().chain(part).min()
    }

    fn check_share(&self, others: u32, weight: NonZeroU32) -> Result<()> {
        let max = self.0.config.requests_max;
        let parts = &self.0.parts;
        match self
            .0
            .load
            .judge((others, weight), max, parts.pressure.now())
        {
            None => Ok(()),
            Some(reason) => {
                parts.metrics.shed(reason);
                Err(Code::Overloaded.into())
            }
        }
    }

    /// Counts one more; answers how many others there are.
    fn place(&self, who: Who, weight: NonZeroU32, max: NonZeroU32) -> Result<(Arc<Counter>, u32)> {
        let open = self.0.open.pin();
        loop {
            let make = || {
                Arc::new(Counter {
                    who,
                    count: AtomicU32::new(0),
                    weight,
                })
            };
            let counter = Arc::clone(open.get_or_insert_with(who, make));
            let entered =
                counter
                    .count
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                        (count < max.get() && count < LEFT - 1).then(|| count + 1)
                    });
            match entered {
                Ok(others) => {
                    if others == 0 && matches!(who, Who::Tenant(_)) {
                        self.0.load.came(counter.weight);
                    }
                    return Ok((counter, others));
                }
                // Its last place was given back in this moment: the next turn finds or makes another.
                Err(LEFT) => self.forget(&counter),
                Err(_full) => {
                    return Err(self.refuse(who, Unit::Concurrency, ENDS));
                }
            }
        }
    }

    fn leave(&self, counter: &Arc<Counter>) {
        let left = counter
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                Some(if count <= 1 { LEFT } else { count - 1 })
            });
        if left.is_ok_and(|count| count <= 1) {
            if matches!(counter.who, Who::Tenant(_)) {
                self.0.load.went(counter.weight);
            }
            self.forget(counter);
        }
    }

    fn forget(&self, counter: &Arc<Counter>) {
        let open = self.0.open.pin();
        // Another thread may have removed it already, and made a new one, which stays.
        let _removed = open.remove_if(&counter.who, |_, held| Arc::ptr_eq(held, counter));
    }

    /// Takes a token of every limit on requests, or none; answers the buckets in which bytes are counted.
    fn take(&self, met: &Met<'_>) -> Result<Vec<Wish>> {
        let (mut taken, mut meters) = (Vec::new(), Vec::new());
        // Who has no rates reads no clock.
        let asking = LazyCell::new(|| self.asking());
        for (who, limits) in met.iter().flatten() {
            if let Some(rate) = limits.bytes {
                let meter = self.bucket(*who, Unit::Bytes, rate);
                if let Err(after) = self.ask(&meter, *asking, Bucket::check) {
                    give_back(&taken, *asking);
                    return Err(self.refuse(*who, Unit::Bytes, after));
                }
                meters.push(meter);
            }
            if let Some(rate) = limits.requests {
                let bucket = self.bucket(*who, Unit::Requests, rate);
                if let Err(after) = self.ask(&bucket, *asking, Bucket::take) {
                    give_back(&taken, *asking);
                    return Err(self.refuse(*who, Unit::Requests, after));
                }
                taken.push(bucket);
            }
        }
        Ok(meters)
    }

    fn bucket(&self, who: Who, unit: Unit, rate: Rate) -> Wish {
        let key = Key { who, unit };
        let bucket = match self.0.buckets.get(&key) {
            Some(bucket) => bucket,
            None => self.0.buckets.get_with(key, Arc::default),
        };
        Wish { key, rate, bucket }
    }

    /// Does something with a bucket, and leaves it with the lessor if it runs low.
    fn ask<T>(&self, wish: &Wish, asking: Asking, act: impl FnOnce(&Bucket, View) -> T) -> T {
        let view = asking.view(wish.rate);
        let done = act(&wish.bucket, view);
        if let Some(wishes) = &self.0.parts.wishes
            && wish.bucket.is_low(view.now)
            && wishes.try_send(wish.clone()).is_err()
        {
            // The lessor is behind: the next request asks.
            wish.bucket.answered();
        }
        done
    }

    fn refuse(&self, who: Who, unit: Unit, retry_after: Duration) -> Error {
        let exceeded = Exceeded {
            of: who.subject(),
            unit,
            retry_after,
        };
        self.0.parts.metrics.refused(exceeded);
        exceeded.into()
    }

    fn asking(&self) -> Asking {
        Asking {
            nodes: self.nodes(),
            now: self.now(),
        }
    }

    fn nodes(&self) -> u32 {
        self.0.parts.state.gateways().max(1)
    }

    fn now(&self) -> Moment {
        u64::try_from(self.0.started.elapsed().as_nanos()).unwrap_or(Moment::MAX)
    }
}

fn give_back(taken: &[Wish], asking: Asking) {
    for wish in taken {
        wish.bucket.give_back(asking.view(wish.rate));
    }
}

/// When all buckets of a request are asked: the clock is read once for them.
#[derive(Debug, Clone, Copy)]
struct Asking {
    nodes: u32,
    now: Moment,
}

impl Asking {
    const fn view(self, rate: Rate) -> View {
        View {
            rate,
            nodes: self.nodes,
            now: self.now,
        }
    }
}

/// A request's places, given back on drop, and where its bytes are counted.
#[derive(Debug)]
#[must_use = "the places are given back when this is dropped"]
pub struct Slot {
    limits: Limits,
    places: [Option<Arc<Counter>>; 6],
    meters: Vec<Wish>,
    uncounted: u64,
}

impl Slot {
    /// Counts bytes that have passed.
    pub fn count(&mut self, bytes: u64) {
        if self.meters.is_empty() {
            return;
        }
        self.uncounted = self.uncounted.saturating_add(bytes);
        if self.uncounted >= UNCOUNTED_MAX {
            self.charge();
        }
    }

    fn charge(&mut self) {
        let bytes = std::mem::take(&mut self.uncounted);
        let asking = self.limits.asking();
        for meter in &self.meters {
            self.limits
                .ask(meter, asking, |bucket, view| bucket.charge(view, bytes));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.uncounted > 0 {
            self.charge();
        }
        for counter in self.places.iter().flatten() {
            self.limits.leave(counter);
        }
        self.limits.0.load.closed();
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
