//! The gateways: who they are, what each may hold, and the streams that keep them current.
//!
//! **Invariants.** [`admit::Gateway`] is made from a verified client certificate of an enrolled, unlocked node and
//! nowhere else. A vault leaves this process only behind [`release`], which has verified a session token for it and
//! recorded the release. An echo leaves only behind a beat that was committed after its nonce came, behind everything
//! that the beat could see, and while what gateways say is written down.

mod admission;
pub mod admit;
pub mod enforce;
pub mod enrol;
pub mod ingest;
pub mod lease;
pub mod release;
pub mod scope;
pub mod stream;
pub mod witness;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use sortie_proto::id::GatewayId;
use sortie_proto::revision::Revision;
use sortie_proto::secret::Secret;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::admission::{Admission, RECORDS_WAITING_MAX, STREAMS_WAITING_MAX};
use crate::config;
use crate::database::{Database, Transaction, gateways};
use crate::error::Result;
use crate::feed::cache::Snapshots;
use crate::feed::read::Log;
use crate::feed::signals::Signals;
use crate::metrics::Metrics;
use crate::ready::Ready;
use crate::seal::Keys;
use crate::tasks::Tasks;

/// How often streams' state is written down and locks are read.
const RECONCILE: Duration = Duration::from_secs(2);
/// For how long after that leases are extended. Who waits for a revocation reckons with ten seconds between a
/// gateway's word and its row: a gateway whose row is older may serve, and is not waited for.
const WRITTEN_MAX: Duration = Duration::from_secs(8);

/// What the streams of one replica share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    keys: Keys,
    log: Log,
    snapshots: Snapshots,
    /// For those that follow.
    admission: Admission,
    /// For those that hand over records.
    ingest: Admission,
    witnesses: witness::Witnesses,
    beats: lease::Beats,
    signals: Signals,
    config: config::Feed,
    metrics: Metrics,
    tasks: Tasks,
    streams: AtomicU64,
    connected: Mutex<HashMap<u64, Connected>>,
    /// Changes when a gateway acknowledges something.
    heard: watch::Sender<()>,
    /// Turns for those who wait until gateways enforce something.
    waits: Semaphore,
    locked: ArcSwap<HashSet<GatewayId>>,
    /// When what gateways had said by then was last written down.
    written: Mutex<Option<Instant>>,
    /// How many gateways are live, on all replicas; 0 before that was asked.
    live: AtomicU32,
}

/// A gateway that follows this replica.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Which.
    pub gateway: GatewayId,
    /// Which of its processes, as it says.
    pub boot: Vec<u8>,
    /// What operators call it.
    pub name: String,
    /// What it runs.
    pub version: String,
    /// Up to where it says that changes are enforced.
    pub acknowledged: Revision,
    /// When it last said anything.
    pub last_seen: Timestamp,
    /// What it last reported on this stream.
    pub report: Option<gateways::Report>,
    /// How many tenants, vaults and objects it says that it cannot understand, and refuses.
    pub quarantined: usize,
}

/// What a fleet is made of.
#[derive(Debug)]
pub struct Parts {
    /// The database.
    pub database: Database,
    /// The open keys.
    pub keys: Keys,
    /// The changes.
    pub log: Log,
    /// Bounds, and what gateways dial.
    pub config: config::Feed,
    /// What is counted.
    pub metrics: Metrics,
    /// What the streams run in.
    pub tasks: Tasks,
    /// How many streams may be at the database at once. Half as many calls may, that hand over records.
    pub turns: usize,
}

impl Fleet {
    /// No gateway is connected yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (database, keys, log) = (
            parts.database.clone(),
            parts.keys.clone(),
            parts.log.clone(),
        );
        let bound = (parts.config.snapshot_bytes_max, parts.metrics.clone());
        Self(Arc::new(Inner {
            snapshots: Snapshots::new(database, keys, log, bound),
            admission: Admission::new(parts.turns, STREAMS_WAITING_MAX),
            ingest: Admission::new((parts.turns / 2).max(1), RECORDS_WAITING_MAX),
            witnesses: witness::Witnesses::new(parts.metrics.witnesses.clone()),
            database: parts.database,
            keys: parts.keys,
            log: parts.log,
            beats: lease::Beats::new(),
            signals: Signals::default(),
            config: parts.config,
            metrics: parts.metrics,
            tasks: parts.tasks,
            streams: AtomicU64::new(0),
            connected: Mutex::default(),
            heard: watch::Sender::new(()),
            waits: Semaphore::new(enforce::WAITS_MAX),
            locked: ArcSwap::default(),
            written: Mutex::default(),
            live: AtomicU32::new(0),
        }))
    }

    /// Begins to beat, and to write down what gateways say.
    pub fn start(&self, ready: &Ready) {
        let (beats, database) = (self.0.beats.clone(), self.0.database.clone());
        let tasks = &self.0.tasks;
        let beat = beats.run(database, self.0.metrics.clone(), ready.clone());
        tasks.spawn_until_stop("beat", beat);
        tasks.spawn_until_stop("reconcile", reconcile(self.clone()));
        tasks.spawn_until_stop("report", self.clone().report());
    }

    /// The cluster's epoch, as this replica last read it. A replica that was away while a backup was restored mints
    /// tokens that nobody takes until it has.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.log.last().epoch
    }

    /// What other replicas tell.
    #[must_use]
    pub fn signals(&self) -> &Signals {
        &self.0.signals
    }

    /// The gateways that follow this replica, each once.
    #[must_use]
    pub fn connected(&self) -> Vec<Connected> {
        gateways_of(&self.processes())
    }

    /// The processes of gateways that follow this replica, each once.
    fn processes(&self) -> Vec<Connected> {
        once_each(self.0.connected.lock().values())
    }

    /// Makes a join string for a new gateway; see [`enrol::create_join`].
    ///
    /// # Errors
    /// As the database's.
    pub async fn create_join(
        &self,
        tx: &Transaction,
        name: &str,
        valid: Duration,
    ) -> Result<Secret> {
        enrol::create_join(tx, &self.0.keys, &self.0.config.advertise, name, valid).await
    }

    /// The database, for the services that face gateways.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Waits for a turn to take records in, until it is dropped.
    ///
    /// # Errors
    /// `overloaded` when too many wait.
    pub async fn ingest_turn(&self) -> Result<SemaphorePermit<'_>> {
        self.0.ingest.turn().await
    }

    /// The open keys, for the services that face gateways.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How many events may wait for one gateway.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.0.config.queue
    }

    /// Runs a gateway's stream.
    pub fn spawn(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn("gateway stream", stream);
    }

    /// How many gateways are live, on all replicas; 0 before that is known.
    fn live(&self) -> u32 {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Whether what gateways say is written down soon enough for their leases to be extended.
    #[must_use]
    pub fn is_written_down(&self) -> bool {
        let written = *self.0.written.lock();
        written.is_some_and(|at| at.elapsed() < WRITTEN_MAX)
    }

    /// Whether a gateway was shut out since its stream began.
    fn is_locked(&self, gateway: GatewayId) -> bool {
        self.0.locked.load().contains(&gateway)
    }

    fn join(&self, connected: Connected) -> Presence {
        let stream = self.0.streams.fetch_add(1, Ordering::Relaxed);
        self.0.connected.lock().insert(stream, connected);
        self.0.metrics.streams.inc();
        Presence {
            fleet: self.clone(),
            stream,
        }
    }

    fn count_quarantined(&self, connected: &HashMap<u64, Connected>) {
        let all: usize = connected.values().map(|one| one.quarantined).sum();
        let all = i64::try_from(all).unwrap_or(i64::MAX);
        self.0.metrics.quarantined.set(all);
    }

    /// Writes what streams said to the database, and learns which gateways are shut out.
    async fn reconcile(&self) -> Result<()> {
        let begun = Instant::now();
        let tx = self.0.database.feed().await?;
        write_down(&tx, &self.processes()).await?;
        let locked = gateways::locked(&tx).await?;
        let live = gateways::live(&tx).await?;
        tx.commit().await?;
        self.0.locked.store(Arc::new(locked.into_iter().collect()));
        self.0.live.store(live, Ordering::Relaxed);
        *self.0.written.lock() = Some(begun);
        self.0.witnesses.pass(self.0.log.last());
        Ok(())
    }
}

async fn reconcile(fleet: Fleet) {
    let mut tick = interval(RECONCILE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut locks = fleet.0.signals.locks();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = locks.changed() => {}
        }
        if let Err(error) = fleet.reconcile().await {
            error.log("writing down what gateways said");
        }
    }
}

/// A stream's place in the list of connected gateways, until it is dropped.
#[derive(Debug)]
struct Presence {
    fleet: Fleet,
    stream: u64,
}

impl Presence {
    fn reported(&self, report: gateways::Report) {
        if let Some(connected) = self.fleet.0.connected.lock().get_mut(&self.stream) {
            connected.report = Some(report);
        }
    }

    fn heard(&self, acknowledged: Option<Revision>) {
        if let Some(connected) = self.fleet.0.connected.lock().get_mut(&self.stream) {
            connected.last_seen = Timestamp::now();
            if let Some(acknowledged) = acknowledged {
                connected.acknowledged = connected.acknowledged.max(acknowledged);
            }
        }
        if acknowledged.is_some() {
            self.fleet.0.heard.send_replace(());
        }
    }

    fn quarantined(&self, count: usize) {
        let mut connected = self.fleet.0.connected.lock();
        if let Some(connected) = connected.get_mut(&self.stream) {
            connected.quarantined = count;
        }
        self.fleet.count_quarantined(&connected);
    }
}

/// A line a process. Of two streams of one the one that was heard last is right.
fn once_each<'a>(streams: impl IntoIterator<Item = &'a Connected>) -> Vec<Connected> {
    let mut processes: HashMap<(GatewayId, &[u8]), &Connected> = HashMap::new();
    for one in streams {
        let kept = processes.entry((one.gateway, &one.boot)).or_insert(one);
        if kept.last_seen < one.last_seen {
            *kept = one;
        }
    }
    processes.into_values().cloned().collect()
}

/// A line a gateway. While one is upgraded, two of its processes follow: what it enforces is what both do.
fn gateways_of(processes: &[Connected]) -> Vec<Connected> {
    let mut gateways: HashMap<GatewayId, Connected> = HashMap::new();
    for one in processes {
        let kept = gateways.entry(one.gateway).or_insert_with(|| one.clone());
        let acknowledged = kept.acknowledged.min(one.acknowledged);
        if kept.last_seen < one.last_seen {
            *kept = one.clone();
        }
        kept.acknowledged = acknowledged;
    }
    gateways.into_values().collect()
}

/// Writes down what processes of gateways said.
async fn write_down(tx: &Transaction, processes: &[Connected]) -> Result<()> {
    gateways::seen(tx, &said(&gateways_of(processes)), &said(processes)).await
}

fn said<'a>(connected: impl IntoIterator<Item = &'a Connected>) -> Vec<gateways::Said<'a>> {
    let now = Timestamp::now();
    let line = |one: &'a Connected| gateways::Said {
        gateway: one.gateway,
        boot: &one.boot,
        version: &one.version,
        acknowledged: one.acknowledged,
        ago: now.duration_since(one.last_seen).unsigned_abs(),
        report: one.report,
    };
    connected.into_iter().map(line).collect()
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut connected = self.fleet.0.connected.lock();
        connected.remove(&self.stream);
        self.fleet.count_quarantined(&connected);
        self.fleet.0.metrics.streams.dec();
    }
}
