//! How connections are dialled: the URL, TLS with real verification, and connections outside the pools.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sortie_proto::secret::Secret;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Result};

/// Why the database's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUrl {
    /// The URL does not parse. Its text is left out: it may hold a password.
    #[error("database_url is neither a postgresql:// URL nor key=value pairs")]
    Url(#[source] tokio_postgres::Error),
    /// What the address asks for would go over a network unencrypted.
    #[error(
        "database_url says sslmode=disable or prefer for a host that is not this machine: say sslmode=require, or leave it out"
    )]
    PlainText,
    /// The certificate authority's file cannot be read.
    #[error("database_ca_file cannot be read as PEM certificates")]
    Authority(#[source] rustls_pki_types::pem::Error),
    /// The certificate cannot be trusted.
    #[error("database_ca_file holds a certificate that cannot be an authority")]
    Root(#[source] rustls::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Dials the database.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A connection's half that has to be driven.
pub(super) type Driver =
    Connection<Socket, <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream>;

impl Connector {
    /// Reads a `postgresql://` URL or `key=value` pairs. Over TCP there is TLS, unless the address names this machine and
    /// asks for none; the server's certificate is verified with the platform's roots, or with those of `authority`
    /// alone.
    ///
    /// # Errors
    /// [`InvalidUrl`] says which part.
    pub fn new(url: &str, authority: Option<&Path>) -> std::result::Result<Self, InvalidUrl> {
        let mut config: Config = url.parse().map_err(InvalidUrl::Url)?;
        require_tls(&mut config, url.contains("sslmode"))?;
        config
            .application_name("sortie-control")
            .connect_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(15))
            .tcp_user_timeout(Duration::from_secs(15));
        let mut roots = rustls::RootCertStore::empty();
        if let Some(path) = authority {
            for certificate in CertificateDer::pem_file_iter(path).map_err(InvalidUrl::Authority)? {
                let certificate = certificate.map_err(InvalidUrl::Authority)?;
                roots.add(certificate).map_err(InvalidUrl::Root)?;
            }
        } else {
            let _counts =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(InvalidUrl::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls),
        })
    }

    /// As [`Connector::new`], of an address that may hold a password.
    ///
    /// # Errors
    /// [`InvalidUrl`] says which part.
    pub fn secret(url: &Secret, authority: Option<&Path>) -> std::result::Result<Self, InvalidUrl> {
        Self::new(&String::from_utf8_lossy(url.expose()), authority)
    }

    /// What the URL said.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// Opens a connection outside the pools, as the owner. The driver must be polled for the client to move.
    ///
    /// # Errors
    /// `unavailable` if the database does not answer.
    pub async fn connect(&self) -> Result<(Client, Driver)> {
        // Boxed: dialling holds several kilobytes.
        Box::pin(self.config.connect(self.tls()))
            .await
            .map_err(Error::from)
    }
}

/// Over TCP the default, which falls back to plain text, becomes `require`; said in so many words it is refused but for
/// this machine. `said` is whether the address speaks of it; where it only seems to, the answer is the stricter one.
fn require_tls(config: &mut Config, said: bool) -> std::result::Result<(), InvalidUrl> {
    let sockets_only = config.get_hostaddrs().is_empty()
        && config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
    if sockets_only || config.get_ssl_mode() == SslMode::Require {
        return Ok(());
    }
    if !said {
        config.ssl_mode(SslMode::Require);
        return Ok(());
    }
    let local = config.get_hostaddrs().iter().all(IpAddr::is_loopback)
        && config.get_hosts().iter().all(is_this_machine);
    if local {
        Ok(())
    } else {
        Err(InvalidUrl::PlainText)
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests;
