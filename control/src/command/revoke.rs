//! Revocations that are about no object of their own: a user, what came from a session, a whole tenant.
//!
//! Users and sessions share one generation a tenant, which each such revocation raises; tokens carry the one that held
//! when they were minted. So neither has to be known before it is revoked, and no clock is asked.

use serde_json::json;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::Object;
use sortie_proto::code::Code;
use sortie_proto::wire::v1;

use super::sessions::{id, own};
use super::{Context, Draft, Wait, last_token_ends, not_found, record_in};
use crate::access::{Authorized, Manage, Sessions};
use crate::database::{Transaction, changes, sessions, tenants};
use crate::error::{Error, Result};

/// The most sessions, users and parents of a tenant that are revoked while tokens of theirs may not have ended: every
/// gateway that serves it holds them all.
const ENTRIES_MAX: i64 = 100_000;

/// Refuses one more where a tenant has as many entries as it may.
pub(super) async fn check_room<A>(tx: &Transaction, by: &Authorized<A>) -> Result<()> {
    if changes::live_entries(tx, by.tenant(), ENTRIES_MAX).await? < ENTRIES_MAX {
        return Ok(());
    }
    let why = "100,000 sessions and users are revoked whose tokens have not ended. Revoke the agent or the vault.";
    Err(Error::new(Code::ResourceExhausted).because(why))
}

/// Refuses the tokens of all sessions of a user, or of all that came from a session, that were minted until now.
///
/// # Errors
/// `invalid_argument`, `permission_denied` for an agent that names a user, `not_found` for a session that the caller may
/// not see, `resource_exhausted`, or as the database's.
pub async fn sessions(
    cx: &Context,
    by: &Authorized<Sessions>,
    request: v1::RevokeSessionsRequest,
) -> Result<v1::Revoked> {
    by.may_mint()?;
    let wait = Wait::read(request.wait_seconds)?;
    if request.user.is_empty() == request.parent.is_empty() {
        let message = "must be given, or else `parent`, and not both";
        return Err(Error::invalid("user", message));
    }
    // A user's sessions may be other agents'.
    if by.agent().is_some() && !request.user.is_empty() {
        return Err(Error::new(Code::PermissionDenied));
    }
    let tx = cx.database.tenant(by.tenant()).await?;
    let mut draft = Draft {
        subject: request.user.clone(),
        ..Draft::default()
    };
    let subject = if request.parent.is_empty() {
        draft.action = "session.revoke_user";
        let generation = tenants::raise_subjects(&tx, by.tenant()).await?;
        RevokedSubject::User(request.user, generation)
    } else {
        let row = sessions::lock(&tx, by.tenant(), id(&request.parent)?).await?;
        let row = own(by, row)?;
        draft.action = "session.revoke_children";
        draft.subject = row.id.to_string();
        (draft.session, draft.agent) = (Some(row.id), Some(row.agent));
        let generation = tenants::raise_subjects(&tx, by.tenant()).await?;
        RevokedSubject::Parent(row.id, generation)
    };
    let revocation = Revocation {
        tenant: by.tenant(),
        subject,
        expires_at: last_token_ends(),
    };
    if !changes::is_revoked(&tx, &revocation).await? {
        check_room(&tx, by).await?;
    }
    changes::revoke(&tx, &revocation).await?;
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?;
    Ok(wait.answer(cx, (by.tenant(), None), revision).await)
}

/// Refuses every token of a tenant that is out, and waits for gateways as the request says. Keys stay good: new sessions
/// may be minted at once.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn tenant(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::RevokeTenantRequest,
) -> Result<v1::Revoked> {
    let wait = Wait::read(request.wait_seconds)?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = tenants::raise(&tx, by.tenant())
        .await?
        .ok_or_else(not_found)?;
    let tenant = row.tenant;
    let revocation = Revocation {
        tenant: tenant.id,
        subject: RevokedSubject::Tenant(tenant.generation),
        expires_at: last_token_ends(),
    };
    let draft = Draft {
        action: "tenant.revoke",
        subject: tenant.name.clone(),
        detail: json!({ "generation": tenant.generation }),
        ..Draft::default()
    };
    changes::revoke(&tx, &revocation).await?;
    changes::publish(&tx, Some(tenant.id), None, &Object::Tenant(tenant)).await?;
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?;
    Ok(wait.answer(cx, (by.tenant(), None), revision).await)
}
