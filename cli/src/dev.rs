//! `sortie dev`: control, a gateway and a demonstration on this machine.
//!
//! Order: files, control, gateway, demo upstream, demo tenant, the demonstration, then waiting; backwards at the end.
//! Invariants: what was started is stopped and waited for, whatever fails in between; a second start finds what the
//! first one made; everything listens on loopback; no key is printed.

mod layout;
mod process;
mod upstream;
mod seed;
mod demonstration;
mod account;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};
use sortie_proto::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use self::layout::Layout;
use self::process::Process;
use crate::client::Client;
use crate::config;
use crate::error::{Error, Result};
use crate::output::Output;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie dev
  sortie dev --data-dir .dev --port-base 8300
  sortie dev --once                          the demonstration alone; its result is the exit code

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

/// Where the data is, which ports, and how much to show.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the data is kept [default: ~/.local/share/sortie/dev; for root /var/lib/sortie/dev]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The first port
    #[arg(long, default_value_t = 7300, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=65400))]
    port_base: u16,
    /// Leave out the demo tenant, the demo upstream and the demonstration
    #[arg(long)]
    no_demo: bool,
    /// Stop after the demonstration; the exit code says whether it succeeded
    #[arg(long)]
    once: bool,
}

/// Runs the cluster until it is told to stop.
///
/// # Errors
/// Whatever keeps the cluster from starting, or the demonstration from succeeding.
pub(crate) async fn run(options: Options, out: Output) -> Result<ExitCode> {
    let folder = match &options.data_dir {
        Some(folder) => folder.clone(),
        None => config::dev_folder()?,
    };
    let layout = Layout::make(&folder, options.port_base)?;
    let _lock = layout.lock()?;
    layout.check_ports()?;

    let mut stop = Stop::catch()?;
    let mut cluster = Cluster::default();
    let done = tokio::select! {
        done = Box::pin(live(&options, &layout, &mut cluster, out)) => done,
        () = stop.asked() => {
            out.note("");
            Ok(())
        }
    };
    let stopped = cluster.stop(&mut stop, out).await;
    done.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// What runs, in the order in which it was started.
#[derive(Debug, Default)]
struct Cluster {
    control: Option<Process>,
    gateway: Option<Process>,
    upstream: Option<upstream::Upstream>,
}

async fn live(
    options: &Options,
    layout: &Layout,
    cluster: &mut Cluster,
    out: Output,
) -> Result<()> {
    let authority = upstream::Authority::make()?;
    layout.write_configs(authority.pem())?;
    out.note(&format!("data in {}", layout.folder().display()));

    let operator = start_control(layout, cluster, out).await?;
    start_gateway(layout, cluster, &operator, out).await?;
    if options.no_demo {
        out.note(&account::plain(layout));
    } else {
        let port = layout.upstream_port();
        cluster.upstream = Some(upstream::Upstream::start(port, &authority).await?);
        let began = Instant::now();
        let demo = seed::seed(layout, &operator, options.once).await?;
        progress(out, "demo tenant, vault, credential, service, agent", began);
        let shown = demonstration::perform(layout, &demo).await?;
        if !options.once {
            seed::write_profile(layout)?;
        }
        out.line(&account::tell(&shown, layout, out));
        shown.verdict()?;
    }
    if options.once {
        return Ok(());
    }
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

/// Being asked to stop: Ctrl-C, SIGTERM, or the terminal that goes away.
struct Stop([tokio::signal::unix::Signal; 3]);

impl Stop {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).map_err(|source| Error::system("catch signals", source));
        Ok(Self([
            catch(SignalKind::interrupt())?,
            catch(SignalKind::terminate())?,
            catch(SignalKind::hangup())?,
        ]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
