//! Target → a classified address → an `HttpPeer` in the vault's own pool.
//!
//! **Invariants.** What is dialled is the very address that was classified: no name is resolved after that. This
//! node's own listeners are never dialled, whatever a tenant allows. TLS peers always have a name to verify.
//!
//! Not here: where control listens. It is refused as any special-use address is, unless the tenant may reach its range.

mod classify;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::ext::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions, Scheme as PeerScheme};
use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::service::Scheme;

use crate::client::connect::Target;
use crate::decision::policy::Permit;
use crate::error::{Error, Result};

pub use self::classify::is_special;

/// How upstreams are found and spoken to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses of names, before DNS, as in `/etc/hosts`. They are classified like any other.
    pub hosts: HashMap<Host, Vec<IpAddr>>,
    /// Where this node listens: never dialled. An unspecified address covers all of this machine's.
    pub own: Vec<SocketAddr>,
    /// How long one try of one name server may take; there are two. 2 s.
    pub dns_timeout: Duration,
    /// The most names whose answers are kept; the least used are dropped. 8,192.
    pub dns_cache_max: u64,
    /// How long TCP may take to connect. 3 s.
    pub connect_timeout: Duration,
    /// How long TCP and TLS together may take. 10 s.
    pub handshake_timeout: Duration,
    /// How long a read may wait: the silence between two parts of an answer. 10 min.
    pub read_timeout: Duration,
    /// How long a write may wait. 60 s.
    pub write_timeout: Duration,
    /// How long an unused connection is kept. 60 s.
    pub idle_timeout: Duration,
}

/// The most streams on one HTTP/2 connection to an upstream.
const H2_STREAMS_MAX: usize = 100;

/// Resolves, classifies and builds peers.
#[derive(Debug)]
pub struct Peers {
    config: Config,
    /// Absent if the system's configuration cannot be read: then the system resolves.
    resolver: Option<TokioResolver>,
}

impl Peers {
    /// Makes one with the system's name servers.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.timeout = config.dns_timeout;
            options.attempts = 2;
            options.cache_size = config.dns_cache_max;
            options.negative_max_ttl = Some(Duration::from_secs(1));
            builder.build()
        });
        Self {
            config,
            resolver: resolver.ok(),
        }
    }

    /// Resolves the target's host and refuses special-use addresses that the tenant may not reach, and our own.
    ///
    /// # Errors
    /// `dns_failed`, `address_refused`.
    pub async fn resolve(&self, permit: &Permit, target: &Target) -> Result<SocketAddr> {
        let addresses = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match self.config.hosts.get(&target.host) {
                Some(addresses) => addresses.clone(),
                None => self.look_up(name).await?,
            },
        };
        if addresses.is_empty() {
            return Err(Code::DnsFailed.into());
        }
        addresses
            .into_iter()
            .map(|address| SocketAddr::new(address.to_canonical(), target.port))
            .find(|address| self.may_dial(permit, *address))
            .ok_or_else(|| Code::AddressRefused.into())
    }

    fn may_dial(&self, permit: &Permit, address: SocketAddr) -> bool {
        let ip = address.ip();
        let allowed = &permit.tenant().private_allow;
        let ours = self.config.own.iter().any(|own| {
            let same = own.ip().to_canonical() == ip;
            own.port() == address.port() && (same || own.ip().is_unspecified() && is_local(ip))
        });
        !ours && (!is_special(ip) || allowed.iter().any(|range| range.contains(&ip)))
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>> {
        let Some(resolver) = &self.resolver else {
            let found = tokio::net::lookup_host((name, 0)).await;
            return found
                .map(|found| found.map(|address| address.ip()).collect())
                .map_err(|cause| Error::because(Code::DnsFailed, cause));
        };
        // With the dot it is one name, and never tried below this machine's own domain.
        let found = resolver.lookup_ip(format!("{name}.")).await;
        found
            .map(|found| found.iter().collect())
            .map_err(|cause| Error::because(Code::DnsFailed, cause))
    }

    /// A peer whose pool nobody but this vault shares.
    ///
    /// # Errors
    /// `target_invalid` for TLS to an address literal.
    pub fn peer(
        &self,
        permit: &Permit,
        target: &Target,
        address: SocketAddr,
        upgrade: bool,
    ) -> Result<HttpPeer> {
        let (scheme, sni) = match (target.scheme, &target.host) {
            // Pingora verifies nothing without a name, and takes an address for a DNS name.
            (Scheme::Https, Host::Address(_)) => return Err(Code::TargetInvalid.into()),
            (Scheme::Https, Host::Name(name)) => (PeerScheme::HTTPS, name.to_string()),
            (Scheme::Http, _) => (PeerScheme::HTTP, String::new()),
        };
        let h1 = upgrade || target.scheme == Scheme::Http;
        Ok(HttpPeer {
            _address: PeerAddr::Inet(address),
            scheme,
            sni,
            proxy: None,
            client_cert_key: None,
            group_key: group(permit.vault().pool, h1),
            options: self.options(h1),
        })
    }

    fn options(&self, h1: bool) -> PeerOptions {
        let mut options = PeerOptions::new();
        options.verify_cert = true;
        options.verify_hostname = true;
        options.alpn = if h1 { ALPN::H1 } else { ALPN::H2H1 };
        options.connection_timeout = Some(self.config.connect_timeout);
        options.total_connection_timeout = Some(self.config.handshake_timeout);
        options.read_timeout = Some(self.config.read_timeout);
        options.write_timeout = Some(self.config.write_timeout);
        options.idle_timeout = Some(self.config.idle_timeout);
        options.max_h2_streams = H2_STREAMS_MAX;
        options.h2_stream_window_size = Some(256 * 1024);
        options.h2_connection_window_size = Some(1024 * 1024);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            count: 3,
            #[cfg(target_os = "linux")]
            user_timeout: self.config.write_timeout,
        });
        options
    }
}

/// Pingora's pool key has no ALPN in it, so each has a group of its own. Never reused, since `pool` is not.
const fn group(pool: u64, h1: bool) -> u64 {
    pool.wrapping_shl(1) | h1 as u64
}

/// Whether an address is one of this machine's: only such a one can be bound. Asked rarely: for a port that we listen
/// at on all addresses.
fn is_local(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests;
