//! Many gateways at once, as control sees them: each enrols, follows its stream over mutual TLS, subscribes to vaults
//! with sessions' tokens, beats and acknowledges. None serves agents, so that a thousand fit into one process.
//!
//! What is measured, on one clock: how long a revocation takes until each node has it and until control knows that all
//! have; a change, from the call to its vault's nodes; and a restart of control, until every node has all of its state
//! again. What the nodes do on the stream is what a gateway's follow service does.

pub mod board;
pub mod enrol;
pub mod node;
pub mod spread;
mod steps;
pub mod vaults;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::board::Board;
use self::node::Node;
use self::steps::Steps;
use self::vaults::Vaults;
use crate::bench::report::say;
use crate::cluster::{Cluster, Control, Programs, Shape};
use crate::report::{Figure, Outcome, Place, Table, short};

/// How long all nodes may take until they have all of their state.
const SYNC: Duration = Duration::from_secs(1_200);

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// How many gateways follow.
    #[arg(long, default_value_t = 1000)]
    gateways: usize,
    /// How many controls they follow, in turn.
    #[arg(long, default_value_t = 1)]
    controls: usize,
    /// How many vaults there are, beside one that all gateways hold.
    #[arg(long, default_value_t = 0)]
    vaults: usize,
    /// How many gateways hold each of them.
    #[arg(long, default_value_t = 2)]
    copies: usize,
    /// How many sessions are revoked, one after another.
    #[arg(long, default_value_t = 50)]
    revocations: usize,
    /// How many credentials are changed, one after another.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// How often control is stopped and started.
    #[arg(long, default_value_t = 1)]
    restarts: usize,
    /// Threads that the nodes run on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What results are called.
    #[arg(long, default_value = "fleet")]
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Measures.
///
/// # Errors
/// When something does not start, a step fails, or a bar is missed.
pub fn run(options: &Options) -> Result<()> {
    let shape = Shape {
        controls: options.controls,
        gateways: 0,
        ..Shape::default()
    };
    let measured = options
        .programs
        .within((options.threads, &shape), async |cluster| {
            Box::pin(measure(options, cluster)).await
        });
    measured?.publish(&options.place)
}

async fn measure(options: &Options, cluster: &mut Cluster) -> Result<Outcome> {
    let mut outcome = Outcome::new(
        &options.name,
        "Simulated gateways on real controls: enrolled, over mutual TLS, each with its own stream.",
    );
    let empty = cluster.control(0)?.process()?.own_resident()?;
    let started = Instant::now();
    let vaults = Box::pin(Vaults::make(cluster, options.vaults)).await?;
    let making = started.elapsed();
    let started = Instant::now();
    let nodes = Box::pin(nodes(options, cluster, &vaults)).await?;
    let enrolling = started.elapsed();
    let held = nodes.iter().map(Node::vaults).sum::<usize>();

    let board = Arc::new(Board::new(nodes.len()));
    let mut streams = JoinSet::new();
    let started = Instant::now();
    for node in nodes {
        streams.spawn(Box::pin(node.follow(Arc::clone(&board))));
    }
    let synced = board.all_synced(started, SYNC).await?;
    say(&format!("all synced after {:.1} s", synced.as_secs_f64()));
    let resident = cluster.control(0)?.process()?.own_resident()?;
    let broken = board.broken();
    let steps = Steps {
        board: &board,
        vaults: &vaults,
        copies: options.copies.min(options.gateways),
    };
    Box::pin(steps.all(options, cluster, &mut outcome)).await?;
    streams.shutdown().await;
    let seconds = |time: Duration| time.as_secs_f64();
    let size = [
        ("gateways", options.gateways as f64),
        ("vaults", options.vaults as f64),
        ("vaults that gateways hold, counted at each", held as f64),
        ("making vaults, s", seconds(making)),
        ("minting and enrolling, s", seconds(enrolling)),
        ("first sync, s", seconds(synced)),
        ("control's resident memory at first, MiB", mebi(empty)),
        (
            "control's resident memory when all are synced, MiB",
            mebi(resident),
        ),
        (
            "control's resident memory at its highest, MiB",
            mebi(peak(cluster)?),
        ),
        ("streams that broke until then", broken as f64),
        (
            "streams that broke or did not begin, later, control's restarts included",
            board.broken().saturating_sub(broken) as f64,
        ),
        ("subscriptions that were refused", board.refused() as f64),
    ];
    sum_up(options, &size, mebi(peak(cluster)?), &mut outcome);
    Ok(outcome)
}

/// How large it was, and what that took.
fn sum_up(options: &Options, size: &[(&str, f64)], peak: f64, outcome: &mut Outcome) {
    let mut table = Table::new(&["what", "value"]);
    let rows = size.iter();
    let rows = rows.map(|(what, value)| vec![(*what).to_owned(), short(*value)]);
    table.rows.extend(rows);
    outcome.tables.insert(0, table);
    let title = format!(
        "control's memory at its highest, {} vaults, {} gateways",
        options.vaults, options.gateways
    );
    let memory = Figure::new(title, peak / 1024.0, "GiB").at_most(4.0);
    outcome.figures.push(memory);
    outcome.details = json!(size.iter().copied().collect::<BTreeMap<_, _>>());
}

/// The most memory that a control had.
fn peak(cluster: &Cluster) -> Result<u64> {
    let peaks = cluster.controls().iter().map(Control::peak);
    let peaks: Vec<_> = peaks.collect::<Result<_>>()?;
    Ok(peaks.into_iter().max().unwrap_or_default())
}

fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Enrols all nodes and gives each its vaults.
async fn nodes(options: &Options, cluster: &Cluster, vaults: &Vaults) -> Result<Vec<Node>> {
    let tenant = cluster.tenant(0)?;
    let mut held = vaults
        .hand_out(tenant, (options.gateways, options.copies))
        .await?;
    say(&format!("enrolling {} gateways", options.gateways));
    let identities = enrol::many(cluster.controls(), options.gateways).await?;
    let nodes = identities.into_iter().enumerate().map(|(index, identity)| {
        let held = held.get_mut(index).context("no vaults for a node")?;
        Ok(Node::new(index, identity, std::mem::take(held)))
    });
    nodes.collect()
}
