//! A whole cluster as processes, for measurements: controls on one database, gateways, tenants, an upstream.
//!
//! Everything listens on loopback, keeps its files in one new folder, and ends when [`Cluster::stop`] is called or the
//! value is dropped. Controls can be stopped and started again, gateways too: their ports and folders stay theirs.

mod node;
mod tenant;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

pub use self::node::{Control, Gateway};
pub(crate) use self::tenant::text;
pub use self::tenant::{Session, Tenant, write_tokens};
use crate::bench::process::Process;
use crate::bench::report::say;
use crate::bench::rest::Api;
use crate::bench::stand::{HOST, free_address, start_upstream};
use crate::client;
use crate::cpus::Apart;
use crate::files::raise_file_limit;
use crate::until_interrupted;

/// The domain of hosts that are many: `h0`, `h1`, … below it.
pub const DOMAIN: &str = "up.test";

/// Where the programs are.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// The control plane's program.
    #[arg(long, default_value = "target/release/sortie-control")]
    pub control: PathBuf,
    /// The gateway's program.
    #[arg(long, default_value = "target/release/sortie-gateway")]
    pub gateway: PathBuf,
    #[command(flatten)]
    /// Which processors they keep to.
    pub apart: Apart,
}

impl Programs {
    /// Runs a measurement, with so many threads, on the processors that gateways leave.
    ///
    /// # Errors
    /// When it fails.
    pub fn run<T>(&self, threads: usize, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.apart.keep()?;
        crate::block_on(threads, work)
    }

    /// The same, within a cluster of its own.
    ///
    /// # Errors
    /// When something does not start, or the work fails or is interrupted.
    pub fn within<T>(
        &self,
        (threads, shape): (usize, &Shape),
        work: impl AsyncFnOnce(&mut Cluster) -> Result<T>,
    ) -> Result<T> {
        self.run(threads, Cluster::within(self, shape, work))
    }
}

/// How large a cluster is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Controls on one database; the first has it.
    pub controls: usize,
    /// Gateways; they join the controls in turn.
    pub gateways: usize,
    /// Worker threads of each gateway.
    pub workers: usize,
    /// Tenants, each with a vault, a service and an agent.
    pub tenants: usize,
    /// Hosts of the upstream that agents may ask, beside its first.
    pub hosts: usize,
    /// Threads of the upstream.
    pub upstream_workers: usize,
    /// Whether tenants, vaults, agents, services and sessions have limits: so high that nothing is refused for them.
    pub limits: bool,
    /// Lines of TOML that are added to each gateway's configuration.
    pub gateway_config: String,
    /// Lines of TOML that stand first in each control's configuration.
    pub control_config: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            controls: 1,
            gateways: 1,
            workers: 1,
            tenants: 1,
            hosts: 0,
            upstream_workers: 1,
            limits: false,
            gateway_config: String::new(),
            control_config: String::new(),
        }
    }
}

impl Shape {
    /// A control that no gateway follows, with a tenant.
    #[must_use]
    pub fn control_alone() -> Self {
        Self {
            gateways: 0,
            ..Self::default()
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: Programs,
    shape: Shape,
    upstream: Process,
    upstream_port: u16,
    controls: Vec<Control>,
    gateways: Vec<Gateway>,
    tenants: Vec<Tenant>,
}

impl Cluster {
    /// Starts everything, does something with it, and ends everything in good order, whatever came of that.
    ///
    /// # Errors
    /// When something does not start, or the work fails or is interrupted.
    pub async fn within<T>(
        programs: &Programs,
        shape: &Shape,
        work: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut cluster = Box::pin(Self::start(programs, shape)).await?;
        let done = until_interrupted(Box::pin(work(&mut cluster))).await;
        Box::pin(cluster.stop()).await;
        done
    }

    /// Starts everything, and makes one brokered request through each gateway.
    ///
    /// # Errors
    /// When a process does not start, or the first request is not brokered as it should be.
    pub async fn start(programs: &Programs, shape: &Shape) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sortie-load-{}", std::process::id()));
        // It must be new: anyone may have put something of that name there.
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        raise_file_limit(0)?;
        say(&format!("logs are in {} until the end", folder.display()));
        let names = [HOST.to_owned(), format!("*.{DOMAIN}")];
        let (upstream, upstream_port) =
            start_upstream(&folder, &names, shape.upstream_workers).await?;
        let mut cluster = Self {
            folder,
            programs: programs.clone(),
            shape: shape.clone(),
            upstream,
            upstream_port,
            controls: Vec::new(),
            gateways: Vec::new(),
            tenants: Vec::new(),
        };
        Box::pin(cluster.fill()).await?;
        Ok(cluster)
    }

    async fn fill(&mut self) -> Result<()> {
        for index in 0..self.shape.controls.max(1) {
            Box::pin(self.add_control(index)).await?;
        }
        say(&format!("making {} tenants", self.shape.tenants));
        for index in 0..self.shape.tenants {
            let name = format!("tenant{index}");
            let upstream = (self.folder.as_path(), self.upstream_port);
            let tenant = Tenant::make(self.operator()?, &name, upstream, self.shape.limits);
            let tenant = tenant.await?;
            self.tenants.push(tenant);
        }
        for _ in 0..self.shape.gateways {
            self.add_gateway().await?;
        }
        Ok(())
    }

    async fn add_control(&mut self, index: usize) -> Result<()> {
        say(&format!("starting control {index}"));
        let first = self.controls.first();
        let program = &self.programs.control;
        let more = &self.shape.control_config;
        let control = Control::start(program, &self.folder, (index, more), first).await?;
        self.controls.push(control);
        Ok(())
    }

    /// Joins one more gateway, and waits until it brokers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn add_gateway(&mut self) -> Result<()> {
        let program = self.programs.gateway.clone();
        self.add_gateway_of(&program).await
    }

    /// The same, of another build.
    ///
    /// # Errors
    /// When it does not broker.
    pub async fn add_gateway_of(&mut self, program: &Path) -> Result<()> {
        let index = self.gateways.len();
        say(&format!("starting gateway {index}"));
        let control = self.control(index % self.controls.len().max(1))?;
        let name = format!("gateway{index}");
        let wanted = json!({"name": name});
        let join = control
            .api()
            .call(Method::POST, "/v1/gateways:join", &wanted);
        let join = text(&join.await?, "/join")?;
        let config = node::GatewayConfig {
            name,
            folder: &self.folder,
            workers: self.shape.workers,
            hosts: self.shape.hosts,
            more: &self.shape.gateway_config,
            join,
        };
        let gateway = Gateway::start(program, &config, &self.programs.apart).await?;
        self.gateways.push(gateway);
        self.check(index).await
    }

    /// Makes one request by hand: what is measured must inject and mask.
    ///
    /// # Errors
    /// When it is not brokered, or the credential comes back.
    pub async fn check(&self, gateway: usize) -> Result<()> {
        let Some(tenant) = self.tenants.first() else {
            return Ok(());
        };
        let proxy = self.gateway(gateway)?.proxy();
        let sessions = tenant.mint(1).await?;
        let session = sessions.first().context("no session")?;
        let authority = self.authority();
        let stream = client::tunnel(proxy, &authority, session.token()).await?;
        let tls = client::trusting(tenant.root(), &["http/1.1"])?;
        let mut stream = client::secure(tls, HOST, stream).await?;
        let answer = client::get(&mut stream, &authority, "/json").await?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == 200,
            "the first request was answered {}: {body}",
            answer.status
        );
        ensure!(
            !body.contains(tenant.value()),
            "the credential was not masked"
        );
        ensure!(body.contains("Bearer "), "no credential was injected");
        Ok(())
    }

    /// The operator, at the first control.
    ///
    /// # Errors
    /// When there is no control.
    pub fn operator(&self) -> Result<&Api> {
        Ok(self.control(0)?.api())
    }

    /// A control.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn control(&self, index: usize) -> Result<&Control> {
        self.controls.get(index).context("no such control")
    }

    /// A control, to be stopped or started.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn control_mut(&mut self, index: usize) -> Result<&mut Control> {
        self.controls.get_mut(index).context("no such control")
    }

    /// All controls.
    #[must_use]
    pub fn controls(&self) -> &[Control] {
        &self.controls
    }

    /// A gateway.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn gateway(&self, index: usize) -> Result<&Gateway> {
        self.gateways.get(index).context("no such gateway")
    }

    /// A gateway, to be stopped or started.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn gateway_mut(&mut self, index: usize) -> Result<&mut Gateway> {
        self.gateways.get_mut(index).context("no such gateway")
    }

    /// All gateways.
    #[must_use]
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    /// A tenant.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn tenant(&self, index: usize) -> Result<&Tenant> {
        self.tenants.get(index).context("no such tenant")
    }

    /// Host and port of the upstream, as agents ask for it.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{HOST}:{}", self.upstream_port)
    }

    /// Where the upstream listens.
    #[must_use]
    pub fn upstream(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.upstream_port))
    }

    /// The upstream's process.
    #[must_use]
    pub const fn upstream_pid(&self) -> u32 {
        self.upstream.pid()
    }

    /// The root of the upstream's own certificate.
    #[must_use]
    pub fn upstream_root(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Works in control's private database, beside its API: as the role that serves gateways.
    ///
    /// # Errors
    /// When it cannot be reached, or the work fails.
    pub async fn in_database<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        let url = std::fs::read_to_string(self.folder.join("control0/database-url"))?;
        let (client, connection) = tokio_postgres::connect(url.trim(), NoTls).await?;
        let working = async {
            client.batch_execute("SET ROLE sortie_system").await?;
            let done = work(&client).await;
            // Without its client the connection ends.
            drop(client);
            done
        };
        let (done, ended) = tokio::join!(working, connection);
        ended?;
        done
    }

    /// Where logs and data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends everything, gateways first, and removes the folder.
    pub async fn stop(self) {
        for gateway in self.gateways {
            gateway.end().await;
        }
        // The first control has the database: it goes last.
        for control in self.controls.into_iter().rev() {
            control.end().await;
        }
        self.upstream.stop().await;
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            say(&format!("{} stays: {error}", self.folder.display()));
        }
    }
}

/// Waits until the admin port of a process says that it is ready.
async fn ready(mut process: Process, admin: SocketAddr) -> Result<Process> {
    let ready = Api {
        address: admin,
        key: String::new(),
    };
    process
        .until(|| async { ready.text("/readyz", "*/*").await.is_ok() })
        .await?;
    Ok(process)
}

/// Three addresses on loopback that were free a moment ago.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    Ok([free_address()?, free_address()?, free_address()?])
}
