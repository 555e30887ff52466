//! The benchmark: the cluster beside NGINX, on one machine, in alternating runs.
//!
//! NGINX is a plain TLS-to-TLS reverse proxy with one worker: the least that any broker must do. The gateway has
//! everything on: tokens, matching, injection, redaction, journal. Envoy does what NGINX does; Squid with `ssl_bump` does
//! the gateway's own job. What counts is the ratio within a round, since a
//! shared machine drifts; CPU is the operating system's account of the proxy's own processes.

pub mod cluster;
pub mod nginx;
pub mod envoy;
pub mod squid;
pub mod oha;
pub mod process;
pub mod report;
pub mod rest;
pub mod stand;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::oha::{Load, Scenario};
use self::process::Process;
use self::report::{Memory, Report, Sample, say};
use self::stand::{Proxy, Stand};
use crate::client;
use crate::tunnels;
use crate::until_interrupted;

/// How long an idle process may tidy up before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);
/// Tunnels that are opened and closed before the first reading, so that one-time allocations are not counted.
const WARM_TUNNELS: usize = 50;

/// Where the programs are.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// The control plane's program.
    #[arg(long, default_value = "target/release/sortie-control")]
    pub control: PathBuf,
    /// The load generator: `cargo install oha --locked`.
    #[arg(long, default_value = "oha")]
    pub oha: PathBuf,
    /// Seconds of each run.
    #[arg(long, default_value_t = 8)]
    pub seconds: u64,
    /// Lines of TOML that are added to each gateway's configuration, e.g. higher limits.
    #[arg(long)]
    pub gateway_config: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// A build of the gateway, as NAME=PATH; may be given several times.
    #[arg(long = "gateway", value_parser = named, default_value = "release=target/release/sortie-gateway")]
    gateways: Vec<(String, PathBuf)>,
    /// The reverse proxy to compare with.
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// Envoy, to compare with.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Squid with OpenSSL, to compare with.
    #[arg(long)]
    squid: Option<PathBuf>,
    /// Rounds; each drives every proxy once in every scenario.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Idle tunnels of the memory measurement; 0 leaves it out.
    #[arg(long, default_value_t = 5000)]
    tunnels: usize,
    /// Folder for the results.
    #[arg(long, default_value = "loadtest/results")]
    results: PathBuf,
    /// What the results' files are called.
    #[arg(long, default_value = "latest", overrides_with = "label")]
    label: String,
}

/// What trains a profile-guided build.
#[derive(Debug, Clone, clap::Args)]
pub struct Training {
    #[command(flatten)]
    programs: Programs,
    /// The instrumented gateway.
    #[arg(long)]
    gateway: PathBuf,
}

fn named(text: &str) -> std::result::Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// Runs the benchmark and writes its results.
///
/// # Errors
/// When a program is missing, does not start, or answers wrongly.
pub fn run(options: &Options) -> Result<()> {
    block_on(async {
        let mut stand = Stand::start(&options.programs, &options.gateways).await?;
        let done = until_interrupted(measure(options, &mut stand)).await;
        stand.stop().await;
        let mut report = done?;
        report.print()?;
        report.write(&options.results, &options.label)
    })
}

/// Drives an instrumented gateway through every scenario, then ends it in good order so that it writes its profile.
///
/// # Errors
/// When a program is missing, does not start, or answers wrongly.
pub fn train(training: &Training) -> Result<()> {
    block_on(async {
        let gateway = [("training".to_owned(), training.gateway.clone())];
        let stand = Stand::start(&training.programs, &gateway).await?;
        let done = until_interrupted(async {
            for scenario in Scenario::ALL {
                for proxy in stand.gateways() {
                    say(&format!("training: {}", scenario.title()));
                    load(&training.programs, scenario, proxy, &stand)
                        .run()
                        .await?;
                }
            }
            Ok(())
        })
        .await;
        stand.stop().await;
        done
    })
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn measure(options: &Options, stand: &mut Stand) -> Result<Report> {
    // Memory first: a process that has carried load keeps some of what it used.
    let mut memory = Vec::new();
    for proxy in stand.gateways() {
        if options.tunnels > 0 {
            memory.push(memory_of(proxy, stand, options.tunnels).await?);
        }
    }
    stand.add_nginx(&options.nginx).await?;
    if let Some(envoy) = &options.envoy {
        stand.add_envoy(envoy).await?;
    }
    if let Some(squid) = &options.squid {
        stand.add_squid(squid).await?;
    }
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        for scenario in Scenario::ALL {
            let all = stand.proxies().iter();
            for proxy in all.filter(|proxy| proxy.speaks(scenario)) {
                let sample = sample(options, scenario, round, (proxy, stand)).await?;
                say(&sample.line());
                samples.push(sample);
            }
        }
    }
    Report::new(samples, memory, &options.programs.oha, &options.nginx).await
}

fn load<'a>(
    programs: &'a Programs,
    scenario: Scenario,
    proxy: &'a Proxy,
    stand: &'a Stand,
) -> Load<'a> {
    Load {
        oha: &programs.oha,
        scenario,
        seconds: programs.seconds,
        port: stand.upstream_port(),
        way: proxy.way(),
    }
}

async fn sample(
    options: &Options,
    scenario: Scenario,
    round: usize,
    (proxy, stand): (&Proxy, &Stand),
) -> Result<Sample> {
    let load = load(&options.programs, scenario, proxy, stand);
    let before = proxy.process().cpu()?;
    let outcome = load
        .run()
        .await
        .with_context(|| format!("{} of {}", scenario.title(), proxy.name()))?;
    let spent = proxy.process().cpu()?.saturating_sub(before);
    Ok(Sample {
        proxy: proxy.name().to_owned(),
        scenario,
        round,
        requests: outcome.requests,
        requests_per_second: outcome.requests_per_second,
        cpu_us_per_request: micros(spent) / outcome.requests.max(1) as f64,
        p50_ms: outcome.p50_ms,
        p99_ms: outcome.p99_ms,
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

async fn memory_of(proxy: &Proxy, stand: &Stand, count: usize) -> Result<Memory> {
    let plan = tunnels::Plan {
        proxy: proxy.address(),
        authority: stand.authority(),
        tokens: stand.tokens().to_vec(),
        tls: client::trusting(proxy.root(), &["http/1.1"])?,
    };
    drop(tunnels::open(&plan, WARM_TUNNELS).await?);
    let before = settled(proxy.process()).await?;
    say(&format!("memory: {count} tunnels through {}", proxy.name()));
    let open = tunnels::open(&plan, count).await?;
    let after = settled(proxy.process()).await?;
    drop(open);
    let bytes = after.saturating_sub(before) / u64::try_from(count)?.max(1);
    Ok(Memory {
        proxy: proxy.name().to_owned(),
        tunnels: count,
        bytes_per_tunnel: bytes,
        before,
        after,
    })
}

async fn settled(process: &Process) -> Result<u64> {
    tokio::time::sleep(SETTLE).await;
    process.resident()
}
