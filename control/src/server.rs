//! The assembly: what is made in which order, what listens, and how it stops.

mod connection;
mod http;
mod tls;

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use sortie_proto::wire::v1::feed_server::FeedServer;
use sortie_proto::wire::v1::journal_server::JournalServer;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use crate::api;
use crate::api::grpc::feed::FeedService;
use crate::api::grpc::journal::JournalService;
use crate::command::AgentSide;
use crate::config::{Config, SHUTDOWN_MAX};
use crate::database::gateways::processes;
use crate::database::journal::alarms;
use crate::database::private::{Binaries, Cluster};
use crate::database::{Connector, Database, changes, cluster, migrate};
use crate::error::Result;
use crate::feed::listen;
use crate::feed::read::Log;
use crate::feed::sequence::Sequencer;
use crate::fence;
use crate::fence::file::FileFence;
use crate::fence::restore::Restored;
use crate::fleet::{Fleet, Parts};
use crate::metrics::Metrics;
use crate::ready::Ready;
use crate::seal::{Keys, NotOpened};
use crate::tasks::Tasks;

/// The largest message that a gateway may send, in bytes: a batch of its journal.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// How many connections the API's port has at once.
const API_CONNECTIONS: usize = 4_096;
/// How many connections the admin port has at once.
const ADMIN_CONNECTIONS: usize = 256;
/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How often partitions are made and old rows forgotten.
const UPKEEP: Duration = Duration::from_secs(60);

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The private database cannot run.
    #[error(transparent)]
    Private(#[from] crate::database::private::Error),
    /// The database's address cannot be used.
    #[error(transparent)]
    Url(#[from] crate::database::InvalidUrl),
    /// The database is behind what was seen of it.
    #[error(transparent)]
    Fence(#[from] fence::Error),
    /// The keys cannot be opened.
    #[error(transparent)]
    Keys(#[from] NotOpened),
    /// The database fails.
    #[error("the database cannot be used")]
    Database(#[from] crate::error::Error),
    /// A port or a folder cannot be used.
    #[error("cannot use {what}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn io(what: impl ToString) -> impl FnOnce(std::io::Error) -> NotStarted {
    move |source| NotStarted::Io {
        what: what.to_string(),
        source,
    }
}

/// A running control plane.
#[derive(Debug)]
pub struct Server {
    tasks: Tasks,
    ready: Ready,
    database: Database,
    state: api::State,
    api: SocketAddr,
    feed: SocketAddr,
    admin: SocketAddr,
    // Last: the database stops after everything that uses it.
    private: Option<Cluster>,
}

impl Server {
    /// Starts everything. When it returns, the ports answer.
    ///
    /// # Errors
    /// [`NotStarted`] says what to do.
    pub async fn start(config: Config) -> Result<Self, NotStarted> {
        prepare_data_dir(&config.data_dir)?;
        let listeners = Listeners::bind(&config).await?;
        let metrics = Metrics::new();
        let (connector, private) = Box::pin(find_database(&config)).await?;
        let fence = FileFence::new(&config.data_dir);
        fence::check(&fence, &connector).await?;
        let database = Box::pin(open_database(connector, &config, &metrics)).await?;
        let keys = Box::pin(Keys::open(&database, &config.data_dir)).await?;
        make_partitions(&database).await?;
        let (tasks, ready) = (Tasks::new(), Ready::default());
        let sequencer = Sequencer::new(database.clone());
        sequencer.committed().await?;
        fence::keep(Arc::new(fence), keys.cluster(), database.floor(), &tasks).await?;
        let parts = Parts {
            log: Log::open(
                database.clone(),
                config.feed.recent_changes,
                metrics.clone(),
            )
            .await?,
            database: database.clone(),
            keys: keys.clone(),
            config: config.feed.clone(),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            // A quarter more is for records; the rest is for callers of the API.
            turns: (config.database_connections / 2).max(1),
        };
        let fleet = start_feed(parts, &sequencer, &ready);
        tasks.spawn_until_stop("upkeep", upkeep(database.clone(), config.feed.kept_changes));
        let state = api::State {
            database: database.clone(),
            sequencer,
            keys,
            fleet,
            agents: Arc::new(AgentSide::new(config.proxy.clone())),
        };
        let server = Self {
            api: listeners.api.local_addr().map_err(io("api.listen"))?,
            feed: listeners.feed.local_addr().map_err(io("feed.listen"))?,
            admin: listeners.admin.local_addr().map_err(io("admin.listen"))?,
            tasks,
            ready,
            database,
            state,
            private,
        };
        server.serve(listeners, &config, metrics)?;
        server.ready.set_started(true);
        tracing::info!(api = %server.api, feed = %server.feed, admin = %server.admin, "control is up");
        Ok(server)
    }

    fn serve(&self, listeners: Listeners, config: &Config, metrics: Metrics) -> Result<()> {
        let router = api::router(self.state.clone());
        let bounds = http::Bounds {
            descriptors: api_descriptors(),
            connections: API_CONNECTIONS,
            head: HEAD_MAX,
        };
        let serve = http::serve(listeners.api, router, bounds, self.tasks.clone());
        self.tasks.spawn("api", serve);
        let admin = crate::admin::router(self.ready.clone(), metrics);
        let bounds = http::Bounds {
            descriptors: RawFd::MAX,
            connections: ADMIN_CONNECTIONS,
            head: HEAD_MAX,
        };
        let serve = http::serve(listeners.admin, admin, bounds, self.tasks.clone());
        self.tasks.spawn("admin", serve);
        let dialled = config.feed.advertise.rsplit_once(':');
        let dialled = dialled.map_or("localhost", |(host, _)| host).to_owned();
        let hosts = std::iter::once(dialled).chain(config.feed.names.clone());
        let acceptor = tls::Acceptor::new(self.state.keys.clone(), hosts.collect())?;
        self.tasks
            .spawn_until_stop("server certificate", acceptor.clone().renew());
        let incoming = acceptor.accept(listeners.feed, &self.tasks);
        self.tasks.spawn(
            "feed",
            grpc(self.state.fleet.clone(), incoming, self.stopped()),
        );
        Ok(())
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        self.tasks.shutdown().clone().cancelled_owned()
    }

    /// What handlers work with; tests use it to act without HTTP.
    #[must_use]
    pub const fn state(&self) -> &api::State {
        &self.state
    }

    /// Where the API is.
    #[must_use]
    pub const fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where gateways connect.
    #[must_use]
    pub const fn feed(&self) -> SocketAddr {
        self.feed
    }

    /// Where metrics are.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Stops: no longer ready, no new connections, streams are told, requests end, then the private database.
    pub async fn stop(mut self) {
        self.ready.set_started(false);
        let drained = self.tasks.stop(SHUTDOWN_MAX).await;
        tracing::info!(drained, "streams and requests have ended");
        self.database.close();
        if let Some(private) = self.private.take() {
            // Stopping it waits for its checkpoint.
            let _stopped = tokio::task::spawn_blocking(move || drop(private)).await;
            tracing::info!("the private database has stopped");
        }
    }
}

/// As root the folder must let the database's unprivileged user pass; each secret in it is 0600 by itself.
fn prepare_data_dir(dir: &Path) -> Result<(), NotStarted> {
    if !dir.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .map_err(io(dir.display()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).map_err(io(dir.display()))?;
    }
    Ok(())
}

struct Listeners {
    api: TcpListener,
    feed: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, NotStarted> {
        Ok(Self {
            api: TcpListener::bind(config.api.listen)
                .await
                .map_err(io(config.api.listen))?,
            feed: TcpListener::bind(config.feed.listen)
                .await
                .map_err(io(config.feed.listen))?,
            admin: TcpListener::bind(config.admin_listen)
                .await
                .map_err(io(config.admin_listen))?,
        })
    }
}

/// Says that a backup was restored and that it is meant, on a cluster whose controls have stopped.
///
/// # Errors
/// [`NotStarted`] says what to do.
pub async fn restore(config: &Config, epoch: Option<u64>) -> Result<Restored, NotStarted> {
    let (connector, private) = Box::pin(find_database(config)).await?;
    let database = Box::pin(open_database(connector, config, &Metrics::new())).await?;
    let fence = Arc::new(FileFence::new(&config.data_dir));
    let restored = fence::restore::restore(&database, fence, epoch).await;
    database.close();
    // Stopping a private database waits for its checkpoint.
    let _stopped = tokio::task::spawn_blocking(move || drop(private)).await;
    Ok(restored?)
}

/// Makes the fleet, and begins to follow the order of changes.
fn start_feed(parts: Parts, sequencer: &Sequencer, ready: &Ready) -> Fleet {
    let (database, log, tasks) = (
        parts.database.clone(),
        parts.log.clone(),
        parts.tasks.clone(),
    );
    let fleet = Fleet::new(parts);
    let signals = fleet.signals().clone();
    let listen = listen::run(database, sequencer.clone(), log, signals, ready.clone());
    tasks.spawn_until_stop("listen", listen);
    fleet.start(ready);
    fleet
}

/// How many descriptors connections of the API may reach to: a quarter is left to gateways, the database and the admin
/// pages.
fn api_descriptors() -> RawFd {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(now, _)| now);
    RawFd::try_from(most - most / 4).unwrap_or(RawFd::MAX)
}

/// The way to the database, which runs here if it is private.
async fn find_database(config: &Config) -> Result<(Connector, Option<Cluster>), NotStarted> {
    if let Some(database) = &config.database {
        let authority = database.ca_file.as_deref();
        return Ok((Connector::secret(&database.url, authority)?, None));
    }
    let binaries = Binaries::find(&config.postgres_path)?;
    let cluster = Cluster::start(&config.data_dir, &binaries).await?;
    Ok((Connector::new(&cluster.url(), None)?, Some(cluster)))
}

async fn open_database(
    connector: Connector,
    config: &Config,
    metrics: &Metrics,
) -> Result<Database> {
    migrate::run(&connector).await?;
    Database::new(connector, config.database_connections, metrics.clone())
}

async fn grpc(
    fleet: Fleet,
    incoming: ReceiverStream<tls::Accepted>,
    stopped: impl Future<Output = ()>,
) {
    let feed =
        FeedServer::new(FeedService::new(fleet.clone())).max_decoding_message_size(MESSAGE_MAX);
    let journal =
        JournalServer::new(JournalService::new(fleet)).max_decoding_message_size(MESSAGE_MAX);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(64)
        .add_service(feed)
        .add_service(journal)
        .serve_with_incoming_shutdown(incoming, stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(error = %crate::error::Chain(&error), "the feed's server ended");
    }
}

async fn upkeep(database: Database, kept: i64) {
    let mut tick = every(UPKEEP);
    loop {
        tick.tick().await;
        if let Err(error) = tidy(&database, kept).await {
            error.log("upkeep");
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

async fn tidy(database: &Database, kept: i64) -> Result<()> {
    make_partitions(database).await?;
    changes::compact(database, kept).await?;
    let tx = database.system().await?;
    cluster::forget_replicas(&tx).await?;
    processes::forget(&tx).await?;
    alarms::forget(&tx).await?;
    tx.commit().await
}

async fn make_partitions(database: &Database) -> Result<()> {
    let tx = database.system().await?;
    cluster::make_partitions(&tx).await?;
    tx.commit().await
}
