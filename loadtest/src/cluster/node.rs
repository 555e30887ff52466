//! The processes of a cluster that can be stopped and started again.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::{DOMAIN, free_addresses, ready};
use crate::bench::process::{Account, Process};
use crate::bench::rest::Api;
use crate::bench::stand::HOST;
use crate::cpus::Apart;

/// A program of the cluster, with its configuration and its ports: a [`Control`] or a [`Gateway`].
#[derive(Debug)]
pub struct Node<Role> {
    role: Role,
    name: String,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    admin: SocketAddr,
    /// Which processors gateways keep to.
    apart: Apart,
    /// How often it was started: each start has a log of its own.
    starts: usize,
    process: Option<Process>,
    /// What those of its processes came to that have ended.
    ended: Account,
}

/// A control.
pub type Control = Node<Controls>;
/// A gateway.
pub type Gateway = Node<Brokers>;

/// Where a control is reached.
#[derive(Debug)]
pub struct Controls {
    /// With the operator's key.
    api: Api,
    feed: SocketAddr,
}

/// Where a gateway is reached.
#[derive(Debug)]
pub struct Brokers {
    proxy: SocketAddr,
}

impl<Role> Node<Role> {
    /// One that does not run yet, and its configuration.
    fn new(
        (name, role): (&str, Role),
        (program, folder): (&Path, &Path),
        admin: SocketAddr,
        text: &str,
    ) -> Result<Self> {
        let config = folder.join(format!("{name}.toml"));
        std::fs::write(&config, text)?;
        Ok(Self {
            role,
            name: name.to_owned(),
            program: program.to_owned(),
            folder: folder.to_owned(),
            config,
            admin,
            apart: Apart::default(),
            starts: 0,
            process: None,
            ended: Account::default(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config);
        command
    }

    async fn run(&mut self, mut command: Command) -> Result<()> {
        self.starts += 1;
        let log = format!("{}-{}", self.name, self.starts);
        let start = || Process::start(&log, &self.folder, &mut command);
        let started = self.apart.start_gateway(start)?;
        self.process = Some(Box::pin(ready(started, self.admin)).await?);
        Ok(())
    }

    /// Starts it again; a gateway has joined already.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.run(self.command()).await
    }

    /// Stops it in good order; a private database with it.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            let ended = Box::pin(process.stop()).await;
            self.account(ended);
        }
    }

    /// Stops it for good.
    pub async fn end(mut self) {
        self.stop().await;
    }

    /// Its process; a private database's is below it.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn process(&self) -> Result<&Process> {
        let process = self.process.as_ref();
        process.with_context(|| format!("{} is not running", self.name))
    }

    fn account(&mut self, ended: Account) {
        self.ended.cpu += ended.cpu;
        self.ended.peak = self.ended.peak.max(ended.peak);
    }

    /// What it has spent so far, its ended processes included.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn cpu(&self) -> Result<Duration> {
        let running = self.process.as_ref().map(Process::cpu).transpose()?;
        Ok(self.ended.cpu + running.unwrap_or_default())
    }

    /// The most resident memory that it had, its ended processes included, in bytes.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn peak(&self) -> Result<u64> {
        let running = self.process.as_ref().map(Process::peak).transpose()?;
        Ok(self.ended.peak.max(running.unwrap_or_default()))
    }

    /// A sum of its metrics: of all lines that begin so.
    ///
    /// # Errors
    /// When it does not answer, or has no such metric.
    pub async fn metric(&self, prefix: &str) -> Result<f64> {
        metric(self.admin, prefix).await
    }
}

impl Control {
    /// Starts one. The first makes a private database; others use that.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        program: &Path,
        folder: &Path,
        (index, more): (usize, &str),
        first: Option<&Self>,
    ) -> Result<Self> {
        let [address, feed, admin] = free_addresses()?;
        let name = format!("control{index}");
        let data = folder.join(&name);
        let mut text = format!("data_dir = {data:?}\n");
        if first.is_some() {
            let database = folder.join("control0").join("database-url");
            std::fs::create_dir_all(&data)?;
            std::fs::copy(folder.join("control0/root.key"), data.join("root.key"))?;
            writeln!(text, "database_url_file = {database:?}")?;
        }
        write!(
            text,
            "{more}\n[api]\nlisten = \"{address}\"\n[admin]\nlisten = \"{admin}\"\n[feed]\nlisten = \"{feed}\"\n\
             advertise = \"{feed}\"\n"
        )?;
        let key = first.map(|first| first.api().key.clone());
        let api = Api {
            address,
            key: key.unwrap_or_default(),
        };
        let role = Controls { api, feed };
        let mut control = Self::new((&name, role), (program, folder), admin, &text)?;
        control.restart().await?;
        if first.is_none() {
            let key = std::fs::read_to_string(data.join("operator.key"))?;
            key.trim().clone_into(&mut control.role.api.key);
        }
        Ok(control)
    }

    /// Its API, with the operator's key.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.role.api
    }

    /// Where gateways follow it.
    #[must_use]
    pub fn feed(&self) -> SocketAddr {
        self.role.feed
    }
}

/// What a gateway is started with.
#[derive(Debug)]
pub(super) struct GatewayConfig<'a> {
    pub(super) name: String,
    pub(super) folder: &'a Path,
    pub(super) workers: usize,
    pub(super) hosts: usize,
    pub(super) more: &'a str,
    pub(super) join: String,
}

impl Gateway {
    pub(super) async fn start(
        program: &Path,
        plan: &GatewayConfig<'_>,
        apart: &Apart,
    ) -> Result<Self> {
        let [proxy, admin, _] = free_addresses()?;
        let text = gateway_text(plan, proxy, admin)?;
        let role = Brokers { proxy };
        let mut gateway = Self::new((&plan.name, role), (program, plan.folder), admin, &text)?;
        gateway.apart = apart.clone();
        let mut command = gateway.command();
        command.env("SORTIE_GATEWAY__JOIN", &plan.join);
        gateway.run(command).await?;
        Ok(gateway)
    }

    /// Where agents reach it.
    #[must_use]
    pub fn proxy(&self) -> SocketAddr {
        self.role.proxy
    }

    /// Has a new process take its ports over, as an upgrade does; the old one ends then.
    ///
    /// # Errors
    /// When the new one does not start, or the old one does not end.
    pub async fn upgrade(&mut self) -> Result<()> {
        let old = self.process.take().context("it is not running")?;
        let mut command = self.command();
        command.arg("--upgrade");
        self.run(command).await?;
        let ended = Box::pin(old.ended()).await?;
        self.account(ended);
        Ok(())
    }
}

fn gateway_text(plan: &GatewayConfig<'_>, proxy: SocketAddr, admin: SocketAddr) -> Result<String> {
    let data = plan.folder.join(&plan.name);
    let root = plan.folder.join("ca.pem");
    let mut text = format!(
        "data_dir = {data:?}\nname = \"{}\"\n[proxy]\nlisten = [\"{proxy}\"]\nworkers = {}\n[admin]\n\
         listen = \"{admin}\"\n[upstream]\nextra_roots = [{root:?}]\n[upstream.hosts]\n\
         \"{HOST}\" = [\"127.0.0.1\"]\n",
        plan.name, plan.workers
    );
    for index in 0..plan.hosts {
        writeln!(text, "\"h{index}.{DOMAIN}\" = [\"127.0.0.1\"]")?;
    }
    text.push_str(plan.more);
    Ok(text)
}

async fn metric(admin: SocketAddr, prefix: &str) -> Result<f64> {
    let api = Api {
        address: admin,
        key: String::new(),
    };
    let text = api.text("/metrics", "text/plain").await?;
    // One that was renamed would be 0 for ever.
    let name = prefix.split('{').next().unwrap_or(prefix);
    let help = format!("# HELP {name} ");
    ensure!(
        text.lines().any(|line| line.starts_with(&help)),
        "there is no metric {name}"
    );
    let values = text
        .lines()
        .filter(|line| line.starts_with(prefix))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    // The sum of none is -0.
    Ok(values.sum::<f64>() + 0.0)
}
