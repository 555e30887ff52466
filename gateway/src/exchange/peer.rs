//! Target → a classified address → an `HttpPeer` in the vault's own pool.
//!
//! **Invariants.** What is dialled is the very address that was classified: no name is resolved after that. This
//! node's own listeners, control's feed and the operator's `upstream.deny` are never dialled, whatever a tenant allows.
//! TLS peers always have a name to verify.
//!
//! Not here: control's other ports, which this node does not know.

pub mod upgrade;
mod classify;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use ipnet::IpNet;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::ext::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions, Scheme as PeerScheme};
use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::service::Scheme;

use crate::client::connect::Target;
use crate::decision::policy::Permit;
use crate::error::{Error, Result};
use crate::snapshot::whereabouts::Whereabouts;

pub use self::classify::is_special;
use self::upgrade::{Connector, Gate};

/// How upstreams are found and spoken to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where names are dialled, before DNS, as in `/etc/hosts`. The addresses are classified like any other.
    pub hosts: HashMap<Host, Vec<Place>>,
    /// Where this node listens: never dialled. An unspecified address covers all of this machine's.
    pub own: Vec<SocketAddr>,
    /// What the operator never lets anybody dial, public addresses too. No tenant can open it.
    pub deny: Vec<IpNet>,
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
    /// The most bytes of an answer over HTTP/2 that wait for an agent that does not read (RFC 9113, 5.2). 65,535.
    pub h2_window: u32,
}

/// Where a name is dialled that the operator, and not DNS, knows. What the request names and what the certificate is
/// verified for stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The port; `None` is the request's own.
    pub port: Option<u16>,
}

impl Place {
    /// Reads `ADDRESS` or `ADDRESS:PORT`, an IPv6 address in brackets there. Port 0 is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self {
                address,
                port: None,
            });
        }
        let at: SocketAddr = text.parse().ok()?;
        (at.port() != 0).then(|| Self {
            address: at.ip(),
            port: Some(at.port()),
        })
    }
}

/// The most streams on one HTTP/2 connection to an upstream.
const H2_STREAMS_MAX: u32 = 100;

/// Bytes read from an upstream at once: a TLS record of the greatest size, or many small ones.
const READ_BYTES: usize = 16 * 1024;

/// The most addresses that one request tries.
const ADDRESSES_MAX: usize = 2;

/// Resolves, classifies and builds peers.
#[derive(Debug)]
pub struct Peers {
    config: Config,
    whereabouts: Arc<Whereabouts>,
    /// Absent if the system's configuration cannot be read: then the system resolves.
    resolver: Option<TokioResolver>,
}

impl Peers {
    /// Makes one with the system's name servers.
    #[must_use]
    pub fn new(config: Config, whereabouts: Arc<Whereabouts>) -> Self {
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
            whereabouts,
            resolver: resolver.ok(),
        }
    }

    /// Resolves the target's host and leaves out special-use addresses that the tenant may not reach, and those that
    /// nobody may. What is left is one address, or two: the second is for when the first does not answer.
    ///
    /// # Errors
    /// `dns_failed`, `address_refused`.
    pub async fn resolve(&self, permit: &Permit, target: &Target) -> Result<Vec<SocketAddr>> {
        let at = |address| Place {
            address,
            port: None,
        };
        let places = match &target.host {
            Host::Address(address) => vec![at(*address)],
            Host::Name(name) => match self.config.hosts.get(&target.host) {
                Some(places) => places.clone(),
                None => self.look_up(name).await?.into_iter().map(at).collect(),
            },
        };
        if places.is_empty() {
            return Err(Code::DnsFailed.into());
        }
        let permitted: Vec<_> = places
            .into_iter()
            .map(|place| {
                let port = place.port.unwrap_or(target.port);
                SocketAddr::new(place.address.to_canonical(), port)
            })
            .filter(|address| self.may_dial(permit, *address))
            .take(ADDRESSES_MAX)
            .collect();
        if permitted.is_empty() {
            return Err(Code::AddressRefused.into());
        }
        Ok(permitted)
    }

    fn may_dial(&self, permit: &Permit, address: SocketAddr) -> bool {
        let ip = address.ip();
        let allowed = &permit.tenant().private_allow;
        let denied = self.config.deny.iter().any(|range| range.contains(&ip));
        !denied
            && !self.is_ours(address)
            && (!is_special(ip) || allowed.iter().any(|range| range.contains(&ip)))
    }

    /// Whether this node or control's feed listens there.
    fn is_ours(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let at_port = |ours: &&SocketAddr| ours.port() == address.port();
        let own = self.config.own.iter().filter(at_port).any(|own| {
            let same = own.ip().to_canonical() == ip;
            same || own.ip().is_unspecified() && is_local(ip)
        });
        let known = self.whereabouts.known();
        // Control on this machine may listen at all of its addresses, whichever we use.
        let control = known.iter().filter(at_port).any(|control| {
            let same = control.ip() == ip;
            same || control.ip().is_loopback() && is_local(ip)
        });
        own || control
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

    /// A peer whose pool nobody but this vault shares. A request that asks for a WebSocket brings the gate of a
    /// connection of its own.
    ///
    /// # Errors
    /// `target_invalid` for TLS to an address literal.
    pub fn peer(
        &self,
        permit: &Permit,
        target: &Target,
        address: SocketAddr,
        upgrade: Option<&Arc<Gate>>,
    ) -> Result<HttpPeer> {
        let (scheme, sni) = match (target.scheme, &target.host) {
            // Pingora verifies nothing without a name, and takes an address for a DNS name.
            (Scheme::Https, Host::Address(_)) => return Err(Code::TargetInvalid.into()),
            (Scheme::Https, Host::Name(name)) => (PeerScheme::HTTPS, name.to_string()),
            (Scheme::Http, _) => (PeerScheme::HTTP, String::new()),
        };
        let kind = match (target.scheme, upgrade) {
            (_, Some(_)) => Kind::Upgrade,
            (Scheme::Http, None) => Kind::Http1,
            (Scheme::Https, None) => Kind::Negotiated,
        };
        let group_key = group(permit.vault().pool, kind);
        let mut options = self.options(kind, group_key);
        if let Some(gate) = upgrade {
            options.custom_l4 = Some(Arc::new(Connector {
                gate: gate.clone(),
                connect_timeout: self.config.connect_timeout,
            }));
        }
        Ok(HttpPeer {
            _address: PeerAddr::Inet(address),
            scheme,
            sni,
            proxy: None,
            client_cert_key: None,
            group_key,
            options,
        })
    }

    fn options(&self, kind: Kind, group_key: u64) -> PeerOptions {
        let mut options = PeerOptions::new();
        options.verify_cert = true;
        options.verify_hostname = true;
        options.alpn = match kind {
            Kind::Negotiated => ALPN::H2H1,
            Kind::Http1 | Kind::Upgrade => ALPN::H1,
        };
        options.connection_timeout = Some(self.config.connect_timeout);
        options.total_connection_timeout = Some(self.config.handshake_timeout);
        options.read_timeout = Some(self.config.read_timeout);
        options.write_timeout = Some(self.config.write_timeout);
        options.idle_timeout = Some(match kind {
            Kind::Negotiated | Kind::Http1 => self.config.idle_timeout,
            // Where the upstream did not switch: nobody can have the connection.
            Kind::Upgrade => Duration::ZERO,
        });
        options.max_h2_streams = H2_STREAMS_MAX as usize;
        // The connection takes as much for each of its streams: with less, some that are not read would hold up all others.
        options.h2_stream_window_size = Some(self.config.h2_window);
        let connection = self.config.h2_window.saturating_mul(H2_STREAMS_MAX);
        options.h2_connection_window_size = Some(connection.min(i32::MAX.unsigned_abs()));
        options.l4_buffer = Some(L4BufferSettings::new(READ_BYTES, 0));
        // Compared in `is_of_pool` on every use.
        options.upstream_tls_handshake_complete_hook =
            Some(Arc::new(move |_ssl| Some(Arc::new(PoolTag(group_key)))));
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

/// What a TLS connection carries to say whose it is: the group that it was made for.
#[derive(Debug, PartialEq, Eq)]
struct PoolTag(u64);

/// Whether a connection was made for this peer's group. Pingora finds connections by a hash of the peer; this is the
/// group itself. A connection without a tag is nobody's.
#[must_use]
pub fn is_of_pool(peer: &HttpPeer, tls: &SslDigest) -> bool {
    tls.extension.get() == Some(&PoolTag(peer.group_key))
}

/// What a connection is made for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// HTTP/2, or HTTP/1.1 if the upstream does not speak it.
    Negotiated,
    /// HTTP/1.1 in the clear.
    Http1,
    /// One WebSocket.
    Upgrade,
}

/// Pingora's pool key has neither ALPN nor the connector in it, so each kind has a group of its own. Never reused,
/// since `pool` is not.
const fn group(pool: u64, kind: Kind) -> u64 {
    let kind = match kind {
        Kind::Negotiated => 0,
        Kind::Http1 => 1,
        Kind::Upgrade => 2,
    };
    pool.wrapping_shl(2) | kind
}

/// Whether an address is one of this machine's: only such a one can be bound. Asked rarely: for a port that we listen
/// at on all addresses.
fn is_local(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests;
