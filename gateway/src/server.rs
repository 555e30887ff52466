//! The assembly: which parts there are, in which order they start, and how they stop. The only file that knows them all.
//!
//! Start: descriptors and ports, then parts, then accepting. Stop, on SIGTERM or SIGINT: not ready any more, no new
//! connections, idle ones end, requests under way end or are cut at the deadline, the journal is flushed, exit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::http_proxy;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::client::accept::{self, Sources, secure};
use crate::client::authenticate::Authenticator;
use crate::client::tunnels::Tunnels;
use crate::client::{Frontend, intercept};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::phases::stages::Stages;
use crate::ready::{Ready, Step};
use crate::snapshot::{State, identity};
use crate::{admin, clock, journal, tasks, trust, wiring};

/// How long a session's count of hosts without a service is kept.
const REFUSED_HOSTS_LIFE: Duration = Duration::from_secs(600);
/// The most sessions whose hosts without a service are counted.
const REFUSED_SESSIONS_MAX: u64 = 100_000;
/// How often expired sessions are looked for, and open connections counted while draining.
const TICK: Duration = Duration::from_secs(1);
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be opened.
    #[error("{0} cannot be listened on")]
    Listen(SocketAddr, #[source] io::Error),
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
    /// BoringSSL refuses its own configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] boring::error::ErrorStack),
}

/// A gateway that has its ports and has not started.
#[derive(Debug)]
pub struct Server {
    config: Config,
    admin: std::net::TcpListener,
    listeners: Vec<std::net::TcpListener>,
}

impl Server {
    /// Opens the ports.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::System`].
    pub fn new(config: Config) -> Result<Self, Error> {
        guard_memory()?;
        let open = |address: SocketAddr| {
            let failed = |error| Error::Listen(address, error);
            let listener = std::net::TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok::<_, Error>(listener)
        };
        let admin = open(config.admin)?;
        let listeners = config
            .listen
            .iter()
            .copied()
            .map(open)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            config,
            admin,
            listeners,
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
            .enable_all()
            .build()
            .map_err(|error| Error::System("a runtime", error))?;
        let ended = runtime.block_on(Box::pin(self.serve()));
        // What is left has had its time: the drain is over.
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    }

    async fn serve(self) -> Result<(), Error> {
        let config = &self.config;
        let registry = Registry::new();
        let ready = Ready::default();
        let system = |what| move |error| Error::System(what, error);
        let state = State::new();
        // Before anything that may wait for control: a node that cannot join is alive and says that it is not ready.
        let sources = admin::Sources {
            registry: registry.clone(),
            ready: ready.clone(),
            state: state.clone(),
        };
        admin::start(self.admin, sources).map_err(system("the admin thread"))?;
        let (stages, control) = Box::pin(wiring::start(config, &state, &registry, &ready)).await?;
        let frontend = Arc::new(frontend(config, &stages)?);
        let metrics = stages.metrics.clone();
        let (stop, stopping) = watch::channel(false);
        let cut = cut(frontend.tunnels.clone(), state, metrics.clone());
        let mut cutting = tasks::spawn("cut", cut);
        let expiring = tasks::spawn("expire", expire(stages));
        let following = config.tls.clone().map(secure::follow);
        let following = following.map(|following| tasks::spawn("certificate", following));
        let sources = Arc::new(Sources::default());
        for listener in self.listeners {
            let listener = TcpListener::from_std(listener).map_err(system("a listener"))?;
            let accepting = accept::accept(
                listener,
                frontend.clone(),
                sources.clone(),
                stopping.clone(),
            );
            drop(tasks::spawn("accept", accepting));
        }
        ready.took(Step::Listening);
        tracing::info!(listen = ?config.listen, admin = %config.admin, "the gateway listens");
        tokio::select! {
            signal = wait_for_signal() => signal.map_err(system("signals"))?,
            // A node that cannot cut what was revoked must not go on.
            _ended = &mut cutting => tracing::error!("revocations cannot be enforced: the gateway stops"),
        }
        ready.stopping();
        // Every receiver is a task of ours, and one that has ended needs no word.
        let _sent = stop.send(true);
        drain(&metrics, &frontend.tunnels, config.drain).await;
        cutting.abort();
        expiring.abort();
        following.inspect(JoinHandle::abort);
        control.stop().await;
        Ok(())
    }
}

fn frontend(config: &Config, stages: &Arc<Stages>) -> Result<Frontend<Broker>, Error> {
    let (state, metrics) = (&stages.state, &stages.metrics);
    Ok(Frontend {
        behind: broker(config, stages.clone())?,
        authenticator: Authenticator::new(&config.authenticate, state.clone()),
        leaves: stages.leaves.clone(),
        tunnels: Arc::new(Tunnels::new(config.limits.connections_per_session_max)),
        acceptor: intercept::acceptor()?,
        secure: config.tls.clone(),
        limits: config.limits.clone(),
        cleartext_base_url: config.cleartext_base_url,
        metrics: metrics.clone(),
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

/// No core dumps, no reading of this process's memory by others, and as many descriptors as there may be.
fn guard_memory() -> Result<(), Error> {
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
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(system("to raise its limits"))
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

/// Waits until no connection is open; at the deadline it cuts those that are.
async fn drain(metrics: &Metrics, tunnels: &Tunnels, deadline: Duration) {
    let started = Instant::now();
    let mut cut = 0;
    // After the cut, entries close within moments; what still is not over then has hung.
    let hung = deadline + Duration::from_secs(2);
    while metrics.connections.get() > 0 && started.elapsed() < hung {
        if cut == 0 && started.elapsed() >= deadline {
            cut = tunnels.cut_all();
        }
        tokio::time::sleep(DRAIN_TICK).await;
    }
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(duration_ms, cut, "connections are drained");
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
