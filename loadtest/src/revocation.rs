//! How soon gateways under load cut what is revoked, as agents see it.
//!
//! A session holds, at each gateway, an idle tunnel, an event stream over HTTP/2 and a WebSocket; other agents load the
//! gateways meanwhile. The session is revoked with a wait for enforcement: what counts is from the call until control
//! says that all gateways enforce it, and until the last of the session's connections ends at the agent.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bench::report::say;
use crate::bench::stand::HOST;
use crate::client;
use crate::cluster::{Cluster, Programs, Session, Shape};
use crate::drive::conduct::Conductor;
use crate::drive::socket::Socket;
use crate::drive::target::Target;
use crate::drive::wire::{Connection, Route};
use crate::fleet::spread::Spread;
use crate::plan::{Protocol, Scenario};
use crate::report::{Figure, Outcome, Place};

/// How long a connection of a revoked session may stay open before this is an error.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a revocation waits for the gateways.
const WAIT_SECONDS: u32 = 20;
/// How long the load runs before the first is revoked.
const LEAD: Duration = Duration::from_secs(3);
/// The longest that the load runs: the measurement ends it.
const LOAD_SECONDS: u32 = 3600;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// How many gateways.
    #[arg(long, default_value_t = 3)]
    gateways: usize,
    /// How many controls.
    #[arg(long, default_value_t = 2)]
    controls: usize,
    /// How many sessions are revoked, one after another.
    #[arg(long, default_value_t = 100)]
    times: usize,
    /// Requests a second that the gateways carry meanwhile.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Idle tunnels of other sessions that are open meanwhile, at each gateway.
    #[arg(long, default_value_t = 200)]
    bystanders: usize,
    #[command(flatten)]
    place: Place,
}

/// Measures.
///
/// # Errors
/// When something does not start, a connection stays open, or a bar is missed.
pub fn run(options: &Options) -> Result<()> {
    let shape = Shape {
        gateways: options.gateways,
        controls: options.controls,
        ..Shape::default()
    };
    let measured = options
        .programs
        .within((2, &shape), async |cluster| measure(options, cluster).await);
    measured?.publish(&options.place)
}

async fn measure(options: &Options, cluster: &Cluster) -> Result<Outcome> {
    let load = Conductor::new(load(options)?, Target::of(cluster, 1)?);
    let mut loading = JoinSet::new();
    loading.spawn(async move { Box::pin(load.conduct(None)).await.map(drop) });
    tokio::time::sleep(LEAD).await;
    let (begun, before) = (Instant::now(), brokered(cluster).await?);
    let done = revoke_all(options, cluster).await;
    let carried = brokered(cluster).await? - before;
    let carried = carried / begun.elapsed().as_secs_f64();
    let ended = loading.try_join_next();
    ensure!(ended.is_none(), "the load ended early: {ended:?}");
    loading.shutdown().await;
    let mut outcome = done?;
    let load = Figure::new(
        "requests a second that gateways carried meanwhile",
        carried,
        "",
    );
    outcome.figures.push(load.at_least(options.rate / 2.0));
    Ok(outcome)
}

/// How many requests all gateways have brokered so far.
async fn brokered(cluster: &Cluster) -> Result<f64> {
    let mut brokered = 0.0;
    for gateway in cluster.gateways() {
        brokered += gateway.metric("sortie_gateway_requests_total").await?;
    }
    Ok(brokered)
}

/// What the gateways carry meanwhile.
fn load(options: &Options) -> Result<Scenario> {
    let agents = options.bystanders * options.gateways;
    let scenario = format!(
        "name = \"load\"\nabout = \"Load beside revocations.\"\n[[phase]]\nname = \"all\"\nseconds = {LOAD_SECONDS}\n\
         [[phase.group]]\nname = \"agents\"\nagents = {}\nrate = {:.1}\n\
         [[phase.group]]\nname = \"idle\"\nagents = {}\nrate = 1.0\nidle_seconds = {LOAD_SECONDS}\n",
        40,
        options.rate,
        agents.max(1)
    );
    Scenario::parse(&scenario)
}

async fn revoke_all(options: &Options, cluster: &Cluster) -> Result<Outcome> {
    let tenant = cluster.tenant(0)?;
    let sessions = tenant.mint(options.times).await?;
    let mut said = Spread::new()?;
    let mut cut = Spread::new()?;
    let mut last = Spread::new()?;
    for (number, session) in sessions.iter().enumerate() {
        if number % 20 == 0 {
            say(&format!("revoked {number} of {}", options.times));
        }
        let mut open = Box::pin(open_all(cluster, session)).await?;
        let called = Instant::now();
        let revoking = async {
            let answer = tenant.revoke(session.id(), WAIT_SECONDS).await?;
            Ok::<_, anyhow::Error>((answer, called.elapsed()))
        };
        let ending = async {
            let mut latest = Duration::ZERO;
            while let Some(ended) = open.join_next().await {
                let after = ended??.duration_since(called);
                cut.add(after);
                latest = latest.max(after);
            }
            Ok::<_, anyhow::Error>(latest)
        };
        let (revoked, ended) = tokio::join!(revoking, ending);
        let (answer, took) = revoked?;
        let count = |name: &str| {
            answer
                .pointer(&format!("/enforcement/{name}"))
                .and_then(Value::as_u64)
        };
        let all = u64::try_from(options.gateways)?;
        ensure!(
            count("enforced") == Some(all),
            "not enforced everywhere: {answer}"
        );
        said.add(took);
        last.add(ended?.max(took));
    }
    Ok(outcome(options, [&said, &cut, &last]))
}

fn outcome(options: &Options, [said, cut, last]: [&Spread; 3]) -> Outcome {
    let mut outcome = Outcome::new(
        "revocation",
        "Sessions revoked while gateways are loaded: each holds a tunnel, an HTTP/2 event stream and a WebSocket at \
         every gateway.",
    );
    let title = format!(
        "revocation, call to enforced on {} loaded gateways, all connections cut, p99",
        options.gateways
    );
    outcome
        .figures
        .push(Figure::new(title, last.at(99.0), "ms").at_most(100.0));
    let mut table = Spread::table();
    table
        .rows
        .push(said.row("until control says: enforced on all"));
    table
        .rows
        .push(cut.row("until a connection ends at the agent"));
    table
        .rows
        .push(last.row("until both, for the last connection"));
    outcome.tables.push(table);
    outcome.details = json!({"gateways": options.gateways, "controls": options.controls, "rate": options.rate,
        "p50_ms": last.at(50.0), "p99_ms": last.at(99.0)});
    outcome
}

/// Opens what the session holds at each gateway. Each task ends when its connection has.
async fn open_all(cluster: &Cluster, session: &Session) -> Result<JoinSet<Result<Instant>>> {
    let mut open = JoinSet::new();
    let (h1, h2) = (
        client::trusting(cluster.tenant(0)?.root(), &["http/1.1"])?,
        client::trusting(cluster.tenant(0)?.root(), &["h2"])?,
    );
    for (index, gateway) in cluster.gateways().iter().enumerate() {
        let route = Route {
            address: gateway.proxy(),
            token: Some(session.token().to_owned()),
            host: HOST.to_owned(),
            port: cluster.upstream().port(),
            tls: std::sync::Arc::clone(&h1),
            agent: index,
        };
        let mut tunnel = route.open().await?;
        let answer = client::get(&mut tunnel, &route.authority(), "/").await?;
        ensure!(
            answer.status == 200,
            "the tunnel was answered {}",
            answer.status
        );
        open.spawn(ended(async move { drop(tunnel.read_u8().await) }));

        let mut socket = Socket::open(&route).await?;
        socket.echo("there").await?;
        open.spawn(ended(async move { socket.ended().await }));

        let route = Route {
            tls: std::sync::Arc::clone(&h2),
            ..route
        };
        let mut connection = Connection::open(&route, Protocol::Http2).await?;
        let stream = connection.get("/sse?n=0&interval_ms=1000").await?;
        ensure!(
            stream.status() == 200,
            "the stream was answered {}",
            stream.status()
        );
        let mut body = stream.into_body();
        body.frame().await.context("no event")??;
        open.spawn(ended(async move {
            while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
            drop(connection);
        }));
    }
    Ok(open)
}

async fn ended(connection: impl Future<Output = ()>) -> Result<Instant> {
    timeout(PATIENCE, connection)
        .await
        .context("a connection of a revoked session stays open")?;
    Ok(Instant::now())
}
