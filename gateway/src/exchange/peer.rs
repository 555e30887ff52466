//! Target → a classified address → an `HttpPeer` in the vault's own pool.

use std::net::SocketAddr;

use pingora_core::upstreams::peer::HttpPeer;

use crate::client::connect::Target;
use crate::decision::policy::Permit;
use crate::error::Result;

/// Resolves, classifies and builds peers.
#[derive(Debug)]
pub struct Peers {}

impl Peers {
    /// Resolves the target's host and refuses special-use addresses that the tenant may not reach, and our own.
    ///
    /// # Errors
    /// `dns_failed`, `address_refused`.
    pub async fn resolve(&self, permit: &Permit, target: &Target) -> Result<SocketAddr> {
        let _ = (permit, target);
        todo!()
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
        let _ = (permit, target, address, upgrade);
        todo!()
    }
}
