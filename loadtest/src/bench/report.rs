//! What was measured, as a table for people and JSON for programs.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tokio::process::Command;

use super::oha::Scenario;
use crate::report::plot::{Curve, Plot};
use crate::report::{Figure, Outcome, Table};

/// Says how far things are, on standard error.
pub fn say(line: &str) {
    // Nobody is left to be told when standard error is closed.
    let _told = writeln!(std::io::stderr(), "{line}");
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// What was driven.
    pub proxy: String,
    /// How.
    pub scenario: Scenario,
    /// From 1.
    pub round: usize,
    /// Requests that were answered.
    pub requests: u64,
    /// Throughput.
    pub requests_per_second: f64,
    /// User and system time of the proxy's processes, by request.
    pub cpu_us_per_request: f64,
    /// The median latency at full load.
    pub p50_ms: f64,
    /// The latency that one in a hundred exceeds.
    pub p99_ms: f64,
}

impl Sample {
    /// One line about it.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "round {} · {:<20} · {:<18} {:>8.0} requests/s {:>7.1} µs CPU a request",
            self.round,
            self.scenario.title(),
            self.proxy,
            self.requests_per_second,
            self.cpu_us_per_request
        )
    }
}

/// Which peers were asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Envoy.
    pub envoy: bool,
    /// Squid.
    pub squid: bool,
}

/// A row of the table: the median over the rounds.
#[derive(Debug, Clone, Serialize)]
struct Row {
    scenario: Scenario,
    proxy: String,
    requests_per_second: f64,
    cpu_us_per_request: f64,
    /// CPU a request relative to NGINX in the same round.
    cpu_ratio: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// The build that ships, and that bars are of.
const SHIPPED: &str = "sortie (pgo)";

/// The most CPU that a request may cost relative to a peer, if it is compared with that.
const fn bar(scenario: Scenario, peer: Peer) -> Option<f64> {
    match (scenario, peer) {
        (Scenario::KeepAlive1, Peer::Nginx) => Some(1.8),
        (Scenario::KeepAlive2, Peer::Nginx) => Some(1.25),
        (Scenario::NewTunnel, Peer::Nginx) => Some(1.3),
        (Scenario::KeepAlive1 | Scenario::KeepAlive2, Peer::Envoy) => Some(1.0),
        (Scenario::KeepAlive1, Peer::Squid) => Some(1.0 / 1.5),
        // Of cold tunnels only NGINX's handshake is the bar; Squid speaks no HTTP/2.
        (Scenario::NewTunnel, Peer::Envoy | Peer::Squid) | (Scenario::KeepAlive2, Peer::Squid) => {
            None
        }
    }
}

/// What a gateway is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Nginx,
    Envoy,
    Squid,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Nginx, Self::Envoy, Self::Squid];

    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Squid => "squid",
        }
    }

    const fn is(self, wanted: &Wanted) -> bool {
        match self {
            Self::Nginx => true,
            Self::Envoy => wanted.envoy,
            Self::Squid => wanted.squid,
        }
    }
}

/// The figures that count: of the last gateway, beside each peer in the same round. A peer that was asked for and is not
/// there gives a figure that is none, and does not hold.
fn figures(samples: &[Sample], wanted: &Wanted) -> Vec<Figure> {
    let ours = samples
        .iter()
        .rfind(|sample| sample.proxy.starts_with("sortie"));
    let Some(ours) = ours.map(|sample| sample.proxy.as_str()) else {
        return Vec::new();
    };
    let mut figures = Vec::new();
    for scenario in Scenario::ALL {
        for peer in Peer::ALL.into_iter().filter(|peer| peer.is(wanted)) {
            let Some(most) = bar(scenario, peer) else {
                continue;
            };
            let title = format!(
                "CPU a request, {}, {ours} / {}",
                scenario.title(),
                peer.name()
            );
            let ratio = ratio(samples, scenario, (ours, peer.name()));
            let figure = Figure::new(title, ratio, "×");
            figures.push(if ours == SHIPPED {
                figure.at_most(most)
            } else {
                figure
            });
        }
    }
    figures
}

/// What all runs came to.
#[must_use]
pub fn outcome(name: &str, samples: &[Sample], wanted: &Wanted) -> Outcome {
    let about = "The gateway beside other proxies on one machine: CPU a request, by the proxies' own processes. TLS on \
                 both sides, bodies of 1,024 bytes, one worker each, medians of alternating rounds.";
    let mut outcome = Outcome::new(name, about);
    outcome.figures = figures(samples, wanted);
    if outcome.figures.iter().all(|figure| !figure.has_bar()) {
        let note = "The bars are those of the profile-guided build, which was not measured.";
        outcome.notes.push(note.to_owned());
    }
    let mut table = Table::new(&[
        "scenario",
        "proxy",
        "requests/s",
        "CPU µs a request",
        "× NGINX",
        "p50 ms",
        "p99 ms",
    ]);
    let rows = rows(samples);
    table.rows.extend(rows.iter().map(|row| {
        vec![
            row.scenario.title().to_owned(),
            row.proxy.clone(),
            format!("{:.0}", row.requests_per_second),
            format!("{:.1}", row.cpu_us_per_request),
            format!("{:.2}", row.cpu_ratio),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
        ]
    }));
    outcome.tables.push(table);
    outcome.plots = Scenario::ALL.map(|scenario| plot(samples, scenario)).into();
    outcome.details = json!({"rows": rows, "samples": samples});
    outcome
}

/// How much a shared machine let the ratios drift.
fn plot(samples: &[Sample], scenario: Scenario) -> Plot {
    let curves = names(samples).into_iter().map(|name| {
        let of = samples
            .iter()
            .filter(|sample| sample.proxy == name && sample.scenario == scenario);
        Curve {
            title: name.to_owned(),
            points: of
                .map(|sample| (sample.round as f64, sample.cpu_us_per_request))
                .collect(),
            dashed: false,
        }
    });
    Plot {
        name: scenario.name().to_owned(),
        title: format!("{}: CPU a request, round by round", scenario.title()),
        x: "round".to_owned(),
        y: "µs".to_owned(),
        ticks: Vec::new(),
        curves: curves.filter(|curve| !curve.points.is_empty()).collect(),
    }
}

/// Of what the load generator and NGINX are.
pub async fn versions(oha: &Path, nginx: &Path) -> String {
    let (oha, nginx) = (
        first_line(oha, &["--version"]).await,
        first_line(nginx, &["-v"]).await,
    );
    format!("Driven by {oha}; cold tunnels by this crate's own client. Beside {nginx}.")
}

/// What was driven, in the order in which it was.
fn names(samples: &[Sample]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples {
        if !names.contains(&sample.proxy.as_str()) {
            names.push(&sample.proxy);
        }
    }
    names
}

fn rows(samples: &[Sample]) -> Vec<Row> {
    let names = names(samples);
    let each = Scenario::ALL
        .into_iter()
        .flat_map(|scenario| names.iter().map(move |name| (scenario, *name)));
    each.map(|(scenario, name)| row(samples, scenario, name))
        // Not every proxy can be driven in every way.
        .filter(|row| row.requests_per_second.is_finite())
        .collect()
}

/// CPU a request relative to another, within a round; the median over the rounds. Not a number, if there is none.
fn ratio(samples: &[Sample], scenario: Scenario, (own, beside): (&str, &str)) -> f64 {
    let of = |proxy: &str, round: Option<usize>| {
        let proxy = proxy.to_owned();
        samples.iter().filter(move |sample| {
            sample.proxy == proxy
                && sample.scenario == scenario
                && round.is_none_or(|round| sample.round == round)
        })
    };
    let ratios = of(own, None).filter_map(|sample| {
        let beside = of(beside, Some(sample.round)).next()?;
        Some(sample.cpu_us_per_request / beside.cpu_us_per_request)
    });
    median(ratios.collect())
}

fn row(samples: &[Sample], scenario: Scenario, name: &str) -> Row {
    let own: Vec<_> = samples
        .iter()
        .filter(|sample| sample.proxy == name && sample.scenario == scenario)
        .collect();
    let of = |read: fn(&Sample) -> f64| median(own.iter().map(|sample| read(sample)).collect());
    Row {
        scenario,
        proxy: name.to_owned(),
        requests_per_second: of(|sample| sample.requests_per_second),
        cpu_us_per_request: of(|sample| sample.cpu_us_per_request),
        cpu_ratio: ratio(samples, scenario, (name, "nginx")),
        p50_ms: of(|sample| sample.p50_ms),
        p99_ms: of(|sample| sample.p99_ms),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn first_line(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output().await else {
        return "unknown".to_owned();
    };
    // NGINX says its version on standard error.
    let said = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    String::from_utf8_lossy(&said)
        .lines()
        .next()
        .unwrap_or("unknown")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests;
