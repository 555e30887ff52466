//! TLS of the port that gateways connect to: 1.3 only, client certificates of the cluster's authority, no tickets.
//!
//! A resumed session would skip the check of the client's certificate, so none can be resumed. Handshakes run beside
//! each other, each with a deadline; how many at once is bounded, and so are the connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use super::connection::Connection;
use crate::error::{Error, Result};
use crate::seal::Keys;
use crate::tasks::Tasks;

/// A connection whose handshake is done.
pub(super) type Accepted = io::Result<Connection<TlsStream<TcpStream>>>;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How many handshakes run at once; further connections wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// How many connections are open at once; further ones wait in the kernel's queue. A gateway has one or two.
const CONNECTIONS: usize = 8_192;
/// How often this server's certificate is made anew: long before its 30 days are over.
const RENEW: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub(super) struct Acceptor {
    keys: Keys,
    hosts: Vec<String>,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    tls: TlsAcceptor,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Acceptor {
    pub(super) fn new(keys: Keys, hosts: Vec<String>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(keys.authority().certificate().clone())
            .map_err(Error::internal)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                // `Enrol` has no certificate yet; every other call asks for it in `fleet::admit`.
                .allow_unauthenticated()
                .build()
                .map_err(Error::internal)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(certified(
            &keys, &hosts, &provider,
        )?)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::internal)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            keys,
            hosts,
            provider,
            current,
        })
    }

    /// Makes this server's certificate anew each day.
    pub(super) async fn renew(self) {
        loop {
            sleep(RENEW).await;
            match certified(&self.keys, &self.hosts, &self.provider) {
                Ok(fresh) => self.current.0.store(Arc::new(fresh)),
                Err(error) => error.log("making this server's certificate anew"),
            }
        }
    }

    /// Accepts until the process stops.
    pub(super) fn accept(self, listener: TcpListener, tasks: &Tasks) -> ReceiverStream<Accepted> {
        let (done, incoming) = mpsc::channel(HANDSHAKES);
        let spawner = tasks.clone();
        tasks.spawn_until_stop("accept gateways", async move {
            let slots = Arc::new(Semaphore::new(HANDSHAKES));
            let connections = Arc::new(Semaphore::new(CONNECTIONS));
            loop {
                let Ok(connection) = Arc::clone(&connections).acquire_owned().await else {
                    return;
                };
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of descriptors, mostly: trying again at once would spin.
                        tracing::warn!(%error, "cannot accept a gateway");
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (tls, done) = (self.tls.clone(), done.clone());
                spawner.spawn_until_stop("handshake", async move {
                    let _slot = slot;
                    handshake(&tls, stream, connection, &done).await;
                });
            }
        });
        ReceiverStream::new(incoming)
    }
}

async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
    connection: OwnedSemaphorePermit,
    done: &mpsc::Sender<Accepted>,
) {
    // Frames are small and wanted at once; a socket that refuses the option works all the same.
    let _nodelay = stream.set_nodelay(true);
    match timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let connection = Connection::new(stream, connection, HANDSHAKE_MAX);
            drop(done.send(Ok(connection)).await);
        }
        Ok(Err(error)) => tracing::info!(%error, "a gateway's TLS handshake failed"),
        Err(_late) => tracing::info!("a gateway's TLS handshake took too long"),
    }
}

fn certified(keys: &Keys, hosts: &[String], provider: &CryptoProvider) -> Result<CertifiedKey> {
    let (certificate, pair) = keys.authority().server_certificate(hosts)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = provider
        .key_provider
        .load_private_key(private)
        .map_err(Error::internal)?;
    Ok(CertifiedKey::new(
        vec![certificate, keys.authority().certificate().clone()],
        key,
    ))
}
