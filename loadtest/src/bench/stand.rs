//! Everything that a measurement needs, running: the upstream, the cluster with its gateways, NGINX.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;

use super::cluster::{Cluster, GatewayPlan};
use super::oha::{Scenario, Way};
use super::process::Process;
use super::report::say;
use super::{Programs, envoy, nginx, squid};
use crate::tunnels::raise_file_limit;

/// The upstream's name. No resolver knows it: each proxy is told its address.
pub const HOST: &str = "api.up.test";

const SQUID: &str = "squid";

/// Something that is driven.
#[derive(Debug)]
pub struct Proxy {
    name: String,
    process: Process,
    address: SocketAddr,
    root: PathBuf,
    reach: Reach,
}

/// How a proxy is reached.
#[derive(Debug)]
enum Reach {
    /// As the server itself.
    Reverse,
    /// By CONNECT; a gateway wants a session's token.
    Forward(Option<String>),
}

impl Proxy {
    /// What the table calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its certificates.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it can be driven so: Squid speaks HTTP/1.1 only.
    #[must_use]
    pub fn speaks(&self, scenario: Scenario) -> bool {
        scenario != Scenario::KeepAlive2 || self.name != SQUID
    }

    /// How it is reached.
    #[must_use]
    pub fn way(&self) -> Way<'_> {
        let (address, root) = (self.address, self.root.as_path());
        match &self.reach {
            Reach::Forward(token) => Way::Forward {
                address,
                root,
                token: token.as_deref(),
            },
            Reach::Reverse => Way::Reverse { address, root },
        }
    }
}

/// All processes of a measurement.
#[derive(Debug)]
pub struct Stand {
    folder: PathBuf,
    upstream: Process,
    upstream_port: u16,
    cluster: Cluster,
    /// NGINX first, once it is there; then the gateways, then the other peers.
    proxies: Vec<Proxy>,
}

impl Stand {
    /// Starts the upstream, control and each gateway.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(programs: &Programs, gateways: &[(String, PathBuf)]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sortie-bench-{}", std::process::id()));
        // It must be new: anyone may have put something of that name there.
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        raise_file_limit(0)?;
        say(&format!("logs are in {} until the end", folder.display()));
        let (upstream, upstream_port) = start_upstream(&folder, &[HOST.to_owned()], 1).await?;
        say("starting control");
        let cluster = Cluster::start(&programs.control, &folder, upstream_port).await?;
        let mut proxies = Vec::new();
        for (name, program) in gateways {
            say(&format!("starting the gateway: {name}"));
            let more = programs.gateway_config.as_deref();
            let plan = GatewayPlan {
                name,
                program,
                upstream: upstream_port,
                more,
            };
            let (process, address) = cluster.add_gateway(&plan).await?;
            proxies.push(Proxy {
                name: format!("sortie ({name})"),
                process,
                address,
                root: cluster.root().to_owned(),
                reach: Reach::Forward(cluster.tokens().first().cloned()),
            });
        }
        Ok(Self {
            folder,
            upstream,
            upstream_port,
            cluster,
            proxies,
        })
    }

    /// Starts NGINX beside them, as the first of the proxies.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_nginx(&mut self, program: &Path) -> Result<()> {
        let address = free_address()?;
        let process = nginx::start(program, &self.folder, address, self.upstream_port).await?;
        let root = self.folder.join("ca.pem");
        let nginx = Proxy {
            name: "nginx".to_owned(),
            process,
            address,
            root,
            reach: Reach::Reverse,
        };
        self.proxies.insert(0, nginx);
        Ok(())
    }

    /// Starts Envoy beside them.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_envoy(&mut self, program: &Path) -> Result<()> {
        let address = free_address()?;
        let process = envoy::start(program, &self.folder, address, self.upstream_port).await?;
        self.proxies.push(Proxy {
            name: "envoy".to_owned(),
            process,
            address,
            root: self.folder.join("ca.pem"),
            reach: Reach::Reverse,
        });
        Ok(())
    }

    /// Starts Squid beside them.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_squid(&mut self, program: &Path) -> Result<()> {
        let address = free_address()?;
        let process = squid::start(program, &self.folder, address).await?;
        self.proxies.push(Proxy {
            name: SQUID.to_owned(),
            process,
            address,
            root: self.folder.join("squid-root.pem"),
            reach: Reach::Forward(None),
        });
        Ok(())
    }

    /// All that is driven.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The gateways.
    pub fn gateways(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies
            .iter()
            .filter(|proxy| matches!(proxy.reach, Reach::Forward(Some(_))))
    }

    /// The upstream's port.
    #[must_use]
    pub fn upstream_port(&self) -> u16 {
        self.upstream_port
    }

    /// The upstream's name and port.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{HOST}:{}", self.upstream_port)
    }

    /// Session tokens.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        self.cluster.tokens()
    }

    /// Ends everything, in the order in which it depends on each other, and removes the folder.
    pub async fn stop(self) {
        for proxy in self.proxies {
            proxy.process.stop().await;
        }
        self.cluster.stop().await;
        self.upstream.stop().await;
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            say(&format!("{} stays: {error}", self.folder.display()));
        }
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

/// An address on loopback that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
