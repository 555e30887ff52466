//! Whose certificate a gateway may show: one of the system's roots, and of a file that was named.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Fault;
use crate::error::{Error, Result};

/// Verifies a gateway.
pub(crate) struct Trust {
    tunnels: TlsConnector,
    requests: TlsConnector,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Tunnels: HTTP/2. A gateway prefers HTTP/1.1 of those who offer either, so nothing else is offered.
    Tunnels,
    /// A request in absolute form, which a gateway takes over HTTP/1.1 only.
    Request,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust(…)")
    }
}

impl Trust {
    /// The file's authorities, or the system's if there is none.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Config`] if it holds no certificate.
    pub(crate) fn new(file: Option<&Path>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(path) => add(&mut roots, path)?,
            None => {
                let _counts =
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(Error::Config(
                "there is no certificate to trust a gateway by: name a file with --gateway-ca"
                    .to_owned(),
            ));
        }
        let mut requests = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        requests.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tunnels = requests.clone();
        tunnels.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            tunnels: TlsConnector::from(Arc::new(tunnels)),
            requests: TlsConnector::from(Arc::new(requests)),
        })
    }

    /// TLS on a connection.
    pub(super) async fn greet(
        &self,
        host: &str,
        purpose: Purpose,
        stream: TcpStream,
    ) -> std::result::Result<TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(host.to_owned()).or(Err(Fault::Untrusted))?;
        let connector = match purpose {
            Purpose::Tunnels => &self.tunnels,
            Purpose::Request => &self.requests,
        };
        connector.connect(name, stream).await.map_err(fault)
    }
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<()> {
    let odd = || Error::Config(format!("{} holds no certificate", path.display()));
    let text = std::fs::read(path).map_err(|source| Error::file("read", path, source))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.or(Err(odd()))?;
        roots.add(certificate).or(Err(odd()))?;
    }
    Ok(())
}

/// Whether it speaks HTTP/2.
pub(super) fn is_h2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

fn fault(error: io::Error) -> Fault {
    let inner = error
        .into_inner()
        .and_then(|inner| inner.downcast::<rustls::Error>().ok());
    let refused = rustls::AlertDescription::NoApplicationProtocol;
    match inner.as_deref() {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Untrusted,
        Some(rustls::Error::AlertReceived(alert)) if *alert == refused => Fault::NoHttp2,
        Some(_) | None => Fault::Passing,
    }
}
