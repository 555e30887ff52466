//! How requests a second grow with a gateway's worker threads.
//!
//! The same load from outside, from oha with two threads to an upstream with two, through a gateway with one worker, then
//! two, and so on. New tunnels are of one session. On a machine where the driver, the upstream and the gateway share all
//! processors, the sum is bounded by these: what a request costs stands beside it, and that is to stay what it is.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::bench::oha::{Load, Scenario, Way};
use crate::bench::report::say;
use crate::cluster::{Cluster, Programs, Shape};
use crate::report::plot::{Curve, Plot};
use crate::report::{Figure, Outcome, Place, Table, short};

/// Threads of the load generator, and of the upstream: neither is to be what holds two workers back.
const THREADS: usize = 2;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// The load generator: `cargo install oha --locked`.
    #[arg(long, default_value = "oha")]
    oha: PathBuf,
    /// Numbers of worker threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    counts: Vec<usize>,
    /// Seconds of each run.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    #[command(flatten)]
    place: Place,
}

/// A run.
#[derive(Debug)]
struct Run {
    scenario: Scenario,
    workers: usize,
    per_second: f64,
    cpu_micros: f64,
}

/// Measures.
///
/// # Errors
/// When something does not start, or answers wrongly.
pub fn run(options: &Options) -> Result<()> {
    let measured = options.programs.run(1, measure(options));
    outcome(&measured?).publish(&options.place)
}

async fn measure(options: &Options) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for workers in &options.counts {
        let shape = Shape {
            workers: *workers,
            upstream_workers: THREADS,
            ..Shape::default()
        };
        let done = Cluster::within(&options.programs, &shape, async |cluster| {
            with(options, *workers, cluster).await
        });
        runs.extend(done.await?);
    }
    Ok(runs)
}

async fn with(options: &Options, workers: usize, cluster: &Cluster) -> Result<Vec<Run>> {
    let sessions = cluster.tenant(0)?.mint(1).await?;
    let session = sessions.first().context("no session")?;
    let gateway = cluster.gateway(0)?;
    let mut runs = Vec::new();
    for scenario in Scenario::ALL {
        let load = Load {
            oha: &options.oha,
            scenario,
            seconds: options.seconds,
            threads: THREADS,
            port: cluster.upstream().port(),
            way: Way::Forward {
                address: gateway.proxy(),
                root: cluster.tenant(0)?.root(),
                token: Some(session.token()),
            },
        };
        let before = gateway.process()?.cpu()?;
        let outcome = load.run().await?;
        let spent = gateway.process()?.cpu()?.saturating_sub(before);
        let run = Run {
            scenario,
            workers,
            per_second: outcome.requests_per_second,
            cpu_micros: spent.as_secs_f64() * 1e6 / outcome.requests as f64,
        };
        say(&format!(
            "{workers} workers, {}: {:.0} requests/s, {:.1} µs CPU a request",
            scenario.title(),
            run.per_second,
            run.cpu_micros
        ));
        runs.push(run);
    }
    Ok(runs)
}

fn outcome(runs: &[Run]) -> Outcome {
    let about = "Requests a second by worker threads of one gateway; the driver and the upstream have two each.";
    let mut outcome = Outcome::new("workers", about);
    let mut table = Table::new(&[
        "scenario",
        "workers",
        "requests/s",
        "× one",
        "CPU µs a request",
    ]);
    let mut curves = Vec::new();
    for scenario in Scenario::ALL {
        let of: Vec<_> = runs.iter().filter(|run| run.scenario == scenario).collect();
        let first = of.first().map_or(f64::NAN, |run| run.per_second);
        for run in &of {
            let times = run.per_second / first;
            table.rows.push(vec![
                scenario.title().to_owned(),
                run.workers.to_string(),
                short(run.per_second),
                short(times),
                short(run.cpu_micros),
            ]);
        }
        if let Some(last) = of.last() {
            let title = format!("requests/s, {}, {} workers", scenario.title(), last.workers);
            let times = Figure::new(title, last.per_second / first, "×");
            outcome.figures.push(times);
        }
        curves.push(Curve {
            title: scenario.title().to_owned(),
            points: of
                .iter()
                .map(|run| (run.workers as f64, run.per_second))
                .collect(),
            dashed: false,
        });
    }
    outcome.tables = vec![table];
    outcome.plots = vec![Plot {
        name: "line".to_owned(),
        title: "Requests a second by worker threads".to_owned(),
        x: "workers".to_owned(),
        y: "requests/s".to_owned(),
        ticks: Vec::new(),
        curves,
    }];
    let details = runs.iter().map(|run| {
        json!({"scenario": run.scenario, "workers": run.workers, "per_second": run.per_second,
            "cpu_us": run.cpu_micros})
    });
    outcome.details = details.collect();
    outcome
}
