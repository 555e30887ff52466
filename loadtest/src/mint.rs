//! How fast control mints sessions: `sortie-loadtest mint`.
//!
//! A control alone, on its own PostgreSQL. Callers mint one session a call, over connections that they keep, each call
//! when the one before is answered; then batches of a thousand, one after another. A session counts once its call is
//! answered: by then it is committed, with `fsync` on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::alone::Alone;
use crate::alone::figures::{Bar, Figure, Figures, percentile};
use crate::bench::report::say;

/// What must be reached, in sessions a second.
const BAR: f64 = 2_000.0;
/// How many sessions a batch has, and how many milliseconds it may take.
const BATCH: (usize, f64) = (1_000, 1_000.0);

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The control plane's program.
    #[arg(long, default_value = "target/release/sortie-control")]
    control: PathBuf,
    /// Callers that mint one session a call.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Batches of 1,000.
    #[arg(long, default_value_t = 10)]
    batches: usize,
    /// Folder for the results; without one they are printed alone.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What the results' files are called.
    #[arg(long, default_value = "mint")]
    label: String,
}

/// Measures.
///
/// # Errors
/// When control does not start or refuses, or a bar is missed.
pub fn run(options: &Options) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(Box::pin(async {
            let alone = Alone::start(&options.control, "").await?;
            let measured = tokio::select! {
                measured = measure(options, &alone) => measured,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            };
            alone.stop().await;
            let figures = Figures::new(method(options), measured?).await?;
            figures.publish(options.results.as_deref(), &options.label)
        }))
}

fn method(options: &Options) -> String {
    format!(
        "{} callers mint one session a call for {} s, then {} batches of 1,000, at one control with its PostgreSQL, \
         `fsync` on, all on this machine.",
        options.callers, options.seconds, options.batches
    )
}

async fn measure(options: &Options, alone: &Alone) -> Result<Vec<Figure>> {
    say(&format!("minting for {} s", options.seconds));
    let before = alone.process().cpu()?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let mut minting = JoinSet::new();
    for _ in 0..options.callers {
        let caller = Caller::connect(alone.owner.address, alone.owner.key.clone()).await?;
        minting.spawn(mint(caller, end));
    }
    let mut millis = Vec::new();
    while let Some(taken) = minting.join_next().await {
        millis.extend(taken??);
    }
    let rate = millis.len() as f64 / begun.elapsed().as_secs_f64();
    let spent = alone.process().cpu()?.saturating_sub(before);
    let an_each = spent.as_secs_f64() * 1e6 / millis.len().max(1) as f64;
    say("minting batches");
    let mut batches = batches(options.batches, alone).await?;
    let (sessions, bar) = BATCH;
    let slowest = percentile(&mut batches, 100);
    Ok(vec![
        Figure::new("sessions a second, one a call", rate, "").with(Bar::AtLeast(BAR)),
        Figure::new("a call, p50", percentile(&mut millis, 50), "ms"),
        Figure::new("a call, p99", percentile(&mut millis, 99), "ms"),
        Figure::new("control's CPU a session", an_each, "µs"),
        Figure::new("a batch of 1,000, p50", percentile(&mut batches, 50), "ms"),
        Figure::new("a batch of 1,000, slowest", slowest, "ms").with(Bar::AtMost(bar)),
        Figure::new(
            "sessions a second, in batches",
            sessions as f64 * 1e3 / percentile(&mut batches, 50),
            "",
        ),
    ])
}

/// Mints until the end; answers how long each call took, in milliseconds.
async fn mint(mut caller: Caller, end: Instant) -> Result<Vec<f64>> {
    let wanted = json!({"agent": "bench", "vaults": ["bench"]}).to_string();
    let mut millis = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        let _minted = caller
            .post("/v1/tenants/-/sessions", wanted.clone())
            .await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(millis)
}

async fn batches(count: usize, alone: &Alone) -> Result<Vec<f64>> {
    let mut caller = Caller::connect(alone.owner.address, alone.owner.key.clone()).await?;
    let one = json!({"agent": "bench", "vaults": ["bench"]});
    let wanted = json!({"sessions": vec![one; BATCH.0]}).to_string();
    let mut millis = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let answer = caller
            .post("/v1/tenants/-/sessions:batchMint", wanted.clone())
            .await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
        let answer: Value = serde_json::from_slice(&answer)?;
        let sessions = answer.get("sessions").and_then(Value::as_array);
        ensure!(
            sessions.is_some_and(|sessions| sessions.len() == BATCH.0),
            "a batch was not minted whole"
        );
    }
    Ok(millis)
}

/// A connection that is kept, and whose key is shown on it.
struct Caller {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    key: String,
    _connection: JoinSet<()>,
}

impl Caller {
    async fn connect(address: SocketAddr, key: String) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut task = JoinSet::new();
        // What it ends with, the next call says.
        task.spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            address,
            key,
            _connection: task,
        })
    }

    async fn post(&mut self, path: &str, body: String) -> Result<Bytes> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{path} was answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}
