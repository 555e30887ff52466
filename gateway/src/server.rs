//! The assembly: which parts there are, in which order they start, and how they stop. The only file that knows them all.
//!
//! Start: descriptors and ports, then parts, then accepting. Stop, on SIGTERM or SIGINT, or when another process has taken
//! the ports over (`handover`): not ready any more, no new connections, what is open is drained (`drain`), the journal is
//! flushed, exit.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::http_proxy;
use prometheus::Registry;
use sortie_sys::allocation;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::client::accept::{self, Sources, secure};
use crate::client::authenticate::Authenticator;
use crate::client::tunnels::Tunnels;
use crate::client::{Frontend, intercept};
use crate::config::Config;
use crate::decision::limit::lease::redis::InvalidUrl;
use crate::handover::{Offer, Predecessor, Sockets, Started};
use crate::metrics::{self, Metrics};
use crate::phases::stages::Stages;
use crate::ready::{Ready, Step};
use crate::snapshot::{State, identity};
use crate::{admin, clock, drain, journal, tasks, trust, wiring};

/// How long a session's count of hosts without a service is kept.
const REFUSED_HOSTS_LIFE: Duration = Duration::from_secs(600);
/// The most sessions whose hosts without a service are counted.
const REFUSED_SESSIONS_MAX: u64 = 100_000;
/// How often expired sessions are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How long a process that takes over may take until control confirms a lease. Then it gives up, and the other goes on.
const LEASE_MAX: Duration = Duration::from_secs(60);
/// How long a process that starts waits for its first lease before it listens.
const FIRST_LEASE_MAX: Duration = Duration::from_secs(5);
const LEASE_TICK: Duration = Duration::from_millis(20);

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be opened.
    #[error("{0} cannot be listened on")]
    Listen(SocketAddr, #[source] io::Error),
    /// Nobody serves from the data folder.
    #[error("no gateway hands over from this data folder: if none runs, start without --upgrade")]
    NoPredecessor(#[source] io::Error),
    /// A process that was to take over knows nothing to serve.
    #[error("control did not confirm a lease: the gateway that serves goes on")]
    NotLeased,
    /// The system refuses something.
    #[error("the system refuses {0}")]
    System(&'static str, #[source] io::Error),
    /// Two metrics have one name.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// There are no roots.
    #[error("the roots for upstreams cannot be set up")]
    Trust(#[from] trust::Error),
    /// The node cannot join the cluster, or its identity cannot be read.
    #[error("this node has no identity in the cluster")]
    Identity(#[from] identity::Error),
    /// The journal cannot be opened.
    #[error("the journal cannot be opened")]
    Journal(#[from] journal::Error),
    /// The address of Redis means nothing.
    #[error("limits cannot be shared")]
    Redis(#[from] InvalidUrl),
    /// BoringSSL refuses its own configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] boring::error::ErrorStack),
}

/// A gateway that has its ports and has not started.
#[derive(Debug)]
pub struct Server {
    config: Config,
    sockets: Sockets,
    predecessor: Option<Predecessor>,
    /// How many it may have open.
    descriptors: u64,
}

impl Server {
    /// Opens the ports.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::System`].
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            descriptors: guard_memory()?,
            sockets: Sockets::open(&config.listen, config.admin, Vec::new())?,
            predecessor: None,
            config,
        })
    }

    /// Takes the ports of the gateway that serves from the same data folder, which goes on until this one accepts.
    ///
    /// # Errors
    /// [`Error::NoPredecessor`], and as [`Server::new`].
    pub fn upgrade(config: Config) -> Result<Self, Error> {
        let descriptors = guard_memory()?;
        let asked = Predecessor::ask(&config.data_dir);
        let (predecessor, received) = asked.map_err(Error::NoPredecessor)?;
        Ok(Self {
            sockets: Sockets::open(&config.listen, config.admin, received)?,
            predecessor: Some(predecessor),
            descriptors,
            config,
        })
    }

    /// Runs until a signal, and drains.
    ///
    /// # Errors
    /// [`Error`], before anything was accepted.
    pub fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.config.workers)
            .thread_name("worker")
            .on_thread_start(allocation::count_this_thread)
            .enable_all()
            .build()
            .map_err(|error| Error::System("a runtime", error))?;
        let ended = runtime.block_on(Box::pin(self.serve()));
        // What is left has had its time: the drain is over.
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    }

    async fn serve(self) -> Result<(), Error> {
        let (config, predecessor) = (&self.config, self.predecessor);
        let registry = Registry::new();
        let ready = Ready::default();
        let successor = start_successors();
        let system = |what| move |error| Error::System(what, error);
        let state = State::new();
        if cfg!(debug_assertions) {
            metrics::count_allocations(&registry)?;
        }
        let sources = admin::Sources {
            registry: registry.clone(),
            ready: ready.clone(),
            state: state.clone(),
        };
        let (left, leaving) = watch::channel(false);
        let copies = self.sockets.copies().map_err(system("copies of ports"))?;
        let Sockets { proxy, admin } = self.sockets;
        let report = |port| admin::start(port, sources.clone(), leaving.clone());
        let report = |port| report(port).map_err(system("the admin thread"));
        // Before anything that may wait for control: a node that cannot join is alive and says that it is not ready. Of
        // a node that is to take over, the one that serves still says that it is.
        let admin = match predecessor {
            Some(_) => Some(admin),
            None => report(admin).map(|()| None)?,
        };
        let (stages, control) = Box::pin(wiring::start(config, &state, &registry, &ready)).await?;
        wait_for_lease(&ready, predecessor.is_some()).await?;
        let frontend = Arc::new(frontend(config, &stages)?);
        let metrics = stages.metrics.clone();
        let (stop, stopping) = watch::channel(false);
        let cut = cut(frontend.tunnels.clone(), state, metrics.clone());
        let mut cutting = tasks::spawn("cut", cut);
        let mut beside = beside(config, stages);
        beside.extend(successor);
        let sources = Arc::new(Sources::new(self.descriptors));
        listen(proxy, (&frontend, &sources), &stopping)?;
        ready.took(Step::Listening);
        admin.map(report).transpose()?;
        let offer = take_over(config, predecessor, copies);
        config.supervisor.serves();
        tracing::info!(listen = ?config.listen, admin = %config.admin, "the gateway listens");
        tokio::select! {
            signal = wait_for_signal() => {
                signal.map_err(system("signals"))?;
                config.supervisor.stops();
            }
            // A node that cannot cut what was revoked must not go on.
            _ended = &mut cutting => tracing::error!("revocations cannot be enforced: the gateway stops"),
            () = taken(offer.as_ref()) => {
                tracing::info!("another process has taken over: this one drains");
                let _admin = left.send(true);
            }
        }
        ready.stopping();
        // With the ports' copies: what nobody accepts from must be closed.
        drop(offer);
        // Every receiver is a task of ours, and one that has ended needs no word.
        let _sent = stop.send(true);
        drain::drain(&metrics, &frontend.tunnels, config.drain).await;
        cutting.abort();
        beside.iter().for_each(JoinHandle::abort);
        control.stop().await;
        Ok(())
    }
}

/// Nothing is accepted before control has confirmed a lease: whoever connects meanwhile waits in the system's queue. A
/// process that takes over is worth the other only then; one that starts without control listens after a while, and says
/// what is wrong.
async fn wait_for_lease(ready: &Ready, takes_over: bool) -> Result<(), Error> {
    let leased = async {
        while !ready.has_taken(Step::Leased) {
            tokio::time::sleep(LEASE_TICK).await;
        }
    };
    let longest = if takes_over {
        LEASE_MAX
    } else {
        FIRST_LEASE_MAX
    };
    match tokio::time::timeout(longest, leased).await {
        Err(_late) if takes_over => Err(Error::NotLeased),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Starts to accept.
fn listen(
    ports: Vec<std::net::TcpListener>,
    (frontend, sources): (&Arc<Frontend<Broker>>, &Arc<Sources>),
    stopping: &watch::Receiver<bool>,
) -> Result<(), Error> {
    for port in ports {
        let listener = TcpListener::from_std(port);
        let listener = listener.map_err(|error| Error::System("a listener", error))?;
        let (sources, stopping) = (sources.clone(), stopping.clone());
        let accepting = accept::accept(listener, frontend.clone(), sources, stopping);
        drop(tasks::spawn("accept", accepting));
    }
    Ok(())
}

/// What runs beside requests until the process has drained.
fn beside(config: &Config, stages: Arc<Stages>) -> Vec<JoinHandle<()>> {
    let following = config.tls.clone().map(secure::follow);
    let following = following.map(|following| tasks::spawn("certificate", following));
    let mut beside = vec![tasks::spawn("expire", expire(stages))];
    beside.extend(following);
    beside
}

/// Listens for the signal that asks for a successor: from the beginning on, since it ends a process that does not.
fn start_successors() -> Option<JoinHandle<()>> {
    // Without /proc nothing says which program this is: then a signal starts no other.
    let started = Started::now()
        .inspect_err(|error| tracing::warn!(%error, "SIGUSR2 will start no successor"));
    let again = |started: Started| tasks::spawn("upgrade", started.again_on_signal());
    started.ok().map(again)
}

/// Tells the process that served before that this one does, and lets another take over in its turn.
fn take_over(
    config: &Config,
    predecessor: Option<Predecessor>,
    copies: Vec<OwnedFd>,
) -> Option<Offer> {
    if let Some(Err(error)) = predecessor.map(Predecessor::took) {
        tracing::warn!(%error, "the process that served before has gone by itself");
    }
    Offer::open(&config.data_dir, copies)
        .inspect_err(|error| tracing::warn!(%error, "no other process can take over from this one"))
        .ok()
}

/// Waits until another process has taken over, if one can.
async fn taken(offer: Option<&Offer>) {
    match offer {
        Some(offer) => offer.taken().await,
        None => std::future::pending().await,
    }
}

fn frontend(config: &Config, stages: &Arc<Stages>) -> Result<Frontend<Broker>, Error> {
    let (state, metrics) = (&stages.state, &stages.metrics);
    Ok(Frontend {
        behind: broker(config, stages.clone())?,
        authenticator: Authenticator::new(&config.authenticate, state.clone()),
        leaves: stages.leaves.clone(),
        tunnels: Arc::new(Tunnels::new(
            config.limits.connections_per_session_max,
            config.limits.connections_per_tenant_max,
        )),
        acceptor: intercept::acceptor()?,
        secure: config.tls.clone(),
        limits: config.limits.clone(),
        cleartext_base_url: config.cleartext_base_url,
        metrics: metrics.clone(),
        pressure: stages.pressure.clone(),
        refused_hosts: Cache::builder()
            .max_capacity(REFUSED_SESSIONS_MAX)
            .time_to_live(REFUSED_HOSTS_LIFE)
            .build(),
    })
}

fn broker(config: &Config, stages: Arc<Stages>) -> Result<Broker, Error> {
    let roots = trust::write(&config.data_dir, &config.upstream.extra_roots)?;
    let conf = Arc::new(ServerConf {
        threads: 1,
        ca_file: Some(roots.to_string_lossy().into_owned()),
        upstream_keepalive_pool_size: config.upstream.idle_max,
        // The first try, and one more on a pooled connection that turned out to be closed.
        max_retries: 2,
        ..ServerConf::default()
    });
    Ok(Broker::new(stages, config.workers, |phases| {
        http_proxy(&conf, phases)
    }))
}

/// No core dumps, no reading of this process's memory by others, and as many descriptors as there may be: so many.
fn guard_memory() -> Result<u64, Error> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let system = |what| move |error: nix::Error| Error::System(what, error.into());
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(system("to forbid core dumps"))?;
    sortie_sys::forbid_dumps().map_err(|error| Error::System("to forbid dumps", error))?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(system("to tell its limits"))?;
    // macOS says "infinite" and accepts OPEN_MAX at most.
    let most = if cfg!(target_os = "macos") {
        most.min(10_240)
    } else {
        most
    };
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(system("to raise its limits"))?;
    Ok(most)
}

async fn wait_for_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "the gateway stops: it drains first");
    Ok(())
}

/// Cuts connections whose session was revoked or has ended, and endless ones whose vault's lease has ended.
///
/// It subscribes before it first waits, so that no connection is accepted that it does not know of.
fn cut(tunnels: Arc<Tunnels>, state: State, metrics: Metrics) -> impl Future<Output = ()> + Send {
    let mut revocations = state.revocations();
    // What came before counts too.
    revocations.mark_changed();
    async move {
        let mut tick = tokio::time::interval(TICK);
        loop {
            let count = tokio::select! {
                changed = revocations.changed() => {
                    if changed.is_err() {
                        return tracing::error!("revocations are not followed any more");
                    }
                    // Read before the cut: what comes during it is the next one's.
                    let version = *revocations.borrow_and_update();
                    let count = tunnels.cut_ended(&state, clock::seconds());
                    state.was_cut(version);
                    count
                }
                _ = tick.tick() => {
                    state.note_open(tunnels.sessions(), tunnels.open());
                    tunnels.cut_expired(&state, clock::seconds())
                }
            };
            if count > 0 {
                metrics.cut.inc_by(count as u64);
                tracing::info!(count, "connections of ended sessions were cut");
            }
        }
    }
}

/// Closes opened credentials that nobody uses.
async fn expire(stages: Arc<Stages>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        let _at = tick.tick().await;
        stages.credentials.expire();
    }
}
