//! How fast control takes gateways' journals in: `sortie-loadtest audit`.
//!
//! A control alone, on its own PostgreSQL; simulated nodes that enrol, are given a vault, and ship over mutual TLS one
//! batch after another, each when the one before is committed, as gateways do. **An entry is a brokered request**: a use
//! and its completion, two records and two rows. At the end the rows are counted: each entry must be there once.

mod node;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::node::{Node, Subject};
use crate::alone::figures::{Bar, Figure, Figures, percentile};
use crate::alone::{Alone, text};
use crate::bench::report::say;

/// What must be reached, in entries a second.
const BAR: f64 = 20_000.0;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The control plane's program.
    #[arg(long, default_value = "target/release/sortie-control")]
    control: PathBuf,
    /// Simulated gateways.
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Requests of a batch; each is two records. A gateway's own batches have up to 1,000 records.
    #[arg(long, default_value_t = 500)]
    requests: u64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Folder for the results; without one they are printed alone.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What the results' files are called.
    #[arg(long, default_value = "audit")]
    label: String,
}

/// Measures.
///
/// # Errors
/// When control does not start, refuses, or loses an entry; or the bar is missed.
pub fn run(options: &Options) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
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
        "{} simulated nodes ship batches of {} requests (a use and a completion each) for {} s to one control with its \
         PostgreSQL, `fsync` on, all on this machine.",
        options.nodes, options.requests, options.seconds
    )
}

/// What one node did.
#[derive(Debug, Default)]
struct Shipped {
    entries: u64,
    /// How long each batch took until it was committed, in milliseconds.
    millis: Vec<f64>,
}

async fn measure(options: &Options, alone: &Alone) -> Result<Vec<Figure>> {
    let subject = subject(alone).await?;
    say(&format!("{} nodes join", options.nodes));
    let mut nodes = Vec::new();
    for number in 0..options.nodes {
        let name = format!("simulated-{number}");
        nodes.push(Node::join(&alone.operator, &name, subject.clone()).await?);
    }
    say(&format!("shipping for {} s", options.seconds));
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let mut shipping = JoinSet::new();
    for node in nodes {
        shipping.spawn(ship(node, options.requests, end));
    }
    let mut all = Shipped::default();
    while let Some(shipped) = shipping.join_next().await {
        let shipped = shipped??;
        all.entries = all.entries.saturating_add(shipped.entries);
        all.millis.extend(shipped.millis);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = all.entries as f64 / seconds;
    let (uses, completions) = stored(alone).await?;
    ensure!(
        (uses, completions) == (all.entries, all.entries),
        "{} entries were shipped, {uses} uses and {completions} completions are there",
        all.entries
    );
    let alarms = alone
        .metric("sortie_control_journal_alarms_total", "")
        .await?;
    Ok(vec![
        Figure::new("entries a second", rate, "").with(Bar::AtLeast(BAR)),
        Figure::new("rows a second", rate * 2.0, ""),
        Figure::new("entries shipped and there", all.entries as f64, ""),
        Figure::new("entries lost", 0.0, "").with(Bar::AtMost(0.0)),
        Figure::new("alarms", alarms, "").with(Bar::AtMost(0.0)),
        Figure::new(
            "a batch until committed, p50",
            percentile(&mut all.millis, 50),
            "ms",
        ),
        Figure::new(
            "a batch until committed, p99",
            percentile(&mut all.millis, 99),
            "ms",
        ),
        Figure::new(
            "control's CPU an entry",
            alone.process().cpu()?.as_secs_f64() * 1e6 / all.entries.max(1) as f64,
            "µs",
        ),
    ])
}

async fn ship(mut node: Node, requests: u64, end: Instant) -> Result<Shipped> {
    let mut shipped = Shipped::default();
    while Instant::now() < end {
        let begun = Instant::now();
        node.ship(requests).await?;
        shipped.millis.push(begun.elapsed().as_secs_f64() * 1e3);
        shipped.entries = shipped.entries.saturating_add(requests);
    }
    Ok(shipped)
}

/// How many uses and completions the database holds.
async fn stored(alone: &Alone) -> Result<(u64, u64)> {
    let url = std::fs::read_to_string(alone.data().join("database-url"))?;
    let (client, connection) = tokio_postgres::connect(url.trim(), tokio_postgres::NoTls).await?;
    let count = async {
        client.batch_execute("SET ROLE sortie_system").await?;
        let mut counts = Vec::new();
        for table in ["audit_uses", "audit_completions"] {
            let sql = format!("SELECT count(*) FROM {table}");
            let row = client.query_one(&sql, &[]).await?;
            counts.push(u64::try_from(row.try_get::<_, i64>(0)?)?);
        }
        drop(client);
        Ok::<_, anyhow::Error>(counts)
    };
    let (counts, ended) = tokio::join!(count, connection);
    ended?;
    match counts?.as_slice() {
        &[uses, completions] => Ok((uses, completions)),
        _ => anyhow::bail!("not counted"),
    }
}

/// The tenant's objects, and a session of them.
async fn subject(alone: &Alone) -> Result<Subject> {
    let owner = &alone.owner;
    let wanted = json!({"agent": "bench", "vaults": ["bench"], "ttl_seconds": 86_400});
    let session = owner
        .call(Method::POST, "/v1/tenants/-/sessions", &wanted)
        .await?;
    let get = async |path: &str| -> Result<Value> {
        Ok(serde_json::from_str(
            &owner.text(path, "application/json").await?,
        )?)
    };
    let id = async |path: &str| text(&get(path).await?, "/id");
    let not_an_id = "an id of another form";
    Ok(Subject {
        tenant: id("/v1/tenants/-").await?.parse().ok().context(not_an_id)?,
        vault: id("/v1/tenants/-/vaults/bench")
            .await?
            .parse()
            .ok()
            .context(not_an_id)?,
        agent: id("/v1/tenants/-/agents/bench")
            .await?
            .parse()
            .ok()
            .context(not_an_id)?,
        session: text(&session, "/id")?.parse().ok().context(not_an_id)?,
        token: text(&session, "/token")?,
    })
}
