//! What was measured, as a table for people and JSON for programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::process::Command;

use super::oha::Scenario;
use crate::report::Figure;

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

/// What idle tunnels cost a gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Which gateway.
    pub proxy: String,
    /// How many tunnels.
    pub tunnels: usize,
    /// Resident memory, by tunnel.
    pub bytes_per_tunnel: u64,
    /// Resident memory before.
    pub before: u64,
    /// Resident memory with all of them open.
    pub after: u64,
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    commit: String,
    processor: String,
    processors: usize,
    kernel: String,
    oha: String,
    nginx: String,
}

/// A row of the table: the median over the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    scenario: Scenario,
    proxy: String,
    requests_per_second: f64,
    cpu_us_per_request: f64,
    /// CPU a request relative to NGINX in the same round.
    cpu_ratio: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    name: String,
    machine: Machine,
    figures: Vec<Figure>,
    body_bytes: u32,
    rows: Vec<Row>,
    memory: Vec<Memory>,
    samples: Vec<Sample>,
}

/// The most CPU that a request may cost relative to NGINX.
const fn bar(scenario: Scenario) -> f64 {
    match scenario {
        Scenario::KeepAlive1 => 1.8,
        Scenario::KeepAlive2 => 1.25,
        Scenario::NewTunnel => 1.3,
    }
}

/// The figures that count: of the build that ships, which is the last gateway, beside the peers.
fn figures(rows: &[Row], memory: &[Memory]) -> Vec<Figure> {
    let ours = rows.iter().rfind(|row| row.proxy.starts_with("sortie"));
    let Some(ours) = ours.map(|row| &row.proxy) else {
        return Vec::new();
    };
    let mut figures = Vec::new();
    for row in rows.iter().filter(|row| row.proxy == *ours) {
        let title =
            |peer: &str| format!("CPU a request, {}, {ours} / {peer}", row.scenario.title());
        let beside = Figure::new(title("nginx"), row.cpu_ratio, "×");
        figures.push(beside.at_most(bar(row.scenario)));
        for (peer, most) in [("envoy", 1.0), ("squid", 1.0 / 1.5)] {
            let other = rows
                .iter()
                .find(|other| other.proxy == peer && other.scenario == row.scenario);
            // Of new tunnels only NGINX's handshake is the bar: what Envoy and Squid do there is for the table.
            let Some(other) = other.filter(|_| row.scenario != Scenario::NewTunnel) else {
                continue;
            };
            let ratio = row.cpu_ratio / other.cpu_ratio;
            figures.push(Figure::new(title(peer), ratio, "×").at_most(most));
        }
    }
    for memory in memory.iter().filter(|memory| memory.proxy == *ours) {
        let title = format!(
            "memory, idle HTTP/1.1 tunnel, {ours}, at {}",
            memory.tunnels
        );
        let each = memory.bytes_per_tunnel as f64 / 1024.0;
        figures.push(Figure::new(title, each, "KiB").at_most(18.0));
    }
    figures
}

impl Report {
    /// Sums up.
    ///
    /// # Errors
    /// When nothing was measured.
    pub async fn new(
        samples: Vec<Sample>,
        memory: Vec<Memory>,
        oha: &Path,
        nginx: &Path,
    ) -> Result<Self> {
        let machine = Machine {
            commit: first_line(Path::new("git"), &["rev-parse", "--short=12", "HEAD"]).await,
            processor: proc_line("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism()?.get(),
            kernel: first_line(Path::new("uname"), &["-sr"]).await,
            oha: first_line(oha, &["--version"]).await,
            nginx: first_line(nginx, &["-v"]).await,
        };
        let rows = rows(&samples);
        Ok(Self {
            name: "bench".to_owned(),
            machine,
            figures: figures(&rows, &memory),
            body_bytes: 1024,
            rows,
            memory,
            samples,
        })
    }

    /// Prints the table.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn print(&self) -> Result<()> {
        Ok(std::io::stdout().write_all(self.markdown().as_bytes())?)
    }

    /// Writes `LABEL.json` and `LABEL.md`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&mut self, folder: &Path, label: &str) -> Result<()> {
        label.clone_into(&mut self.name);
        std::fs::create_dir_all(folder)?;
        let base = folder.join(label);
        std::fs::write(
            base.with_extension("json"),
            serde_json::to_string_pretty(self)?,
        )
        .with_context(|| format!("cannot write to {}", folder.display()))?;
        std::fs::write(base.with_extension("md"), self.markdown())?;
        say(&format!("written: {}.md and .json", base.display()));
        Ok(())
    }

    fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "Commit {}, {} × {}, {}, {}, {}. TLS on both sides, bodies of {} bytes, one worker, medians of the rounds.\n\n\
             | scenario | proxy | requests/s | CPU µs/request | × NGINX | p50 ms | p99 ms |\n|---|---|---:|---:|---:|---:|---:|\n",
            machine.commit,
            machine.processors,
            machine.processor,
            machine.kernel,
            machine.oha,
            machine.nginx,
            self.body_bytes
        );
        for row in &self.rows {
            // Writing to a `String` does not fail.
            let _written = writeln!(
                text,
                "| {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} |",
                row.scenario.title(),
                row.proxy,
                row.requests_per_second,
                row.cpu_us_per_request,
                row.cpu_ratio,
                row.p50_ms,
                row.p99_ms
            );
        }
        for memory in &self.memory {
            let _written = write!(
                text,
                "\n{}: {:.1} KiB an idle HTTP/1.1 tunnel, at {} tunnels ({} → {} MiB resident).\n",
                memory.proxy,
                memory.bytes_per_tunnel as f64 / 1024.0,
                memory.tunnels,
                memory.before >> 20,
                memory.after >> 20
            );
        }
        text
    }
}

fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples {
        if !names.contains(&sample.proxy.as_str()) {
            names.push(&sample.proxy);
        }
    }
    let each = Scenario::ALL
        .into_iter()
        .flat_map(|scenario| names.iter().map(move |name| (scenario, *name)));
    each.map(|(scenario, name)| row(samples, scenario, name))
        // Not every proxy can be driven in every way.
        .filter(|row| row.requests_per_second.is_finite())
        .collect()
}

fn row(samples: &[Sample], scenario: Scenario, name: &str) -> Row {
    let of = |proxy: &'static str| {
        move |sample: &&Sample| sample.proxy == proxy && sample.scenario == scenario
    };
    let own: Vec<_> = samples
        .iter()
        .filter(|sample| sample.proxy == name && sample.scenario == scenario)
        .collect();
    let nginx: Vec<_> = samples.iter().filter(of("nginx")).collect();
    let ratio = |sample: &&Sample| {
        let beside = nginx.iter().find(|nginx| nginx.round == sample.round)?;
        Some(sample.cpu_us_per_request / beside.cpu_us_per_request)
    };
    let of = |read: fn(&Sample) -> f64| median(own.iter().map(|sample| read(sample)).collect());
    Row {
        scenario,
        proxy: name.to_owned(),
        requests_per_second: of(|sample| sample.requests_per_second),
        cpu_us_per_request: of(|sample| sample.cpu_us_per_request),
        cpu_ratio: median(own.iter().filter_map(ratio).collect()),
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

fn proc_line(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(": "))
        .map_or("unknown", |(_, value)| value)
        .to_owned()
}

#[cfg(test)]
mod tests;
