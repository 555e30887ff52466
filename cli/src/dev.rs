//! `sortie dev`: control, a gateway and a demonstration on this machine.
//!
//! Order: files, control, gateway, demo upstream, demo tenant, the demonstration, then waiting; backwards at the end.
//! Invariants: what was started is stopped and waited for, whatever fails in between; a second start finds what the
//! first one made; everything listens on loopback; no key is printed; who runs is known from a lock, not from a file.

mod authority;
mod layout;
mod instance;
mod process;
mod upstream;
mod seed;
mod demonstration;
mod account;
mod status;
mod background;
mod logs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};
use sortie_proto::secret::Secret;
use tokio::time::Instant;

use self::authority::Authority;
use self::instance::{Instance, Phase, Record};
use self::layout::Layout;
use self::process::Process;
use crate::client::Client;
use crate::config;
use crate::error::{Error, Result};
use crate::interrupt::Stop;
use crate::output::Output;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie dev
  sortie dev --data-dir .dev --port-base 8300
  sortie dev --once            ends after the demonstration, with its result
  sortie dev --detach          goes on in the background once a request was brokered
  sortie dev status
  sortie dev stop

Ports, from --port-base: API +0, feed +1, control's admin +2, proxy +80, gateway's admin +81, demo upstream +90.
PostgreSQL's server programs are needed on this machine; the database is private and lives in the data folder.";

/// How long control may take to be ready: the first start makes a database.
const CONTROL_READY: Duration = Duration::from_secs(180);
/// How long the gateway may take to enrol and be ready.
const GATEWAY_READY: Duration = Duration::from_secs(60);
/// How long the gateway may take to drain.
const GATEWAY_STOP: Duration = Duration::from_secs(20);
/// How long control and its database may take to stop.
const CONTROL_STOP: Duration = Duration::from_secs(40);
/// How long a join string may be used: the gateway starts at once.
const JOIN_SECONDS: u32 = 300;

/// Where the first port is if nobody says otherwise.
const PORT_BASE: u16 = 7300;

/// Which cluster, and what to do with it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the data is kept [default: ~/.local/share/sortie/dev; for root /var/lib/sortie/dev]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    start: Start,
    #[command(subcommand)]
    act: Option<Act>,
}

/// How to start one.
#[derive(Debug, Args)]
struct Start {
    /// The first port [default: 7300]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=65400))]
    port_base: Option<u16>,
    /// Leave out the demo tenant, the demo upstream and the demonstration
    #[arg(long)]
    no_demo: bool,
    /// Stop after the demonstration; the exit code says whether it succeeded
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    background: Background,
}

/// Whether a terminal is needed.
#[derive(Debug, Args)]
struct Background {
    /// Go on in the background once a request was brokered
    #[arg(long, short, conflicts_with = "once")]
    detach: bool,
    /// This is the one in the background
    #[arg(long, hide = true, conflicts_with_all = ["once", "detach"])]
    detached: bool,
}

/// What can be done with a cluster that was started.
#[derive(Debug, Subcommand)]
enum Act {
    /// Say whether it runs, where it listens, and how to repeat what it showed
    #[command(after_help = status::EXAMPLE)]
    Status,
    /// Stop it, and wait until it has
    #[command(after_help = background::STOP_EXAMPLE)]
    Stop(background::Patience),
    /// Show what its programs logged
    #[command(after_help = logs::EXAMPLE)]
    Logs(logs::Options),
}

/// Runs the cluster until it is told to stop, or does something with one that runs.
///
/// # Errors
/// Whatever keeps the cluster from starting, or the demonstration from succeeding.
pub(crate) async fn run(options: Options, out: Output) -> Result<ExitCode> {
    let folder = match options.data_dir {
        Some(folder) => folder,
        None => config::dev_folder()?,
    };
    let start = options.start;
    let Some(act) = options.act else {
        let layout = Layout::make(&folder, start.port_base.unwrap_or(PORT_BASE))?;
        if start.background.detach {
            return background::start(!start.no_demo, &layout, out).await;
        }
        return Box::pin(foreground(&start, &layout, out)).await;
    };
    if start.is_named() {
        return Err(Error::Usage(
            "how a cluster is started is no matter of this verb: --data-dir alone names it"
                .to_owned(),
        ));
    }
    let found = match act {
        // They need no running cluster.
        Act::Logs(_) => None,
        Act::Status | Act::Stop(_) => instance::find(&folder).await?,
    };
    let base = found.as_ref().map_or(PORT_BASE, |found| found.port_base);
    let layout = Layout::find(&folder, base);
    match act {
        Act::Status => {
            status::show(found.as_ref(), &layout, out)?;
            let ready = found.is_some_and(|found| found.phase == Phase::Ready);
            return Ok(if ready {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Act::Stop(patience) => background::stop(&patience, &layout, out).await?,
        Act::Logs(options) => logs::run(&options, &layout, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Start {
    const fn is_named(&self) -> bool {
        self.port_base.is_some()
            || self.no_demo
            || self.once
            || self.background.detach
            || self.background.detached
    }
}

async fn foreground(start: &Start, layout: &Layout, out: Output) -> Result<ExitCode> {
    let detached = start.background.detached;
    if detached {
        // No terminal of ours can end it by going away.
        nix::unistd::setsid().map_err(|errno| Error::system("begin a session", errno.into()))?;
    }
    let mut record = Record::ours(layout.base(), detached);
    record.demo = !start.no_demo;
    let Some(mut instance) = Instance::claim(layout, record).await? else {
        return Err(match instance::find(layout.folder()).await? {
            Some(record) => {
                status::already(&record, &Layout::find(layout.folder(), record.port_base))
            }
            None => Error::failed("another `sortie dev` ended just now", "Start it again."),
        });
    };
    layout.check_ports()?;

    let mut stop = Stop::catch()?;
    let mut cluster = Cluster::default();
    let done = tokio::select! {
        done = Box::pin(live(start, layout, &mut cluster, &mut instance, out)) => done,
        () = stop.asked() => {
            out.note("");
            Ok(())
        }
    };
    let told = instance.update(|record| record.phase = Phase::Stopping);
    let stopped = cluster.stop(&mut stop, out).await;
    done.and(told).and(stopped).map(|()| ExitCode::SUCCESS)
}

/// What runs, in the order in which it was started.
#[derive(Debug, Default)]
struct Cluster {
    control: Option<Process>,
    gateway: Option<Process>,
    upstream: Option<upstream::Upstream>,
}

async fn live(
    start: &Start,
    layout: &Layout,
    cluster: &mut Cluster,
    instance: &mut Instance,
    out: Output,
) -> Result<()> {
    let authority = Authority::make("Sortie demo upstream authority", &[layout::HOST])?;
    layout.write_configs(authority.pem())?;
    layout.secure_proxy()?;
    out.note(&format!("data in {}", layout.folder().display()));

    let operator = start_control(layout, cluster, out).await?;
    instance.update(|record| record.control = cluster.control.as_ref().and_then(Process::id))?;
    start_gateway(layout, cluster, &operator, out).await?;
    instance.update(|record| record.gateway = cluster.gateway.as_ref().and_then(Process::id))?;
    let detached = start.background.detached;
    if start.no_demo {
        out.note(&account::plain(layout, detached));
    } else {
        let port = layout.upstream_port();
        cluster.upstream = Some(upstream::Upstream::start(port, &authority).await?);
        let began = Instant::now();
        let demo = seed::seed(layout, &operator, start.once).await?;
        progress(out, "demo tenant, vault, credential, service, agent", began);
        let shown = demonstration::perform(layout, &demo).await?;
        if !start.once {
            seed::write_profile(layout)?;
        }
        out.line(&account::tell(&shown, layout, detached, out));
        shown.verdict()?;
    }
    if start.once {
        return Ok(());
    }
    instance.update(|record| record.phase = Phase::Ready)?;
    cluster.watch().await
}

async fn start_control(layout: &Layout, cluster: &mut Cluster, out: Output) -> Result<Client> {
    let began = Instant::now();
    let program = process::find("sortie-control")?;
    let (config, log) = (layout.control_config(), layout.control_log());
    let control = cluster
        .control
        .insert(Process::start("control", &program, &config, &log, None)?);
    control.ready(layout.control_admin(), CONTROL_READY).await?;
    progress(out, "control and its database", began);
    let key = config::read_key(&layout.operator_key())?;
    Client::new(&layout.api(), &key, false)
}

async fn start_gateway(
    layout: &Layout,
    cluster: &mut Cluster,
    operator: &Client,
    out: Output,
) -> Result<()> {
    let began = Instant::now();
    let program = process::find("sortie-gateway")?;
    let body = json!({"name": gateway_name(), "valid_seconds": JOIN_SECONDS});
    let made = operator.post(&["gateways"], ":join", &body).await?;
    let join = made.get("join").and_then(Value::as_str).unwrap_or_default();
    let join = Secret::new(join.as_bytes().to_vec());
    let (config, log) = (layout.gateway_config(), layout.gateway_log());
    // A gateway that has enrolled before leaves the string unused, and it expires.
    let gateway = Process::start("gateway", &program, &config, &log, Some(&join))?;
    let gateway = cluster.gateway.insert(gateway);
    gateway.ready(layout.gateway_admin(), GATEWAY_READY).await?;
    progress(out, "gateway", began);
    Ok(())
}

/// A gateway whose data went away enrols anew, and names are never given twice.
fn gateway_name() -> String {
    let suffix = rand::rng()
        .sample_iter(Alphanumeric)
        .take(6)
        .map(char::from);
    format!("dev-{}", suffix.collect::<String>().to_lowercase())
}

fn progress(out: Output, what: &str, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    out.note(&format!(
        "{} {what} {}",
        out.green("ready"),
        out.dim(&format!("{seconds:.1} s"))
    ));
}

impl Cluster {
    /// Waits until something ends that should not.
    async fn watch(&mut self) -> Result<()> {
        let (Some(control), Some(gateway)) = (&mut self.control, &mut self.gateway) else {
            return Ok(());
        };
        tokio::select! {
            failure = control.ended() => Err(failure),
            failure = gateway.ended() => Err(failure),
        }
    }

    /// Stops what runs, last started first. Being asked a second time cuts the waiting short.
    async fn stop(mut self, stop: &mut Stop, out: Output) -> Result<()> {
        drop(self.upstream.take());
        let mut result = Ok(());
        for (process, patience) in [
            (self.gateway.take(), GATEWAY_STOP),
            (self.control.take(), CONTROL_STOP),
        ] {
            if let Some(process) = process {
                let began = Instant::now();
                let name = process.name();
                let was_running = process.is_running();
                let stopped = process.stop(patience, stop.asked()).await;
                if was_running && stopped.is_ok() {
                    let seconds = began.elapsed().as_secs_f64();
                    out.note(&out.dim(&format!("stopped {name} {seconds:.1} s")));
                }
                result = result.and(stopped);
            }
        }
        result
    }
}
