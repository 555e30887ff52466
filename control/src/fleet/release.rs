//! Whether a session token entitles a gateway to a tenant or a vault, and the record of it.
//!
//! The token is verified as a gateway would, and then against the rows: control can look up what a gateway cannot.

use jiff::Timestamp;
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::token::{Claims, RefusedToken};
use uuid::Uuid;

use super::Fleet;
use super::admit::Gateway;
use crate::database::gateways::{self, Act, Release};
use crate::database::{Transaction, changes};
use crate::error::{Error, Result};

/// Verifies a session token: signature, end, session, generations.
///
/// # Errors
/// A code of the caller's part of the table: `token_malformed`, `token_invalid`, `token_expired`, `session_revoked`.
pub async fn verify(tx: &Transaction, fleet: &Fleet, token: &str) -> Result<Claims> {
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
    // A token of a later epoch was minted by a database that this one is older than.
    if claims.epoch > changes::head(tx).await?.last.epoch {
        return Err(Error::new(Code::SessionRevoked));
    }
    check_rows(tx, &claims).await?;
    Ok(claims)
}

/// The session must be there and not revoked, and no generation may have risen past the token's.
async fn check_rows(tx: &Transaction, claims: &Claims) -> Result<()> {
    let row = tx
        .query_opt(
            "/* release.session */ SELECT t.generation, a.generation FROM sessions s \
             JOIN tenants t ON t.id = s.tenant_id JOIN agents a ON a.id = s.agent_id AND a.tenant_id = s.tenant_id \
             WHERE s.id = $1 AND s.tenant_id = $2 AND s.agent_id = $3 AND s.revoked_at IS NULL",
            &[&claims.session.uuid(), &claims.tenant.uuid(), &claims.agent.uuid()],
        )
        .await?;
    let revoked = || Error::new(Code::SessionRevoked);
    let row = row.ok_or_else(revoked)?;
    let risen = |at: usize, carried: u64| -> Result<bool> {
        Ok(u64::try_from(row.try_get::<_, i64>(at)?).map_err(Error::internal)? > carried)
    };
    if risen(0, claims.tenant_generation)? || risen(1, claims.agent_generation)? {
        return Err(revoked());
    }
    Ok(())
}

/// Verifies that a token is for a vault, and records that the gateway may hold it until the token ends.
///
/// # Errors
/// As [`verify`]; `vault_mismatch` if the session does not have the vault.
pub async fn release(
    fleet: &Fleet,
    gateway: &Gateway,
    vault: VaultId,
    token: &str,
) -> Result<Release> {
    let tx = fleet.database().system().await?;
    let claims = verify(&tx, fleet, token).await?;
    let claim = claims
        .vaults
        .iter()
        .find(|claim| claim.id == vault)
        .ok_or(Error::new(Code::VaultMismatch))?;
    let row = tx
        .query_opt(
            "/* release.vault */ SELECT generation FROM vaults WHERE id = $1 AND tenant_id = $2",
            &[&vault.uuid(), &claims.tenant.uuid()],
        )
        .await?
        .ok_or(Error::new(Code::NotFound))?;
    if u64::try_from(row.try_get::<_, i64>(0)?).map_err(Error::internal)? > claim.generation {
        return Err(Error::new(Code::SessionRevoked));
    }
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

/// The tenants whose settings a gateway may have from the start: those of which it holds a vault.
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
