//! (Caller, Match) → [`Permit`] or a refusal. The only place that makes a permit.

use std::sync::Arc;

use sortie_proto::code::Code;
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
/// `session_revoked`, `token_expired`, `vault_mismatch`, `source_refused`, `tenant_disabled`, `vault_disabled`, `stale_lease`,
/// `role_missing`, `scope_excluded`; `vault_unavailable` when the tenant is not in memory.
pub fn decide(
    state: &State,
    caller: &Caller,
    found: Match,
    decision: DecisionId,
    now: i64,
) -> Result<Permit> {
    let claims = caller.claims();
    let tenant = state.tenant(claims.tenant);
    let known = Known {
        // Its session was just looked at: unless something was revoked since, this asks no table.
        revoked: caller
            .check(state, now)
            .is_err_and(|ended| ended.code() == Code::SessionRevoked),
        lease: state.vault_lease_holds(&found.vault),
        tenant: tenant.as_deref(),
        now,
    };
    judge(caller, &found, &known)?;
    Ok(Permit {
        decision,
        tenant: tenant.ok_or(Code::VaultUnavailable)?,
        vault: found.vault,
        service: found.service,
    })
}

/// What the decision needs to know of the state at one moment.
struct Known<'a> {
    revoked: bool,
    lease: bool,
    tenant: Option<&'a Tenant>,
    now: i64,
}

/// The decision itself: pure. Everything is refused that is not allowed here.
fn judge(caller: &Caller, found: &Match, known: &Known<'_>) -> std::result::Result<(), Code> {
    let claims = caller.claims();
    let vault = &found.vault.vault;
    let tenant = known.tenant.ok_or(Code::VaultUnavailable)?;
    let in_scope = claims.scope.is_empty()
        || found
            .service
            .as_ref()
            .is_some_and(|service| claims.scope.contains(&service.id));
    // Who calls comes first, so that a revoked caller learns nothing about what it asked for.
    let checks = [
        (caller.end() > known.now, Code::TokenExpired),
        (!known.revoked, Code::SessionRevoked),
        (
            caller.wrong().is_none(),
            caller.wrong().unwrap_or(Code::VaultMismatch),
        ),
        (tenant.id == claims.tenant, Code::VaultMismatch),
        (vault.tenant == claims.tenant, Code::VaultMismatch),
        (
            caller.vaults().any(|id| id == vault.id),
            Code::VaultMismatch,
        ),
        (tenant.enabled, Code::TenantDisabled),
        (vault.enabled, Code::VaultDisabled),
        (known.lease, Code::StaleLease),
        (
            // Every role includes having requests brokered.
            found.vault.role(claims.agent, known.now).is_some(),
            Code::RoleMissing,
        ),
        (in_scope, Code::ScopeExcluded),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, code)) => Err(code),
        None => Ok(()),
    }
}

#[cfg(test)]
impl Permit {
    /// A permit for the tests of later stages.
    pub(crate) fn for_test(
        tenant: Arc<Tenant>,
        vault: Arc<VaultState>,
        service: Option<Arc<Service>>,
    ) -> Self {
        Self {
            decision: DecisionId::generate(),
            tenant,
            vault,
            service,
        }
    }
}

#[cfg(test)]
mod tests;
