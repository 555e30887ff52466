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

/// A process that has a name, a configuration and an admin port of its own.
#[derive(Debug)]
struct Node {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    admin: SocketAddr,
    /// How often it was started: each start has a log of its own.
    starts: usize,
    process: Option<Process>,
    /// What those of its processes came to that have ended.
    ended: Account,
    /// Where it may run, if it is a gateway.
    apart: Apart,
}

impl Node {
    async fn start(&mut self, join: Option<&str>) -> Result<()> {
        let mut command = self.command();
        if let Some(join) = join {
            command.env("SORTIE_GATEWAY__JOIN", join);
        }
        self.run(command).await
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

    /// Starts another process that takes the ports of the one that runs, which ends then.
    async fn upgrade(&mut self) -> Result<()> {
        let old = self.process.take().context("it is not running")?;
        let mut command = self.command();
        command.arg("--upgrade");
        self.run(command).await?;
        let ended = Box::pin(old.ended()).await?;
        self.account(ended);
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            let ended = Box::pin(process.stop()).await;
            self.account(ended);
        }
    }

    fn account(&mut self, ended: Account) {
        self.ended.cpu += ended.cpu;
        self.ended.peak = self.ended.peak.max(ended.peak);
    }

    /// What all of its processes have spent so far.
    fn cpu(&self) -> Result<Duration> {
        let running = self.process.as_ref().map(Process::cpu).transpose()?;
        Ok(self.ended.cpu + running.unwrap_or_default())
    }

    /// The most resident memory that one of its processes had, in bytes.
    fn peak(&self) -> Result<u64> {
        let running = self.process.as_ref().map(Process::peak).transpose()?;
        Ok(self.ended.peak.max(running.unwrap_or_default()))
    }

    fn running(&self) -> Result<&Process> {
        let process = self.process.as_ref();
        process.with_context(|| format!("{} is not running", self.name))
    }
}

/// A control.
#[derive(Debug)]
pub struct Control {
    node: Node,
    api: Api,
    feed: SocketAddr,
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
        let config = folder.join(format!("{name}.toml"));
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
        std::fs::write(&config, text)?;
        let mut node = Node {
            name,
            program: program.to_owned(),
            folder: folder.to_owned(),
            config,
            admin,
            starts: 0,
            process: None,
            ended: Account::default(),
            apart: Apart::default(),
        };
        node.start(None).await?;
        let key = match first {
            Some(first) => first.api.key.clone(),
            None => std::fs::read_to_string(data.join("operator.key"))?,
        };
        let api = Api {
            address,
            key: key.trim().to_owned(),
        };
        Ok(Self { node, api, feed })
    }

    /// Its API, with the operator's key.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Where gateways follow it.
    #[must_use]
    pub fn feed(&self) -> SocketAddr {
        self.feed
    }

    /// A sum of its metrics: of all lines that begin so.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, prefix: &str) -> Result<f64> {
        metric(self.node.admin, prefix).await
    }

    /// Its process, with the private database's below it.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn process(&self) -> Result<&Process> {
        self.node.running()
    }

    /// The most resident memory that it had, its ended processes included, in bytes.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn peak(&self) -> Result<u64> {
        self.node.peak()
    }

    /// Stops it in good order; a private database with it.
    pub async fn stop(&mut self) {
        self.node.stop().await;
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.node.start(None).await
    }

    /// Stops it for good.
    pub async fn end(mut self) {
        self.node.stop().await;
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

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    node: Node,
    proxy: SocketAddr,
}

impl Gateway {
    pub(super) async fn start(
        program: &Path,
        plan: &GatewayConfig<'_>,
        apart: &Apart,
    ) -> Result<Self> {
        let [proxy, admin, _] = free_addresses()?;
        let config = plan.folder.join(format!("{}.toml", plan.name));
        std::fs::write(&config, gateway_text(plan, proxy, admin)?)?;
        let mut node = Node {
            name: plan.name.clone(),
            program: program.to_owned(),
            folder: plan.folder.to_owned(),
            config,
            admin,
            starts: 0,
            process: None,
            ended: Account::default(),
            apart: apart.clone(),
        };
        node.start(Some(&plan.join)).await?;
        Ok(Self { node, proxy })
    }

    /// Where agents reach it.
    #[must_use]
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// A sum of its metrics: of all lines that begin so.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, prefix: &str) -> Result<f64> {
        metric(self.node.admin, prefix).await
    }

    /// Its process.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn process(&self) -> Result<&Process> {
        self.node.running()
    }

    /// What it has spent so far, its ended processes included.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn cpu(&self) -> Result<Duration> {
        self.node.cpu()
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) {
        self.node.stop().await;
    }

    /// Starts it again: it has joined already.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.node.start(None).await
    }

    /// Has a new process take its ports over, as an upgrade does.
    ///
    /// # Errors
    /// When the new one does not start, or the old one does not end.
    pub async fn upgrade(&mut self) -> Result<()> {
        self.node.upgrade().await
    }

    /// Stops it for good.
    pub async fn end(mut self) {
        self.node.stop().await;
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
