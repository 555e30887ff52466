//! The many-agents generator: an open loop that goes through a scenario and asks what must hold.
//!
//! ```text
//! pace      a thread for each group says when requests are due          (precise: the runtime's own timer is not)
//! queue     what is due waits for an agent                              (its wait counts)
//! agent     takes it, sends it on its own connection with its own session, reads the answer to its end
//! conduct   a phase: connects all agents, starts the clock, does to the cluster what the scenario says, ends
//! ```
//!
//! Latency is counted from when a request was due, so that answers which are slow keep nothing out of the figures.

pub mod agent;
pub mod conduct;
pub mod queue;
pub mod result;
pub mod search;
pub mod socket;
pub mod target;
pub mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use self::conduct::Conductor;
use self::target::Target;
use crate::bench::report::say;
use crate::bench::rest::Api;
use crate::cluster::{Cluster, Programs, Tenant};
use crate::plan::Scenario;
use crate::report::{Outcome, Place};
use crate::steady::Steady;
use crate::until_interrupted;

/// What is driven, and where results go.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A scenario's file, such as `loadtest/scenarios/steady.toml`.
    #[arg(long)]
    scenario: PathBuf,
    /// Makes every time in it so many times as long: 0.2 for a quick look.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Schedules the generator and the upstream before all else, and keeps processors awake: for latencies on a machine
    /// that everything shares. Counts answers apart that came while no processor stood still. Linux only, as root.
    #[arg(long, conflicts_with = "api")]
    steady: bool,
    /// Threads that drive.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(flatten)]
    programs: Programs,
    #[command(flatten)]
    running: Running,
    #[command(flatten)]
    place: Place,
}

/// A cluster that runs already. Its vault must have a service for the host.
#[derive(Debug, Clone, clap::Args)]
struct Running {
    /// The address of its API; without it a cluster is started, and ended at the end.
    #[arg(long, requires_all = ["key_file", "proxy", "authority"])]
    api: Option<SocketAddr>,
    /// A file with the key of a tenant's admin.
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// A gateway; may be given several times.
    #[arg(long)]
    proxy: Vec<SocketAddr>,
    /// The host that agents ask, and its port.
    #[arg(long)]
    authority: Option<String>,
    /// Whose sessions they are.
    #[arg(long, default_value = "agent")]
    agent: String,
    /// Of which vault.
    #[arg(long, default_value = "main")]
    vault: String,
}

/// Goes through a scenario.
///
/// # Errors
/// When a process does not start, or what must hold does not.
pub fn run(options: &Options) -> Result<()> {
    let mut scenario = Scenario::read(&options.scenario)?;
    scenario.shorten(options.scale);
    say(&format!("{}: {}", scenario.name, scenario.about));
    let mut outcome = options
        .programs
        .run(options.threads, conduct(options, scenario))?;
    outcome.notes.insert(0, options.programs.apart.note());
    outcome.publish(&options.place)
}

async fn conduct(options: &Options, scenario: Scenario) -> Result<Outcome> {
    crate::files::raise_file_limit(0)?;
    if let Some(target) = options.running.target().await? {
        let conductor = Conductor::new(scenario, target);
        return until_interrupted(Box::pin(conductor.conduct(None))).await;
    }
    // What is started anew would go first, too.
    let starts = scenario.phases.iter().any(|phase| !phase.events.is_empty());
    ensure!(
        !(options.steady && starts),
        "--steady is for scenarios without events"
    );
    let shape = scenario.cluster.clone();
    let conducted = Cluster::within(&options.programs, &shape, async |cluster| {
        let steady = match options.steady {
            true => Some(Steady::start(
                &options.programs.apart,
                cluster.upstream_pid(),
            )?),
            false => None,
        };
        let stalls = steady.as_ref().map(|steady| Arc::clone(steady.stalls()));
        let target = Target::of(cluster, scenario.cluster.tenants)?;
        let conductor = Conductor::new(scenario, target).watching(stalls);
        let mut outcome = Box::pin(conductor.conduct(Some(cluster))).await?;
        let notes = steady.iter().flat_map(Steady::notes);
        outcome.notes.splice(0..0, notes);
        Ok(outcome)
    });
    conducted.await
}

impl Running {
    async fn target(&self) -> Result<Option<Target>> {
        let (Some(address), Some(file)) = (self.api, &self.key_file) else {
            return Ok(None);
        };
        let key = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let owner = Api {
            address,
            key: key.trim().to_owned(),
        };
        let authority = self
            .authority
            .as_deref()
            .and_then(|text| text.split_once(':'));
        let (host, port) = authority.context("--authority is HOST:PORT")?;
        Ok(Some(Target {
            proxies: self.proxy.clone(),
            host: host.to_owned(),
            port: port.parse()?,
            upstream: None,
            tenants: vec![Tenant::given(owner, &self.agent, &self.vault).await?],
        }))
    }
}
