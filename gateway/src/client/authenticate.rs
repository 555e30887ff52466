//! `Proxy-Authorization` → [`Caller`].

use std::net::IpAddr;
use std::sync::Arc;

use sortie_proto::id::VaultId;
use sortie_proto::secret::Secret;
use sortie_proto::token::Claims;

/// Proof that a session token was verified. Made only in this module.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the token says.
    claims: Arc<Claims>,
    /// The token itself: control asks for it when a vault is subscribed to.
    token: Arc<Secret>,
    /// The vault named in the proxy credentials, already checked to be one of the session's.
    hint: Option<VaultId>,
    /// The agent's address.
    source: IpAddr,
}

impl Caller {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// The token, for the subscription to a vault and for the intermediate of its tenant.
    #[must_use]
    pub fn token(&self) -> &Arc<Secret> {
        &self.token
    }

    /// The agent's address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// The vaults to search, in order: the hinted one alone, or all of the session's.
    pub fn vaults(&self) -> impl Iterator<Item = VaultId> + '_ {
        self.claims
            .vaults
            .iter()
            .map(|vault| vault.id)
            .filter(|id| self.hint.is_none_or(|hint| hint == *id))
    }

    /// A caller for the tests of later stages.
    #[cfg(test)]
    pub(crate) fn for_test(claims: Claims) -> Self {
        Self {
            claims: Arc::new(claims),
            token: Arc::new(Secret::new(b"sortie_ses_test".to_vec())),
            hint: None,
            source: IpAddr::from([127, 0, 0, 1]),
        }
    }
}
