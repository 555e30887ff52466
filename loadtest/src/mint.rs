//! How fast control mints sessions: `sortie-loadtest mint`.
//!
//! A control alone, on its own PostgreSQL. Callers mint one session a call, over connections that they keep, each call
//! when the one before is answered; then batches of a thousand, one after another. A session counts once its call is
//! answered: by then it is committed, with `fsync` on.

use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::report::say;
use crate::bench::rest::{Api, Kept};
use crate::cluster::{Cluster, Programs, Shape};
use crate::fleet::spread::Spread;
use crate::report::{Figure, Outcome, Place};

/// What must be reached, in sessions a second.
const BAR: f64 = 2_000.0;
/// How many sessions a batch has, and how many milliseconds it may take.
const BATCH: (usize, f64) = (1_000, 1_000.0);

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Callers that mint one session a call.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Batches of 1,000.
    #[arg(long, default_value_t = 10)]
    batches: usize,
    #[command(flatten)]
    place: Place,
}

/// Measures.
///
/// # Errors
/// When control does not start or refuses, or a bar is missed.
pub fn run(options: &Options) -> Result<()> {
    let shape = Shape::control_alone();
    let measured = options
        .programs
        .within((1, &shape), async |cluster| measure(options, cluster).await);
    measured?.publish(&options.place)
}

fn about(options: &Options) -> String {
    format!(
        "{} callers mint one session a call for {} s, then {} batches of 1,000, at one control with its PostgreSQL, \
         `fsync` on, all on this machine.",
        options.callers, options.seconds, options.batches
    )
}

async fn measure(options: &Options, cluster: &Cluster) -> Result<Outcome> {
    let owner = cluster.tenant(0)?.owner();
    let process = cluster.control(0)?.process()?;
    say(&format!("minting for {} s", options.seconds));
    let before = process.cpu()?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let mut minting = JoinSet::new();
    for _ in 0..options.callers {
        minting.spawn(mint(Kept::connect(owner).await?, end));
    }
    let (mut minted, mut singles) = (0_u64, Spread::new()?);
    while let Some(taken) = minting.join_next().await {
        for took in taken?? {
            minted = minted.saturating_add(1);
            singles.add(took);
        }
    }
    let rate = minted as f64 / begun.elapsed().as_secs_f64();
    let spent = process.cpu()?.saturating_sub(before);
    let an_each = spent.as_secs_f64() * 1e6 / minted.max(1) as f64;
    say("minting batches");
    let batches = batches(options.batches, owner).await?;
    let (sessions, bar) = BATCH;
    let in_batches = sessions as f64 * 1e3 / batches.at(50.0);
    let mut outcome = Outcome::new("mint", &about(options));
    outcome.figures = vec![
        Figure::new("sessions a second, one a call", rate, "").at_least(BAR),
        Figure::new(
            "a batch of 1,000 sessions, slowest",
            batches.at(100.0),
            "ms",
        )
        .at_most(bar),
        Figure::new("sessions a second, in batches", in_batches, ""),
        Figure::new("control's CPU a session, one a call", an_each, "µs"),
    ];
    let mut table = Spread::table();
    table.rows.push(singles.row("one session a call"));
    table.rows.push(batches.row("a batch of 1,000"));
    outcome.tables.push(table);
    Ok(outcome)
}

/// Mints until the end; answers how long each call took.
async fn mint(mut caller: Kept, end: Instant) -> Result<Vec<Duration>> {
    let wanted = json!({"agent": "agent", "vaults": ["main"]}).to_string();
    let mut taken = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        let _minted = caller
            .call(Method::POST, "/v1/tenants/-/sessions", wanted.clone())
            .await?;
        taken.push(begun.elapsed());
    }
    Ok(taken)
}

async fn batches(count: usize, owner: &Api) -> Result<Spread> {
    let mut caller = Kept::connect(owner).await?;
    let one = json!({"agent": "agent", "vaults": ["main"]});
    let wanted = json!({"sessions": vec![one; BATCH.0]}).to_string();
    let mut taken = Spread::new()?;
    for _ in 0..count {
        let begun = Instant::now();
        let answer = caller
            .call(
                Method::POST,
                "/v1/tenants/-/sessions:batchMint",
                wanted.clone(),
            )
            .await?;
        taken.add(begun.elapsed());
        let answer: Value = serde_json::from_slice(&answer)?;
        let sessions = answer.get("sessions").and_then(Value::as_array);
        ensure!(
            sessions.is_some_and(|sessions| sessions.len() == BATCH.0),
            "a batch was not minted whole"
        );
    }
    Ok(taken)
}
