//! What is driven: gateways, the upstream behind them, and tenants whose sessions agents have.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::ClientConfig;

use super::wire::Route;
use crate::bench::stand::HOST;
use crate::client;
use crate::cluster::{Cluster, DOMAIN, Session, Tenant};
use crate::plan::{Group, Protocol, Way};

/// The most sessions that are minted for a group: with more connections than that they are used again.
const SESSIONS_MAX: usize = 50_000;

/// What is driven.
#[derive(Debug, Clone)]
pub struct Target {
    /// The gateways.
    pub proxies: Vec<SocketAddr>,
    /// The host that agents ask, if they do not ask many.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The upstream's own address and root, where it can be reached without a gateway.
    pub upstream: Option<(SocketAddr, PathBuf)>,
    /// The tenants.
    pub tenants: Vec<Tenant>,
}

impl Target {
    /// A cluster of ours.
    ///
    /// # Errors
    /// When it lacks something.
    pub fn of(cluster: &Cluster, tenants: usize) -> Result<Self> {
        let tenants = (0..tenants).map(|index| Ok(cluster.tenant(index)?.clone()));
        Ok(Self {
            proxies: cluster.gateways().iter().map(|one| one.proxy()).collect(),
            host: HOST.to_owned(),
            port: cluster.upstream().port(),
            upstream: Some((cluster.upstream(), cluster.upstream_root())),
            tenants: tenants.collect::<Result<_>>()?,
        })
    }

    /// Where a group's connections go, with sessions for so many of them.
    ///
    /// # Errors
    /// When no sessions can be minted.
    pub async fn place(&self, group: &Group, connections: usize) -> Result<Place> {
        let tenant = self.tenants.get(group.tenant).context("no such tenant")?;
        let alpn = match group.protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        };
        let (addresses, root, sessions) = match group.way {
            Way::Gateway => {
                let sessions = tenant.mint(connections.min(SESSIONS_MAX)).await?;
                (self.proxies.clone(), tenant.root().to_owned(), sessions)
            }
            Way::Direct => {
                let (address, root) = self.upstream.clone().context("the upstream is not ours")?;
                (vec![address], root, Vec::new())
            }
        };
        Ok(Place {
            addresses,
            sessions,
            tls: client::trusting(&root, &[alpn])?,
            host: self.host.clone(),
            port: self.port,
            hosts: group.hosts,
            agents: group.agents,
            // Without a gateway the upstream sees what the agent sent: nothing.
            secret: tenant.value().as_bytes().to_vec(),
        })
    }
}

/// Where the connections of a group go.
#[derive(Debug)]
pub struct Place {
    addresses: Vec<SocketAddr>,
    sessions: Vec<Session>,
    tls: Arc<ClientConfig>,
    host: String,
    port: u16,
    hosts: usize,
    agents: usize,
    secret: Vec<u8>,
}

impl Place {
    /// Where an agent's connection goes: each has a session of its own, while there are enough.
    ///
    /// # Errors
    /// When there is no gateway.
    pub fn route(&self, agent: usize, opened: usize) -> Result<Route> {
        let number = opened * self.agents + agent;
        let address = self.addresses.get(number % self.addresses.len().max(1));
        let session = self.sessions.get(number % self.sessions.len().max(1));
        let host = match self.hosts {
            0 => self.host.clone(),
            hosts => format!("h{}.{DOMAIN}", number % hosts),
        };
        Ok(Route {
            address: *address.context("no gateway")?,
            token: session.map(|session| session.token().to_owned()),
            host,
            port: self.port,
            tls: Arc::clone(&self.tls),
            agent,
        })
    }

    /// What no answer may hold.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}
