//! Whether a session token entitles a gateway to a tenant or a vault, and the record of it.
//!
//! The token is verified as a gateway would, and then against the rows: control can look up what a gateway cannot.

use jiff::Timestamp;
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::token::{Claims, RefusedToken, VaultClaim};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Fleet;
use super::admit::Gateway;
use crate::database::gateways::{self, Act, Release};
use crate::database::sessions::SUBJECTS_HOLD;
use crate::database::{Transaction, changes};
use crate::error::{Error, Result};

/// Verifies a session token that a gateway shows: signature, end, session, generations, tenant; and that the gateway
/// was not shut out meanwhile.
///
/// # Errors
/// A code of the caller's part of the table: `token_malformed`, `token_invalid`, `token_expired`, `session_revoked`,
/// `tenant_disabled`; `permission_denied` for a gateway that is shut out.
async fn verify(tx: &Transaction, fleet: &Fleet, gateway: &Gateway, token: &str) -> Result<Claims> {
    // What a stream learns of a lock comes on a period: no secret may leave in between.
    if gateways::is_locked(tx, gateway.id()).await? {
        return Err(Error::new(Code::PermissionDenied).because("this gateway is shut out"));
    }
    let claims = fleet
        .keys()
        .verifying()
        .verify(token, Timestamp::now().as_second())
        .map_err(|refused| {
            let code = match refused {
                RefusedToken::Malformed => Code::TokenMalformed,
                RefusedToken::Signature => Code::TokenInvalid,
                RefusedToken::Expired => Code::TokenExpired,
            };
            Error::new(code).caused_by(refused)
        })?;
    // A token of a later epoch was minted by a database that this one is older than; one of an earlier epoch, before a
    // backup was restored, which may have forgotten that it was revoked.
    if claims.epoch != changes::head(tx).await?.last.epoch {
        return Err(Error::new(Code::SessionRevoked));
    }
    check_session(tx, &claims).await?;
    Ok(claims)
}

/// The session must be there and neither it, its user nor what it came from be revoked, no generation may have risen past the token's, and the tenant must be
/// enabled.
async fn check_session(tx: &Transaction, claims: &Claims) -> Result<()> {
    let sql = format!(
        "/* release.session */ SELECT t.generation, a.generation, t.enabled FROM sessions s \
         JOIN tenants t ON t.id = s.tenant_id JOIN agents a ON a.id = s.agent_id AND a.tenant_id = s.tenant_id \
         WHERE s.id = $1 AND s.tenant_id = $2 AND s.agent_id = $3 AND s.revoked_at IS NULL AND {SUBJECTS_HOLD}"
    );
    let (session, tenant, agent) = (claims.session, claims.tenant, claims.agent);
    let row = tx
        .query_opt(&sql, &[&session.uuid(), &tenant.uuid(), &agent.uuid()])
        .await?
        .ok_or(Error::new(Code::SessionRevoked))?;
    refuse_risen(&row, 0, claims.tenant_generation)?;
    refuse_risen(&row, 1, claims.agent_generation)?;
    if !row.try_get(2)? {
        return Err(Error::new(Code::TenantDisabled));
    }
    Ok(())
}

/// The vault must be the tenant's, enabled, and not revoked since the token was minted.
async fn check_vault(tx: &Transaction, tenant: TenantId, claim: &VaultClaim) -> Result<()> {
    let row = tx
        .query_opt(
            "/* release.vault */ SELECT generation, enabled FROM vaults WHERE id = $1 AND tenant_id = $2",
            &[&claim.id.uuid(), &tenant.uuid()],
        )
        .await?
        .ok_or(Error::new(Code::NotFound))?;
    refuse_risen(&row, 0, claim.generation)?;
    if !row.try_get(1)? {
        return Err(Error::new(Code::VaultDisabled));
    }
    Ok(())
}

/// A token that carries a lower generation than the row was revoked.
fn refuse_risen(row: &Row, at: usize, carried: u64) -> Result<()> {
    let generation = u64::try_from(row.try_get::<_, i64>(at)?).map_err(Error::internal)?;
    if generation > carried {
        return Err(Error::new(Code::SessionRevoked));
    }
    Ok(())
}

/// Verifies that a token is of a tenant and still good for one of its vaults: then the gateway has work of that tenant.
///
/// # Errors
/// As [`release`]; `permission_denied` if the session is of another tenant.
pub async fn serves(
    tx: &Transaction,
    fleet: &Fleet,
    gateway: &Gateway,
    (tenant, token): (TenantId, &str),
) -> Result<Claims> {
    let claims = verify(tx, fleet, gateway, token).await?;
    if claims.tenant != tenant {
        return Err(Error::new(Code::PermissionDenied).because("the session is of another tenant"));
    }
    let mut refused = Error::new(Code::VaultMismatch);
    for claim in &claims.vaults {
        match check_vault(tx, tenant, claim).await {
            Ok(()) => return Ok(claims),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Verifies that a token is for a vault, and records that the gateway may hold it until the token ends.
///
/// # Errors
/// `token_malformed`, `token_invalid`, `token_expired`, `session_revoked`, `tenant_disabled`, `vault_disabled`;
/// `vault_mismatch` if the session does not have the vault; `not_found` if it is gone; `permission_denied` for a gateway
/// that is shut out.
pub async fn release(
    fleet: &Fleet,
    gateway: &Gateway,
    vault: VaultId,
    token: &str,
) -> Result<Release> {
    let tx = fleet.database().system().await?;
    let claims = verify(&tx, fleet, gateway, token).await?;
    let claim = claims
        .vaults
        .iter()
        .find(|claim| claim.id == vault)
        .ok_or(Error::new(Code::VaultMismatch))?;
    check_vault(&tx, claims.tenant, claim).await?;
    let release = Release {
        gateway: gateway.id(),
        tenant: claims.tenant,
        vault,
        session: claims.session,
        until: claims.exp,
    };
    if gateways::release(&tx, &release).await? {
        let act = Act {
            gateway: gateway.id(),
            action: "vault.release",
            subject: vault.to_string(),
            tenant: Some(claims.tenant),
            vault: Some(vault),
            session: Some(claims.session),
        };
        gateways::record(&tx, &act).await?;
    }
    tx.commit().await?;
    Ok(release)
}

/// The tenants whose settings and revocations a gateway may have from the start: those of which it holds a vault, or
/// held one so lately that something of them may be open on it.
///
/// # Errors
/// As the database's.
pub async fn entitled(fleet: &Fleet, gateway: &Gateway) -> Result<Vec<TenantId>> {
    let tx = fleet.database().system().await?;
    let tenants = gateways::entitled(&tx, gateway.id(), Timestamp::now().as_second()).await?;
    tx.commit().await?;
    Ok(tenants)
}

/// Reads an id of a message.
///
/// # Errors
/// `invalid_argument` if it is not 16 bytes.
pub fn id<T: From<Uuid>>(bytes: &[u8], field: &'static str) -> Result<T> {
    Uuid::from_slice(bytes)
        .map(T::from)
        .map_err(|error| Error::invalid(field, "is not 16 bytes").caused_by(error))
}
