//! (Caller, Match) → [`Permit`] or a refusal. The only place that makes a permit.

use std::sync::Arc;

use sortie_proto::id::DecisionId;
use sortie_proto::service::Service;
use sortie_proto::tenant::Tenant;

use super::matching::Match;
use crate::client::authenticate::Caller;
use crate::error::Result;
use crate::snapshot::{State, VaultState};

/// Proof that a request may be exchanged. `exchange` takes it by reference: no secret reaches a request without one.
#[derive(Debug, Clone)]
pub struct Permit {
    decision: DecisionId,
    tenant: Arc<Tenant>,
    vault: Arc<VaultState>,
    service: Option<Arc<Service>>,
}

impl Permit {
    /// What an agent quotes when it asks why.
    #[must_use]
    pub const fn decision(&self) -> DecisionId {
        self.decision
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The vault that decided.
    #[must_use]
    pub fn vault(&self) -> &Arc<VaultState> {
        &self.vault
    }

    /// The service; `None` passes without credentials.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        self.service.as_ref()
    }
}

/// Decides about a request. `now` is seconds since the Unix epoch, for grants that end.
///
/// # Errors
/// `session_revoked`, `token_expired`, `tenant_disabled`, `vault_disabled`, `stale_lease`, `role_missing`,
/// `scope_excluded`.
pub fn decide(
    state: &State,
    caller: &Caller,
    found: Match,
    decision: DecisionId,
    now: i64,
) -> Result<Permit> {
    let _ = (state, caller, found, decision, now);
    todo!()
}
