//! A recording upstream: it answers by path, in every way that matters to a broker, and writes down what it was sent.
//!
//! Tests run it as a process: it prints one line, `ready {…}`, with its ports, and serves until it is killed. A request
//! is written down *before* it is answered, so that whoever has an answer finds the record.
//!
//! It does not check credentials (but for `/git/`, where git needs a 401 to send any, at the hosts of [`site`] and of a
//! [`table`], and for models), and is no example of a server.

pub mod answer;
pub mod body;
pub mod certificate;
pub mod echo;
pub mod git;
pub mod listen;
pub mod models;
pub mod raw;
pub mod record;
pub mod site;
pub mod github;
pub mod registry;
pub mod chat;
pub mod table;
pub mod websocket;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::listen::Upstream;

/// How an upstream is set up.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder of the authority: `ca.pem` and `ca.key` are made in it, or taken from it.
    #[arg(long)]
    pub dir: PathBuf,
    /// Name in the certificate; may be given several times.
    #[arg(long = "name", default_value = "api.up.test")]
    pub names: Vec<String>,
    /// Address of every listener.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
    /// Port for TLS; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Port for plain HTTP, if wanted; 0 takes a free one.
    #[arg(long)]
    pub plain_port: Option<u16>,
    /// Port for malformed answers over TLS, if wanted; 0 takes a free one.
    #[arg(long)]
    pub raw_port: Option<u16>,
    /// Offers HTTP/1.1 only.
    #[arg(long)]
    pub http1: bool,
    /// What is wrong with the certificate, if anything.
    #[arg(long, value_enum)]
    pub fault: Option<certificate::Fault>,
    /// Shorthand for `--fault untrusted`.
    #[arg(long, conflicts_with = "fault")]
    pub untrusted: bool,
    /// File that every request is appended to, as JSON lines.
    #[arg(long)]
    pub record: Option<PathBuf>,
    /// Folder whose repositories are served under `/git/`.
    #[arg(long, requires = "git_password")]
    pub git_root: Option<PathBuf>,
    /// The only password that `/git/` accepts, under any user name.
    #[arg(long)]
    pub git_password: Option<String>,
    /// A vendor's host, as HOST=KIND:CREDENTIAL; may be given several times.
    #[arg(long = "site", requires = "site_root")]
    pub sites: Vec<site::Wanted>,
    /// Folder with a folder of content for each site.
    #[arg(long)]
    pub site_root: Option<PathBuf>,
    /// The only key that the models at `/v1/…` accept; without one there are none.
    #[arg(long)]
    pub model_key: Option<String>,
    /// Table of hosts that answer what it says, and nothing else: see [`table`].
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Threads that serve.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

/// What the `ready` line says.
#[derive(Debug, Serialize)]
struct Ready {
    tls: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    plain: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<u16>,
    ca: PathBuf,
    pid: u32,
}

/// Serves until the process is ended.
///
/// # Errors
/// When a file cannot be written or a port cannot be bound.
pub fn run(options: Options) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.workers.max(1))
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: Options) -> Result<()> {
    crate::files::raise_file_limit(0)?;
    let tls = bind(options.address, options.port).await?;
    let plain = bind_if(options.address, options.plain_port).await?;
    let raw = bind_if(options.address, options.raw_port).await?;
    let ready = Ready {
        tls: tls.local_addr()?.port(),
        plain: port(plain.as_ref())?,
        raw: port(raw.as_ref())?,
        ca: options.dir.join("ca.pem"),
        pid: std::process::id(),
    };
    let upstream = Arc::new(Upstream::new(&options)?);

    let mut listeners = JoinSet::new();
    listeners.spawn(listen::tls(Arc::clone(&upstream), tls));
    if let Some(plain) = plain {
        listeners.spawn(listen::plain(Arc::clone(&upstream), plain));
    }
    if let Some(raw) = raw {
        listeners.spawn(raw::serve(Arc::clone(&upstream), raw));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {}", serde_json::to_string(&ready)?)?;
    out.flush()?;
    drop(out);
    // A listener never ends by itself: the first that does has failed.
    match listeners.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

async fn bind(address: IpAddr, port: u16) -> Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(address, port))
        .await
        .with_context(|| format!("cannot listen on {address}:{port}"))
}

async fn bind_if(address: IpAddr, port: Option<u16>) -> Result<Option<TcpListener>> {
    match port {
        Some(port) => bind(address, port).await.map(Some),
        None => Ok(None),
    }
}

fn port(listener: Option<&TcpListener>) -> Result<Option<u16>> {
    listener
        .map(|listener| Ok(listener.local_addr()?.port()))
        .transpose()
}
