//! What the request path asks of control, on its cold path only: a vault that is not in memory, and a signature for
//! this node's intermediate of a tenant.

use std::sync::Arc;

use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::secret::Secret;
use sortie_proto::token::Claims;

use super::VaultState;
use crate::error::Result;

/// A tenant's intermediate for a key that this node made.
#[derive(Debug, Clone)]
pub struct SignedIntermediate {
    /// The intermediate, DER.
    pub certificate: Vec<u8>,
    /// The tenant's root, DER.
    pub root: Vec<u8>,
}

/// The way to control. Usable from any runtime; the connection itself lives in the follow service.
#[derive(Debug, Clone)]
pub struct Link {}

impl Link {
    /// A vault of a session: from memory, or subscribed to with the session's token. Also remembers the token, so that
    /// the release can be prolonged before it ends; that costs no call.
    ///
    /// # Errors
    /// `vault_unavailable` when control does not answer in time or refuses.
    pub async fn vault(
        &self,
        id: VaultId,
        claims: &Claims,
        token: &Arc<Secret>,
    ) -> Result<Arc<VaultState>> {
        let _ = (id, claims, token);
        todo!()
    }

    /// Has this node's intermediate of a tenant signed.
    ///
    /// # Errors
    /// `vault_unavailable` when control does not answer in time or refuses.
    pub async fn sign_intermediate(
        &self,
        tenant: TenantId,
        token: &Secret,
        certificate_request: Vec<u8>,
    ) -> Result<SignedIntermediate> {
        let _ = (tenant, token, certificate_request);
        todo!()
    }
}
