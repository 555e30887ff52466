//! TLS to the proxy itself: the port's own certificate, and the handshake with it.
//!
//! Certificate and key are read again when their files change. A pair that does not fit is left aside, and the one before
//! it serves on: a certificate that is being replaced is written in two steps.
//! Invariant: nothing is said about who calls. TLS here hides tokens from the network, and that is all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use boring::error::ErrorStack;
use boring::pkey::{PKey, Private};
use boring::ssl::{SslAcceptor, SslRef};
use boring::x509::X509;
use pingora_core::listeners::TlsAccept;
use pingora_core::protocols::tls::server::handshake_with_callback;
use sha2::{Digest as _, Sha256};
use sortie_proto::secret::Secret;

use super::super::intercept;
use super::super::transport::Tunnel;
use super::{Behind, Frontend};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(10);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unread(PathBuf, #[source] io::Error),
    /// It is no certificate.
    #[error("{} holds no PEM certificate", .0.display())]
    Certificate(PathBuf),
    /// It is no key.
    #[error("{} holds no PEM private key without a passphrase", .0.display())]
    Key(PathBuf),
    /// They do not belong together.
    #[error("{} is not the key of the certificate", .0.display())]
    Mismatch(PathBuf, #[source] ErrorStack),
    /// BoringSSL refuses its own configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] ErrorStack),
}

/// The port's certificate and key, as they are now.
pub struct Secure {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    acceptor: SslAcceptor,
    /// Of what was read.
    digest: [u8; 32],
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What stands in the two files.
struct Files {
    certificate: Vec<u8>,
    key: Secret,
}

impl Secure {
    /// Reads a certificate, with those that lead from it to a root behind it, and its key: PEM files (RFC 7468).
    ///
    /// # Errors
    /// Every [`Error`] that was found.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, Vec<Error>> {
        let files = Files::read(&certificate, &key)?;
        let acceptor = files.acceptor(&certificate, &key)?;
        Ok(Self {
            current: ArcSwap::from_pointee(Loaded {
                acceptor,
                digest: files.digest(),
            }),
            certificate,
            key,
        })
    }

    /// Reads the files again. Says whether they hold another pair, which is used from here on.
    ///
    /// # Errors
    /// As [`Self::load`]; the pair that was used before is used on.
    pub fn reload(&self) -> Result<bool, Vec<Error>> {
        let files = Files::read(&self.certificate, &self.key)?;
        let digest = files.digest();
        if digest == self.current.load().digest {
            return Ok(false);
        }
        let acceptor = files.acceptor(&self.certificate, &self.key)?;
        self.current.store(Arc::new(Loaded { acceptor, digest }));
        Ok(true)
    }

    fn acceptor(&self) -> SslAcceptor {
        self.current.load().acceptor.clone()
    }
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, Vec<Error>> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| Error::Unread(path.to_owned(), error))
        };
        match (read(certificate), read(key).map(Secret::new)) {
            (Ok(certificate), Ok(key)) => Ok(Self { certificate, key }),
            (certificate, key) => Err([certificate.err(), key.err()]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(&self.certificate);
        digest.update(self.key.expose());
        digest.finalize().into()
    }

    fn acceptor(&self, certificate: &Path, key: &Path) -> Result<SslAcceptor, Vec<Error>> {
        let chain = X509::stack_from_pem(&self.certificate)
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| Error::Certificate(certificate.to_owned()));
        // What BoringSSL says of a key is dropped: it may tell of the file's content.
        let private = PKey::private_key_from_pem(self.key.expose())
            .map_err(|_unread| Error::Key(key.to_owned()));
        match (chain, private) {
            (Ok(chain), Ok(private)) => {
                acceptor(&chain, &private, key).map_err(|error| vec![error])
            }
            (chain, private) => Err([chain.err(), private.err()].into_iter().flatten().collect()),
        }
    }
}

fn acceptor(chain: &[X509], private: &PKey<Private>, key: &Path) -> Result<SslAcceptor, Error> {
    let mismatch = |error| Error::Mismatch(key.to_owned(), error);
    // A client that takes either may be one of a base URL that wants a WebSocket, which is HTTP/1.1. Who wants many
    // tunnels in one connection offers HTTP/2 alone.
    let mut builder = intercept::builder(b"\x08http/1.1\x02h2")?;
    let mut chain = chain.iter();
    if let Some(leaf) = chain.next() {
        builder.set_certificate(leaf)?;
    }
    for issuer in chain {
        builder.add_extra_chain_cert(issuer.clone())?;
    }
    builder.set_private_key(private).map_err(mismatch)?;
    builder.check_private_key().map_err(mismatch)?;
    Ok(builder.build())
}

/// Looks at the files from time to time, and uses what changed.
pub async fn follow(secure: Arc<Secure>) {
    let mut told = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        let reading = secure.clone();
        // The files may be on a file system that hangs.
        let Ok(read) = tokio::task::spawn_blocking(move || reading.reload()).await else {
            continue;
        };
        match read {
            Ok(changed) => {
                told = false;
                if changed {
                    tracing::info!(certificate = %secure.certificate.display(), "the port's certificate was replaced");
                }
            }
            Err(problems) if !told => {
                told = true;
                for error in &problems {
                    tracing::error!(%error, "the port's new certificate cannot be used: the one before it serves on");
                }
            }
            Err(_told_already) => {}
        }
    }
}

/// The certificate stands in the acceptor.
struct Shed;

#[async_trait]
impl TlsAccept for Shed {
    async fn certificate_callback(&self, ssl: &mut SslRef) {
        sortie_sys::shed_handshake_config(ssl);
    }
}

/// Does the handshake on a connection whose first byte opens one. None when it fails, or when the port has no
/// certificate: the client has been told by an alert.
pub(super) async fn accept<B: Behind>(
    frontend: &Frontend<B>,
    tunnel: Tunnel,
) -> Option<Box<Tunnel>> {
    // The acceptor of tunnels has no certificate: it reads what the client offers, and ends with a fatal alert.
    let (acceptor, failed) = match &frontend.secure {
        Some(secure) => (secure.acceptor(), &frontend.metrics.handshakes_failed),
        None => (frontend.acceptor.clone(), &frontend.metrics.tls_refused),
    };
    let handshake = handshake_with_callback(&acceptor, tunnel, &Shed);
    match tokio::time::timeout(frontend.limits.handshake_deadline, handshake).await {
        Ok(Ok(stream)) => Some(Box::new(Tunnel::tls(stream))),
        // Pingora's error is dropped unread.
        Ok(Err(_)) | Err(_) => {
            failed.inc();
            None
        }
    }
}

#[cfg(test)]
mod tests;
