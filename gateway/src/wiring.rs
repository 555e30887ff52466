//! How each part is made from the configuration: one function a part, called by `server` in the order of their needs.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use sortie_proto::id::BootId;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::client::leaf::Leaves;
use crate::config::Config;
use crate::decision::limit::lease::redis::Redis;
use crate::decision::limit::lease::{self, Lessor};
use crate::decision::limit::{self, Limits};
use crate::exchange::credential::Credentials;
use crate::exchange::peer::Peers;
use crate::journal::Journal;
use crate::journal::ship::Shipper;
use crate::journal::transport::AuditLink;
use crate::metrics::Metrics;
use crate::phases::stages::Stages;
use crate::pressure::{self, Pressure};
use crate::ready::{Ready, Step};
use crate::server::Error;
use crate::snapshot::State;
use crate::snapshot::follow::Follow;
use crate::snapshot::identity::{Identity, Join};
use crate::tasks;

/// How long the journal may take to be acknowledged when the process stops. What is not is shipped by the next boot.
const FLUSH: Duration = Duration::from_secs(10);

/// What speaks with control: the feed and the shipping of the journal, on a thread of their own, so that a busy data
/// path delays neither a revocation nor the audit log.
#[derive(Debug)]
pub(crate) struct ControlSide {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    journal: Arc<Journal>,
}

/// Joins the cluster if need be, and starts what speaks with control. `ready` learns of each step.
pub(crate) async fn start(
    config: &Config,
    state: &State,
    registry: &Registry,
    ready: &Ready,
) -> Result<(Arc<Stages>, ControlSide), Error> {
    let join = config.join.as_ref().map(Join::parse).transpose()?;
    let replicas = &config.controls;
    let opening = Identity::open(&config.data_dir, &config.name, join.as_ref(), replicas);
    let identity = Arc::new(Box::pin(opening).await?);
    ready.took(Step::Enrolled);
    let boot = BootId::generate();
    tracing::info!(gateway.id = %identity.id(), boot.id = %boot, name = config.name, "this node is enrolled");
    let (follow, link) = Follow::new(
        &config.feed,
        identity.clone(),
        boot,
        state.clone(),
        registry,
    )?;
    let journal = Arc::new(Journal::open(config.journal.clone(), boot, registry)?);
    let whereabouts = identity.whereabouts().clone();
    let pressure = Pressure::default();
    let watching = pressure::Watch::new(&config.pressure, pressure.clone(), registry)?;
    drop(tasks::spawn("pressure", watching.run()));
    let (wishes, wished) = mpsc::channel(lease::WISHES_MAX);
    let limits = Limits::new(
        config.requests.clone(),
        limit::Parts {
            state: state.clone(),
            pressure: pressure.clone(),
            metrics: limit::metrics::Metrics::register(registry)?,
            wishes: config.redis.is_some().then_some(wishes),
        },
    );
    let lessor = config.redis.as_ref().map(|redis| {
        let store = Redis::new(&redis.url, &identity.cluster())?;
        Ok::<_, lease::redis::InvalidUrl>(Lessor::new(store, wished, redis.budget, limits.clone()))
    });
    let control = ControlSide::start(follow, &journal, identity, (state.clone(), ready.clone()))?;
    if let Some(lessor) = lessor.transpose()? {
        control.lease(lessor);
    }
    let metrics = Metrics::new(registry)?;
    let leaves = Leaves::new(&config.leaf, link.clone(), metrics.leaves_minted.clone());
    let stages = Stages {
        state: state.clone(),
        link,
        leaves: Arc::new(leaves),
        credentials: Credentials::new(&config.credentials),
        peers: Peers::new(config.upstream.peers.clone(), whereabouts),
        limits,
        pressure,
        journal,
        metrics,
    };
    Ok((Arc::new(stages), control))
}

/// Tells the lease that this process runs.
async fn tick(state: State) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let _at = tick.tick().await;
        if state.lease().tick() {
            tracing::warn!(
                "this process did not run for a while: it serves once control has confirmed its lease"
            );
        }
    }
}

impl ControlSide {
    fn start(
        follow: Follow,
        journal: &Arc<Journal>,
        identity: Arc<Identity>,
        (state, ready): (State, Ready),
    ) -> Result<Self, Error> {
        let system = |what| move |error| Error::System(what, error);
        let shipper = Shipper::new(journal, Arc::new(AuditLink::new(identity)))
            .map_err(system("the journals of earlier boots"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // The shipper reads and removes files in place: a disk that hangs must not keep the feed from revoking.
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(system("a runtime"))?;
        let (stop, stopping) = watch::channel(false);
        let mut leased = follow.ready();
        let inside = runtime.enter();
        drop(tasks::spawn("follow", follow.run(stopping.clone())));
        drop(tasks::spawn("tick", tick(state)));
        drop(tasks::spawn("ship", shipper.run(stopping)));
        drop(tasks::spawn("lease", async move {
            if leased.wait_for(|holds| *holds).await.is_ok() {
                ready.took(Step::Leased);
            }
        }));
        drop(inside);
        Ok(Self {
            runtime: Some(runtime),
            stop,
            journal: journal.clone(),
        })
    }

    /// Shares limits with the other gateways, for as long as the thread runs.
    fn lease(&self, lessor: Lessor<Redis>) {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        drop(tasks::spawn("lessor", lessor.run(self.stop.subscribe())));
    }

    /// Waits until the journal is acknowledged, and ends the thread.
    pub(crate) async fn stop(self) {
        let flushed = self.journal.flushed(FLUSH).await;
        tracing::info!(flushed, "the journal is closed");
        // Both receivers are tasks of ours, and one that has ended needs no word.
        let _sent = self.stop.send(true);
    }
}

impl Drop for ControlSide {
    fn drop(&mut self) {
        // Dropped as it is, a runtime waits for its threads, and panics where it is dropped in another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
