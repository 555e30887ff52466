//! Everything that the benchmark needs, running: a cluster whose gateways are the builds to be measured, and peers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use super::oha::{Scenario, Way};
use super::process::Process;
use super::{Programs, envoy, nginx, squid};
use crate::cluster::{self, Cluster, Session, Shape};
use crate::cpus::Apart;

/// The upstream's name. No resolver knows it: each proxy is told its address.
pub const HOST: &str = "api.up.test";

/// Ports that are given to programs.
const PORTS: Range<u16> = 12_000..30_000;

const SQUID: &str = "squid";

/// Something that is driven.
#[derive(Debug)]
pub struct Proxy {
    name: String,
    address: SocketAddr,
    root: PathBuf,
    kind: Kind,
}

/// What it is.
#[derive(Debug)]
enum Kind {
    /// A gateway of the cluster, by number: reached by CONNECT, with a session's token.
    Gateway(usize),
    /// Reached by CONNECT.
    Forward(Process),
    /// Reached as the server itself.
    Reverse(Process),
}

impl Proxy {
    /// What the table calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can be driven so: Squid speaks HTTP/1.1 only.
    #[must_use]
    pub fn speaks(&self, scenario: Scenario) -> bool {
        scenario != Scenario::KeepAlive2 || self.name != SQUID
    }

    /// Whether it wants a session's token.
    #[must_use]
    pub fn wants_token(&self) -> bool {
        matches!(self.kind, Kind::Gateway(_))
    }
}

/// All processes of a measurement.
#[derive(Debug)]
pub struct Stand {
    apart: Apart,
    cluster: Cluster,
    /// The session of connections that stay.
    session: Session,
    /// NGINX first, once it is there; then the gateways, then the other peers.
    proxies: Vec<Proxy>,
}

impl Stand {
    /// Starts a cluster with each gateway.
    ///
    /// # Errors
    /// When one of them does not start, or does not broker.
    pub async fn start(programs: &Programs, gateways: &[(String, PathBuf)]) -> Result<Self> {
        let more = programs.gateway_config.as_ref();
        let more = more.map(std::fs::read_to_string).transpose()?;
        let shape = Shape {
            gateways: 0,
            limits: true,
            gateway_config: more.unwrap_or_default(),
            ..Shape::default()
        };
        let apart = &programs.apart;
        let programs = cluster::Programs {
            control: programs.control.clone(),
            gateway: PathBuf::new(),
            apart: apart.clone(),
        };
        let mut cluster = Box::pin(Cluster::start(&programs, &shape)).await?;
        let mut proxies = Vec::new();
        for (index, (name, program)) in gateways.iter().enumerate() {
            Box::pin(cluster.add_gateway_of(program))
                .await
                .with_context(|| name.clone())?;
            proxies.push(Proxy {
                name: format!("sortie ({name})"),
                address: cluster.gateway(index)?.proxy(),
                root: cluster.tenant(0)?.root().to_owned(),
                kind: Kind::Gateway(index),
            });
        }
        let session = cluster.tenant(0)?.mint(1).await?.pop();
        Ok(Self {
            apart: apart.clone(),
            session: session.context("no session")?,
            cluster,
            proxies,
        })
    }

    /// Starts NGINX beside them, as the first of the proxies.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_nginx(&mut self, program: &Path) -> Result<()> {
        let (folder, address) = (self.cluster.folder(), free_address()?);
        let to = (address, self.upstream_port());
        let process = nginx::start(program, folder, to, &self.apart).await?;
        let nginx = self.peer("nginx", address, Kind::Reverse(process));
        self.proxies.insert(0, nginx);
        Ok(())
    }

    /// Starts Envoy beside them.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_envoy(&mut self, program: &Path) -> Result<()> {
        let (folder, address) = (self.cluster.folder(), free_address()?);
        let to = (address, self.upstream_port());
        let process = envoy::start(program, folder, to, &self.apart).await?;
        let envoy = self.peer("envoy", address, Kind::Reverse(process));
        self.proxies.push(envoy);
        Ok(())
    }

    /// Starts Squid beside them.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_squid(&mut self, program: &Path) -> Result<()> {
        let (folder, address) = (self.cluster.folder(), free_address()?);
        let process = squid::start(program, folder, address, &self.apart).await?;
        let root = folder.join("squid-root.pem");
        let squid = self.peer(SQUID, address, Kind::Forward(process));
        self.proxies.push(Proxy { root, ..squid });
        Ok(())
    }

    /// A peer with a certificate of the upstream's authority.
    fn peer(&self, name: &str, address: SocketAddr, kind: Kind) -> Proxy {
        Proxy {
            name: name.to_owned(),
            address,
            root: self.cluster.upstream_root(),
            kind,
        }
    }

    /// All that is driven.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The process of one of them.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process<'a>(&'a self, proxy: &'a Proxy) -> Result<&'a Process> {
        match &proxy.kind {
            Kind::Gateway(index) => self.cluster.gateway(*index)?.process(),
            Kind::Forward(process) | Kind::Reverse(process) => Ok(process),
        }
    }

    /// How one of them is reached.
    #[must_use]
    pub fn way<'a>(&'a self, proxy: &'a Proxy) -> Way<'a> {
        let (address, root) = (proxy.address, proxy.root.as_path());
        let token = match &proxy.kind {
            Kind::Reverse(_) => return Way::Reverse { address, root },
            Kind::Forward(_) => None,
            Kind::Gateway(_) => Some(self.session.token()),
        };
        Way::Forward {
            address,
            root,
            token,
        }
    }

    /// Tokens of sessions that no gateway has seen.
    ///
    /// # Errors
    /// When control mints none.
    pub async fn new_tokens(&self, count: usize) -> Result<Vec<String>> {
        let sessions = self.cluster.tenant(0)?.mint(count).await?;
        let tokens = sessions.iter().map(|session| session.token().to_owned());
        Ok(tokens.collect())
    }

    /// The upstream's port.
    #[must_use]
    pub fn upstream_port(&self) -> u16 {
        self.cluster.upstream().port()
    }

    /// Ends everything, in the order in which it depends on each other.
    pub async fn stop(self) {
        for proxy in self.proxies {
            if let Kind::Forward(process) | Kind::Reverse(process) = proxy.kind {
                process.stop().await;
            }
        }
        self.cluster.stop().await;
    }
}

/// Starts the upstream under these names, with its authority in a folder. Answers its port, too.
///
/// # Errors
/// When it does not start.
pub async fn start_upstream(
    folder: &Path,
    names: &[String],
    workers: usize,
) -> Result<(Process, u16)> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["upstream", "--workers", &workers.to_string()])
        .args(names.iter().map(|name| format!("--name={name}")))
        .arg("--dir")
        .arg(folder);
    let mut process = Process::start("upstream", folder, &mut command)?;
    let log = folder.join("upstream.log");
    let has_line = || async { std::fs::read_to_string(&log).is_ok_and(|text| text.contains('\n')) };
    process.until(has_line).await?;
    let output = process.output();
    let ready = output
        .strip_prefix("ready ")
        .context("the upstream said something else")?;
    let ready: Value = serde_json::from_str(ready)?;
    let port = ready
        .get("tls")
        .and_then(Value::as_u64)
        .context("the upstream said no port")?;
    Ok((process, u16::try_from(port)?))
}

/// An address on loopback that nobody listens on and that this process has not given before. Its port lies below those
/// that Linux gives to outgoing connections: one of them could take it before the program that it is for.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Another process that measures begins elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS.len() {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let at = begin.wrapping_add(given.into()) % u32::try_from(PORTS.len())?;
        let port = PORTS.start.saturating_add(u16::try_from(at)?);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port is free")
}
