//! The demo upstream: an API with a certificate of its own authority, in this process.
//!
//! It tells what it received, with each credential as the fingerprint of its value only; `/echo` is the careless API
//! that sends everything back, so that redaction shows; `/sse` streams.
//! Invariants: it listens on loopback; its key lives in memory and lasts as long as the process.

mod answer;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use crate::error::{Error, Result};
use crate::tasks::Tasks;

pub(super) use answer::fingerprint;

/// How many connections are served at once; more are closed.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The server; it stops when it is dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    _tasks: Tasks,
}

impl Upstream {
    /// Starts it.
    pub(super) async fn start(port: u16, authority: &Authority) -> Result<Self> {
        let tls = tls(authority)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|source| Error::system("listen for the demo upstream", source))?;
        let mut tasks = Tasks::default();
        tasks.start(serve(listener, tls));
        Ok(Self { _tasks: tasks })
    }
}

fn tls(authority: &Authority) -> Result<TlsAcceptor> {
    let key = PrivateKeyDer::Pkcs8(authority.key().into());
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![authority.certificate().clone()], key)
        .map_err(|error| {
            Error::failed(
                format!("the demo upstream's certificate cannot be used: {error}"),
                "This is a defect; `sortie dev --no-demo` does without.",
            )
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    let mut connections = Tasks::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if connections.running() < CONNECTIONS_MAX => {
                connections.start(connection(stream, tls.clone()));
            }
            Ok(_) => {}
            // Out of descriptors, most likely: waiting lets some be given back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A client that breaks off is its own affair: nothing is reported.
async fn connection(stream: TcpStream, tls: TlsAcceptor) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await else {
        return;
    };
    let server = auto::Builder::new(TokioExecutor::new());
    let served = server.serve_connection(TokioIo::new(stream), service_fn(answer::answer));
    drop(served.await);
}

#[cfg(test)]
mod tests;
