//! The benchmark: the cluster beside NGINX, on one machine, in alternating runs.
//!
//! NGINX is a plain TLS-to-TLS reverse proxy with one worker: the least that any broker must do. The gateway has
//! everything on: tokens, limits, matching, injection, redaction, journal. Envoy does what NGINX does; Squid with
//! `ssl_bump` does the gateway's own job. What counts is the ratio within a round, since a shared machine drifts; CPU is
//! the operating system's account of the proxy's own processes.

pub mod nginx;
pub mod envoy;
pub mod squid;
pub mod oha;
pub mod cold;
pub mod process;
pub mod report;
pub mod rest;
pub mod stand;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::cold::Cold;
use self::oha::{Load, Scenario};
use self::report::{Sample, Wanted, say};
use self::stand::{Proxy, Stand};
use crate::cpus::Apart;
use crate::report::{Outcome, Place};
use crate::until_interrupted;

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
    #[command(flatten)]
    /// Which processors they keep to.
    pub apart: Apart,
}

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// A build of the gateway, as NAME=PATH; may be given several times. The bars are those of the build `pgo`.
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
    /// Asks for Envoy and Squid: without one of them what is to be compared with it does not hold.
    #[arg(long)]
    peers: bool,
    /// Rounds; each drives every proxy once in every scenario.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What results are called.
    #[arg(long, default_value = "bench", overrides_with = "name")]
    name: String,
    #[command(flatten)]
    place: Place,
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

/// Runs the benchmark and publishes what it came to.
///
/// # Errors
/// When a program is missing, does not start, or answers wrongly; or a bar is missed.
pub fn run(options: &Options) -> Result<()> {
    options.programs.apart.keep()?;
    let measured = crate::block_on(1, async {
        let mut stand = Stand::start(&options.programs, &options.gateways).await?;
        let done = until_interrupted(Box::pin(measure(options, &mut stand))).await;
        Box::pin(stand.stop()).await;
        done
    });
    measured?.publish(&options.place)
}

/// Drives an instrumented gateway through every scenario, then ends it in good order so that it writes its profile.
///
/// # Errors
/// When a program is missing, does not start, or answers wrongly.
pub fn train(training: &Training) -> Result<()> {
    training.programs.apart.keep()?;
    crate::block_on(1, async {
        let gateway = [("training".to_owned(), training.gateway.clone())];
        let stand = Stand::start(&training.programs, &gateway).await?;
        let driving = async {
            for scenario in Scenario::ALL {
                for proxy in stand.proxies() {
                    say(&format!("training: {}", scenario.title()));
                    let run = Run::prepare(&training.programs, scenario, (proxy, &stand));
                    run.await?.run().await?;
                }
            }
            Ok(())
        };
        let done = until_interrupted(Box::pin(driving)).await;
        Box::pin(stand.stop()).await;
        done
    })
}

async fn measure(options: &Options, stand: &mut Stand) -> Result<Outcome> {
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
    let wanted = Wanted {
        envoy: options.peers || options.envoy.is_some(),
        squid: options.peers || options.squid.is_some(),
    };
    let mut outcome = report::outcome(&options.name, &samples, &wanted);
    outcome.notes.push(options.programs.apart.note());
    let versions = report::versions(&options.programs.oha, &options.nginx);
    outcome.notes.push(versions.await);
    Ok(outcome)
}

/// A run that is about to begin.
#[derive(Debug)]
enum Run<'a> {
    Oha(Load<'a>),
    Cold(Cold<'a>),
}

impl<'a> Run<'a> {
    /// Cold tunnels are driven by this crate's own client, all else by oha.
    async fn prepare(
        programs: &'a Programs,
        scenario: Scenario,
        (proxy, stand): (&'a Proxy, &'a Stand),
    ) -> Result<Self> {
        let (seconds, port, way) = (programs.seconds, stand.upstream_port(), stand.way(proxy));
        if scenario != Scenario::NewTunnel {
            return Ok(Self::Oha(Load {
                oha: &programs.oha,
                scenario,
                seconds,
                threads: 1,
                port,
                way,
            }));
        }
        let tokens = if proxy.wants_token() {
            Some(stand.new_tokens(cold::sessions(seconds)).await?)
        } else {
            None
        };
        Ok(Self::Cold(Cold {
            seconds,
            port,
            way,
            tokens,
        }))
    }

    async fn run(self) -> Result<oha::Outcome> {
        match self {
            Self::Oha(load) => load.run().await,
            Self::Cold(cold) => cold.run().await,
        }
    }
}

async fn sample(
    options: &Options,
    scenario: Scenario,
    round: usize,
    (proxy, stand): (&Proxy, &Stand),
) -> Result<Sample> {
    let run = Run::prepare(&options.programs, scenario, (proxy, stand)).await?;
    let process = stand.process(proxy)?;
    let before = process.cpu()?;
    let outcome = run
        .run()
        .await
        .with_context(|| format!("{} of {}", scenario.title(), proxy.name()))?;
    let spent = process.cpu()?.saturating_sub(before);
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
