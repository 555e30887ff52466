//! What connections that do nothing cost a gateway, and whether they are still good afterwards.
//!
//! Resident memory is read from `/proc` before any load, after a few connections have been opened and closed, and again
//! at each count. Connections are held by processes of their own, one for each gateway: the limit on open files is one
//! of a process. The line through the counts is drawn out to a hundred thousand.

pub mod holder;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use self::holder::Holder;
use crate::bench::report::say;
use crate::cluster::{Cluster, Programs, Shape};
use crate::hold::Holding;
use crate::report::plot::{Curve, Plot};
use crate::report::{Figure, Outcome, Place, Table, short};

/// How long an idle process may tidy up before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);
/// Connections that are opened and closed first, so that one-time allocations are not counted.
const WARM: usize = 100;
/// Where the line is drawn to.
const FAR: f64 = 100_000.0;
/// What lets this many connections be, and be idle.
const LIMITS: &str = "[limits]\nconnections_max = 1000000\nconnections_per_source_max = 1000000\n\
    idle_seconds = 3600\nrequests_per_vault_max = 1000000\n";

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// How connections do nothing; may be given several times.
    #[arg(long = "kind", value_enum, default_value = "idle1")]
    kinds: Vec<Holding>,
    /// Connections of each gateway, one count after another.
    #[arg(long, value_delimiter = ',', default_value = "2000,4000,8000")]
    counts: Vec<usize>,
    /// Gateways, each with so many.
    #[arg(long, default_value_t = 1)]
    gateways: usize,
    /// What results are called.
    #[arg(long, default_value = "memory")]
    name: String,
    #[command(flatten)]
    place: Place,
}

/// A reading.
#[derive(Debug, Clone, Copy)]
struct Reading {
    connections: usize,
    bytes: u64,
}

/// The readings of one way of doing nothing.
#[derive(Debug)]
struct Line {
    how: Holding,
    before: u64,
    readings: Vec<Reading>,
    /// How many were looked at in the end, and how many were still good: idle ones answered, others were still held.
    checked: (usize, usize),
}

impl Line {
    /// KiB a connection, at the last count.
    fn each(&self) -> f64 {
        let last = self.readings.last();
        last.map_or(f64::NAN, |last| self.each_of(*last))
    }

    fn each_of(&self, reading: Reading) -> f64 {
        let grown = reading.bytes.saturating_sub(self.before) as f64;
        grown / reading.connections.max(1) as f64 / 1024.0
    }
}

impl Holding {
    /// The most KiB that one may cost a gateway.
    const fn bar(self) -> f64 {
        match self {
            Self::Idle1 => 18.0,
            Self::Idle2 => 36.0,
            Self::Waiting => 64.0,
            Self::Upload => 128.0,
            Self::Download => 288.0,
        }
    }

    const fn is_idle(self) -> bool {
        matches!(self, Self::Idle1 | Self::Idle2)
    }
}

/// Measures.
///
/// # Errors
/// When something does not start, a connection cannot be held, or a bar is missed.
pub fn run(options: &Options) -> Result<()> {
    let measured = options.programs.run(1, measure(options));
    outcome(options, &measured?).publish(&options.place)
}

async fn measure(options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for how in &options.kinds {
        // A cluster of its own for each: memory that was used once is not all given back.
        let shape = Shape {
            gateways: options.gateways,
            upstream_workers: 2,
            gateway_config: LIMITS.to_owned(),
            ..Shape::default()
        };
        let line = Cluster::within(&options.programs, &shape, async |cluster| {
            line(options, *how, cluster).await
        });
        lines.push(line.await?);
    }
    Ok(lines)
}

async fn line(options: &Options, how: Holding, cluster: &Cluster) -> Result<Line> {
    let most = options.counts.iter().max().copied().context("no count")?;
    let mut holders = Vec::new();
    for gateway in 0..options.gateways {
        holders.push(Holder::start(cluster, gateway, (how, most)).await?);
    }
    for holder in &mut holders {
        holder.hold(WARM).await?;
        holder.let_go().await?;
    }
    let before = settled(cluster).await?;
    let mut readings = Vec::new();
    for count in &options.counts {
        say(&format!(
            "{}: {count} at each of {} gateways",
            how.title(),
            options.gateways
        ));
        for holder in &mut holders {
            holder.hold(*count).await?;
        }
        readings.push(Reading {
            connections: count * options.gateways,
            bytes: settled(cluster).await?,
        });
    }
    let mut checked = (0, 0);
    for holder in &mut holders {
        checked.0 += most;
        checked.1 += holder.check().await?;
    }
    for holder in holders {
        holder.end().await;
    }
    Ok(Line {
        how,
        before,
        readings,
        checked,
    })
}

/// The resident memory of all gateways.
async fn settled(cluster: &Cluster) -> Result<u64> {
    tokio::time::sleep(SETTLE).await;
    let each = cluster.gateways().iter();
    each.map(|gateway| gateway.process()?.resident()).sum()
}

fn outcome(options: &Options, lines: &[Line]) -> Outcome {
    let about = "What connections that do nothing cost a gateway in resident memory.";
    let mut outcome = Outcome::new(&options.name, about);
    let mut table = Table::new(&[
        "connections",
        "gateways",
        "how many",
        "resident MiB",
        "KiB each",
    ]);
    for line in lines {
        for reading in &line.readings {
            table.rows.push(vec![
                line.how.title().to_owned(),
                options.gateways.to_string(),
                reading.connections.to_string(),
                (reading.bytes >> 20).to_string(),
                short(line.each_of(*reading)),
            ]);
        }
        let most = line.readings.last().map_or(0, |last| last.connections);
        let title = format!(
            "memory, {}, at {most} over {} gateways",
            line.how.title(),
            options.gateways
        );
        outcome
            .figures
            .push(Figure::new(title, line.each(), "KiB").at_most(line.how.bar()));
        let (all, good) = line.checked;
        let end = if line.how.is_idle() {
            "that answered at the end"
        } else {
            "still held at the end"
        };
        let title = format!("{} {end}, of {all}", line.how.title());
        let good = Figure::new(title, good as f64, "");
        outcome.figures.push(good.at_least(all as f64));
    }
    outcome.tables = vec![table];
    outcome.plots = vec![plot(lines)];
    let details = lines.iter().map(|line| {
        let readings = line
            .readings
            .iter()
            .map(|reading| (reading.connections, reading.bytes));
        json!({"kind": line.how, "before": line.before, "readings": readings.collect::<Vec<_>>(),
            "kib_each": line.each(), "checked": line.checked})
    });
    outcome.details = details.collect();
    outcome
}

fn plot(lines: &[Line]) -> Plot {
    let mut curves = Vec::new();
    for line in lines {
        let mebi = |bytes: f64| bytes / f64::from(1 << 20);
        let measured = line.readings.iter().map(|reading| {
            let grown = reading.bytes.saturating_sub(line.before);
            (reading.connections as f64, mebi(grown as f64))
        });
        let measured: Vec<_> = std::iter::once((0.0, 0.0)).chain(measured).collect();
        let last = measured.last().copied().unwrap_or_default();
        curves.push(Curve {
            title: line.how.title().to_owned(),
            points: measured,
            dashed: false,
        });
        curves.push(Curve {
            title: "… drawn out".to_owned(),
            points: vec![last, (FAR, mebi(line.each() * 1024.0 * FAR))],
            dashed: true,
        });
    }
    Plot {
        name: "line".to_owned(),
        title: "Resident memory of the gateways".to_owned(),
        x: "connections".to_owned(),
        y: "MiB more than without any".to_owned(),
        ticks: Vec::new(),
        curves,
    }
}
