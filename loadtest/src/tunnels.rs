//! Many idle tunnels: each is opened, makes one request, and then does nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client;

/// How many handshakes are under way at once.
const AT_ONCE: usize = 16;
/// How many loopback addresses the tunnels come from: a gateway bounds connections by source.
const SOURCES: u8 = 50;
/// Open files besides the tunnels.
const SPARE: usize = 256;
/// How many open files are enough for anything here.
const FILES: u64 = 65_536;

/// Where tunnels go.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateway, on loopback.
    pub proxy: SocketAddr,
    /// Host and port of the upstream.
    pub authority: String,
    /// Session tokens, used in turn: a gateway bounds connections by session.
    pub tokens: Vec<String>,
    /// The root that the gateway's leaves are under.
    pub tls: Arc<ClientConfig>,
}

/// An open tunnel. Dropping it closes it.
pub type Tunnel = TlsStream<TcpStream>;

/// Opens tunnels and makes one request on each.
///
/// # Errors
/// When one cannot be opened, or its answer is not 200.
pub async fn open(plan: &Plan, count: usize) -> Result<Vec<Tunnel>> {
    raise_file_limit(count + SPARE)?;
    stream::iter(0..count)
        .map(|index| one(plan, index))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn one(plan: &Plan, index: usize) -> Result<Tunnel> {
    let host = plan.authority.split(':').next().unwrap_or_default();
    let token = plan
        .tokens
        .get(index % plan.tokens.len().max(1))
        .context("no token")?;
    let last = u8::try_from(index % usize::from(SOURCES))? + 2;
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let stream = client::tunnel_from(source, plan.proxy, &plan.authority, token).await?;
    let mut tunnel = client::secure(Arc::clone(&plan.tls), host, stream).await?;
    let answer = client::get(&mut tunnel, &plan.authority, "/").await?;
    ensure!(
        answer.status == 200,
        "tunnel {index} was answered {}",
        answer.status
    );
    Ok(tunnel)
}

/// Lets this process, and those that it starts from here on, have as many open files as it may.
///
/// # Errors
/// When it may not have as many as are needed.
pub fn raise_file_limit(needed: usize) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Not to the end: some programs walk over all that they might have.
    let raised = hard.min(FILES).max(soft);
    let needed = u64::try_from(needed)?;
    ensure!(
        raised >= needed,
        "{needed} open files are needed; the limit is {hard} (ulimit -Hn)"
    );
    Ok(setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?)
}
