//! Listeners: from a socket to requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Options;
use super::answer::answer;
use super::certificate::{self, Fault};
use super::git::Repositories;
use super::models::Models;
use super::record::{Connection, Recorder};
use super::site::Sites;
use super::table::Table;

const HANDSHAKE: Duration = Duration::from_secs(10);

/// What all listeners share.
pub struct Upstream {
    recorder: Recorder,
    git: Option<Repositories>,
    sites: Sites,
    models: Option<Models>,
    table: Table,
    acceptor: TlsAcceptor,
    raw_acceptor: TlsAcceptor,
    connections: AtomicU64,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    /// Makes the certificate, opens the record and reads the table.
    ///
    /// # Errors
    /// When a file cannot be written or read.
    pub fn new(options: &Options) -> Result<Self> {
        let fault = options
            .fault
            .or_else(|| options.untrusted.then_some(Fault::Untrusted));
        let config = |http1| certificate::server_config(&options.dir, &options.names, fault, http1);
        let git = options.git_root.clone().zip(options.git_password.clone());
        Ok(Self {
            recorder: Recorder::open(options.record.as_deref())?,
            git: git.map(|(root, password)| Repositories::new(root, password)),
            sites: Sites::new(&options.sites, options.site_root.as_deref())?,
            models: options.model_key.clone().map(Models::new),
            table: Table::read(options.answers.as_deref())?,
            acceptor: TlsAcceptor::from(Arc::new(config(options.http1)?)),
            raw_acceptor: TlsAcceptor::from(Arc::new(config(true)?)),
            connections: AtomicU64::new(0),
        })
    }

    /// The next connection.
    pub fn connection(&self, tls: bool) -> Connection {
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Connection { id, tls }
    }

    /// Where requests are written down.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What is served under `/git/`.
    #[must_use]
    pub fn git(&self) -> Option<&Repositories> {
        self.git.as_ref()
    }

    /// Vendors' hosts.
    #[must_use]
    pub fn sites(&self) -> &Sites {
        &self.sites
    }

    /// The models that agents talk to, if there are any.
    #[must_use]
    pub fn models(&self) -> Option<&Models> {
        self.models.as_ref()
    }

    /// What the hosts of vendors answer.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The acceptor of the listener for malformed answers.
    #[must_use]
    pub fn raw_acceptor(&self) -> &TlsAcceptor {
        &self.raw_acceptor
    }
}

/// Serves TLS connections.
///
/// # Errors
/// When the listener fails.
pub async fn tls(upstream: Arc<Upstream>, listener: TcpListener) -> Result<()> {
    accept(listener, move |stream| {
        let upstream = Arc::clone(&upstream);
        async move {
            let on = upstream.connection(true);
            let accepted = tokio::time::timeout(HANDSHAKE, upstream.acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = accepted {
                Box::pin(requests(upstream, on, stream)).await;
            }
        }
    })
    .await
}

/// Serves plain connections.
///
/// # Errors
/// When the listener fails.
pub async fn plain(upstream: Arc<Upstream>, listener: TcpListener) -> Result<()> {
    accept(listener, move |stream| {
        let upstream = Arc::clone(&upstream);
        let on = upstream.connection(false);
        requests(upstream, on, stream)
    })
    .await
}

/// Runs a handler on each connection. The handlers end with the listener.
///
/// # Errors
/// When the listener fails.
pub async fn accept<F>(listener: TcpListener, handle: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(handle(stream));
        while connections.try_join_next().is_some() {}
    }
}

async fn requests<S>(upstream: Arc<Upstream>, on: Connection, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let upstream = Arc::clone(&upstream);
        async move { Ok::<_, Infallible>(answer(&upstream, on, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        // Agents of many tests give up many requests at once: that is no attack (CVE-2023-44487) here.
        .max_pending_accept_reset_streams(10_000)
        .max_concurrent_streams(1000);
    // How a connection ends is the client's affair.
    let ended = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
    drop(ended);
}
