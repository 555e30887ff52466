//! The service that keeps the state up to date: one stream from control, opened again whenever it ends.
//!
//! What events mean is in `replica`; here are the connection, the clock and the waits. Everything that a
//! request wants from control passes through here, so that there is one connection and one order. While control is
//! away requests for cold vaults wait out their own timeout, and vaults in memory are served until their leases end.

use std::error::Error as StdError;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use prometheus::{Gauge, IntGauge, Registry};
use rand::Rng;
use sortie_proto::code::Code;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_client::FeedClient;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::State;
use super::identity::{self, Identity};
use super::link::{self, Link, Request, SignedIntermediate, Signing};
use super::replica::{Broken, Replica};
use crate::clock;
use crate::error::Error as StageError;

/// How often the follow service beats and looks at its vaults.
const TICK: Duration = Duration::from_secs(1);
/// How long control may be silent: it echoes every second.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a call and the opening of a stream may take.
const CALL: Duration = Duration::from_secs(10);
/// The bounds of the wait before the next stream; the wait itself is random below a limit that doubles.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(20));
/// The most events that are taken before they are acknowledged together.
const EVENTS_MAX: usize = 256;
/// The largest event: a vault with all that it has.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// By how much this machine's clock may differ from the database's.
const SKEW_MAX: Duration = Duration::from_secs(30);
/// The least time between two renewals.
const RENEW_AGAIN: Duration = Duration::from_secs(600);

/// How much may wait for control, and for how long.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most requests that wait to be handed to the stream; beyond it `overloaded`.
    pub requests_max: usize,
    /// How long a request waits for a cold vault or a signature.
    pub request_timeout: Duration,
    /// The most messages that wait to be sent; beyond it the service waits, and after ten seconds reconnects.
    pub outgoing_max: usize,
}

/// A stream ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("control cannot be reached")]
    Connect(#[source] identity::Error),
    #[error("control refused a call")]
    Call(#[source] Box<Status>),
    #[error("control closed the stream")]
    Closed,
    #[error("control is silent or does not read")]
    Silent,
    #[error("connections of sessions that have ended are not cut")]
    NotCut,
    #[error("the stream makes no sense")]
    Broken(#[from] Broken),
}

impl Error {
    /// Whether an operator has locked this node. Control says that of a call or a stream in no other case.
    fn is_lock(&self) -> bool {
        matches!(self, Self::Call(status) if status.code() == tonic::Code::PermissionDenied)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

/// Why a stream was left without an error.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Shutdown,
    /// For a renewed certificate, or for what only the beginning of a stream sends.
    Again,
}

#[derive(Debug)]
struct Metrics {
    connected: IntGauge,
    epoch: IntGauge,
    revision: IntGauge,
    vaults: IntGauge,
    quarantined: IntGauge,
    lease_age: Gauge,
    clock_ahead: Gauge,
}

impl Metrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let seconds = |name: &str, help: &str| {
            let metric = Gauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            connected: gauge(
                "sortie_gateway_feed_connected",
                "1 while the stream from control is open.",
            )?,
            epoch: gauge(
                "sortie_gateway_feed_epoch",
                "The epoch of the last revision that was followed.",
            )?,
            revision: gauge(
                "sortie_gateway_feed_revision",
                "The last revision that was followed.",
            )?,
            vaults: gauge(
                "sortie_gateway_feed_vaults",
                "Vaults in memory or asked for.",
            )?,
            quarantined: gauge(
                "sortie_gateway_feed_quarantined",
                "Tenants, vaults and objects of vaults that this node could not understand and refuses.",
            )?,
            lease_age: seconds(
                "sortie_gateway_feed_lease_age_seconds",
                "How long ago the moment is that control last confirmed.",
            )?,
            clock_ahead: seconds(
                "sortie_gateway_clock_ahead_seconds",
                "By how much this machine's clock is ahead of the database's.",
            )?,
        })
    }

    fn set(&self, replica: &Replica, state: &State) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.connected.set(i64::from(replica.is_welcomed()));
        let position = replica.position().unwrap_or_default();
        self.epoch.set(number(position.epoch));
        self.revision.set(number(position.n));
        self.vaults
            .set(i64::try_from(replica.vault_count()).unwrap_or(i64::MAX));
        self.quarantined
            .set(i64::try_from(state.quarantined().len()).unwrap_or(i64::MAX));
        let age = state.lease().age().unwrap_or_default();
        self.lease_age.set(age.as_secs_f64());
        self.clock_ahead.set(clock::ahead());
    }
}

/// The follow service.
#[derive(Debug)]
pub struct Follow {
    identity: Arc<Identity>,
    boot: BootId,
    replica: Replica,
    state: State,
    requests: mpsc::Receiver<Request>,
    outgoing_max: usize,
    metrics: Metrics,
    ready: watch::Sender<bool>,
    renew_not_before: Instant,
    /// Whether this machine's clock was found wrong.
    is_clock_wrong: bool,
}

impl Follow {
    /// Makes the service, and the link that requests use.
    ///
    /// # Errors
    /// When its metrics are registered already.
    pub fn new(
        config: &Config,
        identity: Arc<Identity>,
        boot: BootId,
        state: State,
        registry: &Registry,
    ) -> Result<(Self, Link), prometheus::Error> {
        let (sender, requests) = mpsc::channel(config.requests_max.max(1));
        let link = Link::new(state.clone(), sender, config.request_timeout);
        let follow = Self {
            identity,
            boot,
            replica: Replica::new(state.clone()),
            state,
            requests,
            outgoing_max: config.outgoing_max.max(1),
            metrics: Metrics::register(registry)?,
            ready: watch::Sender::new(false),
            renew_not_before: Instant::now(),
            is_clock_wrong: false,
        };
        Ok((follow, link))
    }

    /// Turns true with the first lease, and stays so: before it nothing may be served, and what happens later is for
    /// each vault's staleness to say.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Follows until told to stop.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut limit = BACKOFF.0;
        loop {
            let ended = self.follow(&mut shutdown).await;
            // A stream that ends before anything was confirmed on it is no success: the waits go on growing.
            if self.replica.is_confirmed() {
                limit = BACKOFF.0;
            }
            self.replica.disconnected();
            self.metrics.set(&self.replica, &self.state);
            let wait = match ended {
                Ok(Left::Shutdown) => return,
                Ok(Left::Again) => Duration::ZERO,
                Err(error) => {
                    if error.is_lock() {
                        tracing::error!("control has shut this node out: it serves nothing");
                        self.replica.shut_out();
                    }
                    // A connection that could not be opened has turned to the next replica already.
                    if !matches!(error, Error::Connect(_)) {
                        self.identity.whereabouts().turn();
                    }
                    let error: &dyn StdError = &error;
                    tracing::warn!(error, "control is not being followed");
                    rand::rng().random_range(Duration::ZERO..=limit)
                }
            };
            limit = limit.saturating_mul(2).min(BACKOFF.1);
            if self.wait(wait, &mut shutdown).await == Some(Left::Shutdown) {
                return;
            }
        }
    }

    /// Waits without a stream. Vaults still end, and wishes are still taken in.
    async fn wait(&mut self, wait: Duration, shutdown: &mut watch::Receiver<bool>) -> Option<Left> {
        let until = Instant::now() + wait;
        let mut ticks = ticks();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return None,
                () = told_to_stop(shutdown) => return Some(Left::Shutdown),
                _ = ticks.tick() => self.replica.tick(clock::seconds()),
                request = self.requests.recv() => match request {
                    Some(Request::Sign(signing)) => refuse(signing),
                    Some(Request::Vault(id, ticket, answer)) => self.replica.want(id, ticket, answer),
                    Some(Request::Offer(id, ticket)) => self.replica.offer(id, ticket),
                    None => return Some(Left::Shutdown),
                },
            }
        }
    }

    /// Opens a stream and follows it to its end.
    async fn follow(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<Left, Error> {
        let opened = tokio::select! {
            opened = tokio::time::timeout(CALL * 2, self.open()) => opened,
            () = told_to_stop(shutdown) => return Ok(Left::Shutdown),
        };
        let (client, outgoing, mut events) = opened.or(Err(Error::Silent))??;
        let mut signing = FuturesUnordered::new();
        let mut ticks = ticks();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                event = events.message() => {
                    let event = event?.ok_or(Error::Closed)?;
                    heard = Instant::now();
                    self.take_events(event, &mut events).await?;
                }
                request = self.requests.recv() => match request {
                    Some(Request::Vault(id, ticket, answer)) => self.replica.want(id, ticket, answer),
                    Some(Request::Offer(id, ticket)) => self.replica.offer(id, ticket),
                    Some(Request::Sign(wanted)) => signing.push(sign(client.clone(), wanted)),
                    None => return Ok(Left::Shutdown),
                },
                Some(()) = signing.next(), if !signing.is_empty() => {}
                _ = ticks.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(Error::Silent);
                    }
                    self.replica.tick(clock::seconds());
                    self.replica.beat();
                    self.replica.tell_quarantined();
                    self.metrics.set(&self.replica, &self.state);
                    self.look_at_clock();
                    if self.must_renew() || self.replica.must_reopen() {
                        return Ok(Left::Again);
                    }
                }
                () = told_to_stop(shutdown) => return Ok(Left::Shutdown),
            }
            self.flush(&outgoing).await?;
        }
    }

    /// Says that this machine's clock is wrong, once until it is right again. Requests are judged by the cluster's time;
    /// but certificates are checked by this clock, and logs are dated by it.
    fn look_at_clock(&mut self) {
        let ahead_seconds = clock::ahead();
        let is_wrong = ahead_seconds.abs() > SKEW_MAX.as_secs_f64();
        if is_wrong && !self.is_clock_wrong {
            tracing::error!(
                ahead_seconds,
                "this machine's clock is wrong: set it, before certificates seem to have ended"
            );
        }
        self.is_clock_wrong = is_wrong;
    }

    async fn open(&mut self) -> Result<Opened, Error> {
        let mut client = self.connect().await?;
        if self.must_renew() {
            if let Err(error) = self.identity.renew(&mut client).await {
                let error: &dyn StdError = &error;
                tracing::warn!(error, "the node's certificate was not renewed");
            }
            // Whatever came of it: where the clocks differ by a day, a new certificate looks old, too.
            self.renew_not_before = Instant::now() + RENEW_AGAIN;
            client = self.connect().await?;
        }
        let (outgoing, messages) = mpsc::channel(self.outgoing_max);
        let hello = self.replica.hello(&self.boot.to_bytes());
        outgoing.try_send(hello).or(Err(Error::Silent))?;
        let answer = client.follow(ReceiverStream::new(messages)).await?;
        Ok((client, outgoing, answer.into_inner()))
    }

    async fn connect(&self) -> Result<FeedClient<Channel>, Error> {
        let channel = self.identity.connect().await.map_err(Error::Connect)?;
        Ok(FeedClient::new(channel).max_decoding_message_size(EVENT_BYTES_MAX))
    }

    fn must_renew(&self) -> bool {
        self.identity.is_due(clock::seconds()) && Instant::now() >= self.renew_not_before
    }

    /// Takes an event and those that are there already, and acknowledges them together, once what they revoke is cut.
    async fn take_events(
        &mut self,
        first: v1::FollowEvent,
        events: &mut Streaming<v1::FollowEvent>,
    ) -> Result<(), Error> {
        let now = clock::seconds();
        let mut next = Some(first);
        for _ in 0..EVENTS_MAX {
            let Some(event) = next.take() else { break };
            self.replica.event(event, now)?;
            next = match events.message().now_or_never() {
                Some(event) => Some(event?.ok_or(Error::Closed)?),
                None => None,
            };
        }
        if let Some(event) = next {
            self.replica.event(event, now)?;
        }
        // Another task cuts. While it does not, this node enforces less than it knows, and does not say otherwise.
        tokio::time::timeout(CALL, self.state.cut())
            .await
            .or(Err(Error::NotCut))?;
        self.replica.acknowledge();
        self.replica.tell_quarantined();
        if self.state.lease().age().is_some() {
            self.ready
                .send_if_modified(|ready| !std::mem::replace(ready, true));
        }
        Ok(())
    }

    async fn flush(&mut self, outgoing: &mpsc::Sender<v1::FollowRequest>) -> Result<(), Error> {
        for message in self.replica.take_outgoing() {
            tokio::time::timeout(CALL, outgoing.send(message))
                .await
                .or(Err(Error::Silent))?
                .or(Err(Error::Closed))?;
        }
        Ok(())
    }
}

async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    // Who could tell is gone where it fails: that is a stop too.
    let _told = shutdown.wait_for(|stop| *stop).await;
}

type Opened = (
    FeedClient<Channel>,
    mpsc::Sender<v1::FollowRequest>,
    Streaming<v1::FollowEvent>,
);

fn sign(mut client: FeedClient<Channel>, signing: Signing) -> BoxFuture<'static, ()> {
    let request = v1::SignIntermediateRequest {
        tenant_id: signing.tenant.to_bytes(),
        session_token: String::from_utf8_lossy(signing.token.expose()).into_owned(),
        certificate_request: signing.certificate_request,
    };
    let answer = signing.answer;
    async move {
        let signed = tokio::time::timeout(CALL, client.sign_intermediate(request)).await;
        let signed = match signed {
            Ok(Ok(signed)) => Ok(signed.into_inner()),
            Ok(Err(status)) => Err(StageError::because(told(&status), status)),
            Err(late) => Err(StageError::because(Code::VaultUnavailable, late)),
        };
        let _gone = answer.send(signed.map(|signed| SignedIntermediate {
            certificate: signed.certificate,
            root: signed.root,
        }));
    }
    .boxed()
}

fn told(status: &Status) -> Code {
    let name = status.metadata().get("sortie-code");
    link::refusal(name.and_then(|name| name.to_str().ok()).unwrap_or_default())
}

fn refuse(signing: Signing) {
    let _gone = signing.answer.send(Err(Code::VaultUnavailable.into()));
}

fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
