//! The tables `credentials` and `credential_versions`.

use std::collections::HashMap;

use jiff::Timestamp;
use sortie_proto::credential::Credential;
use sortie_proto::id::{CredentialId, TenantId, VaultId};
use sortie_proto::sealed::{KeyRef, Sealed};
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::column::{id, small, small_signed};
use super::{Reference, Transaction};
use crate::error::{Error, Result};

/// A credential as it stands in the database, sealed.
#[derive(Debug)]
pub struct CredentialRow {
    /// What gateways see.
    pub credential: Credential,
    /// For display; what binds is sealed.
    pub destinations: Vec<v1::DestinationSpec>,
    /// When its first version was made.
    pub created_at: Timestamp,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// When it was revoked, if it has no new version since.
    pub revoked_at: Option<Timestamp>,
}

/// A sealed value from its columns, the key's id and version first; `None` where it was erased.
///
/// # Errors
/// `internal` for a row that means nothing.
pub fn sealed(
    (key, version): (Uuid, i32),
    nonce: &[u8],
    ciphertext: Vec<u8>,
) -> Result<Option<Sealed>> {
    if ciphertext.is_empty() {
        return Ok(None);
    }
    Ok(Some(Sealed {
        key: KeyRef {
            id: key.into(),
            version: u32::try_from(version).map_err(Error::internal)?,
        },
        nonce: nonce.try_into().map_err(Error::internal)?,
        ciphertext,
    }))
}

fn read(row: &Row) -> Result<CredentialRow> {
    let key = (row.try_get("key_id")?, row.try_get("key_version")?);
    let sealed = sealed(key, row.try_get("nonce")?, row.try_get("ciphertext")?)?;
    let revoked_at: Option<Timestamp> = row.try_get("revoked_at")?;
    Ok(CredentialRow {
        revoked_at: revoked_at.filter(|_| sealed.is_none()),
        credential: Credential {
            id: id(row, "id")?,
            vault: id(row, "vault_id")?,
            name: row.try_get("name")?,
            placeholder: row.try_get("placeholder")?,
            version: small(row, "version")?,
            sealed,
        },
        destinations: row.try_get::<_, Json<_>>("destinations")?.0,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// Adds a credential, or puts a new version in the place of the one before, which is kept unless it was revoked. The
/// caller holds the vault's lock.
///
/// # Errors
/// As the database's.
pub async fn put(
    tx: &Transaction,
    tenant: TenantId,
    (credential, sealed): (&Credential, &Sealed),
    destinations: &[v1::DestinationSpec],
) -> Result<CredentialRow> {
    tx.execute(
        "/* credentials.keep */ INSERT INTO credential_versions (credential_id, tenant_id, vault_id, version, \
         key_id, key_version, nonce, ciphertext, destinations) SELECT id, tenant_id, vault_id, version, key_id, \
         key_version, nonce, ciphertext, destinations FROM credentials WHERE tenant_id = $1 AND id = $2 AND ciphertext <> ''",
        &[&tenant.uuid(), &credential.id.uuid()],
    )
    .await?;
    let row = tx
        .query_one(
            "/* credentials.put */ INSERT INTO credentials (id, tenant_id, vault_id, name, placeholder, version, \
             key_id, key_version, nonce, ciphertext, destinations) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
             $10, $11) ON CONFLICT (id) DO UPDATE SET placeholder = excluded.placeholder, \
             version = excluded.version, key_id = excluded.key_id, key_version = excluded.key_version, \
             nonce = excluded.nonce, ciphertext = excluded.ciphertext, destinations = excluded.destinations, \
             updated_at = now(), revoked_at = NULL RETURNING *",
            &[
                &credential.id.uuid(),
                &tenant.uuid(),
                &credential.vault.uuid(),
                &credential.name,
                &credential.placeholder,
                &small_signed(credential.version)?,
                &sealed.key.id.uuid(),
                &small_signed(sealed.key.version)?,
                &sealed.nonce.as_slice(),
                &sealed.ciphertext,
                &Json(destinations),
            ],
        )
        .await?;
    read(&row)
}

/// A credential by id or name.
///
/// # Errors
/// As the database's.
pub async fn get(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    credential: Reference<'_>,
) -> Result<Option<CredentialRow>> {
    tx.query_opt(
        "/* credentials.get */ SELECT * FROM credentials WHERE tenant_id = $1 AND vault_id = $2 \
         AND (id = $3 OR name = $4)",
        &[
            &tenant.uuid(),
            &vault.uuid(),
            &credential.id,
            &credential.name,
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Credentials of a vault behind an id, in order.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    after: Option<CredentialId>,
    limit: i64,
) -> Result<Vec<CredentialRow>> {
    tx.query(
        "/* credentials.list */ SELECT * FROM credentials WHERE tenant_id = $1 AND vault_id = $2 \
         AND ($3::uuid IS NULL OR id > $3) ORDER BY id LIMIT $4",
        &[
            &tenant.uuid(),
            &vault.uuid(),
            &after.map(CredentialId::uuid),
            &limit,
        ],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Erases the values of all versions of a credential. The caller holds the vault's lock.
///
/// # Errors
/// As the database's.
pub async fn erase(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    credential: Reference<'_>,
) -> Result<Option<CredentialRow>> {
    let row = tx
        .query_opt(
            "/* credentials.erase */ UPDATE credentials SET ciphertext = '', \
             revoked_at = CASE WHEN ciphertext = '' THEN revoked_at ELSE now() END \
             WHERE tenant_id = $1 AND vault_id = $2 AND (id = $3 OR name = $4) RETURNING *",
            &[
                &tenant.uuid(),
                &vault.uuid(),
                &credential.id,
                &credential.name,
            ],
        )
        .await?;
    let Some(row) = row.map(|row| read(&row)).transpose()? else {
        return Ok(None);
    };
    tx.execute(
        "/* credential_versions.erase */ DELETE FROM credential_versions WHERE tenant_id = $1 AND credential_id = $2",
        &[&tenant.uuid(), &row.credential.id.uuid()],
    )
    .await?;
    Ok(Some(row))
}

/// Whether another credential of the vault has the placeholder.
///
/// # Errors
/// As the database's.
pub async fn placeholder_taken(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    placeholder: &str,
    by_other_than: &str,
) -> Result<bool> {
    let row = tx
        .query_one(
            "/* credentials.placeholder */ SELECT EXISTS (SELECT FROM credentials WHERE tenant_id = $1 \
             AND vault_id = $2 AND placeholder = $3 AND name <> $4)",
            &[&tenant.uuid(), &vault.uuid(), &placeholder, &by_other_than],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Which credentials of these names some vaults hold, but for revoked ones, and where each may go, as it is shown.
///
/// # Errors
/// As the database's.
pub async fn held(
    tx: &Transaction,
    tenant: TenantId,
    vaults: &[Uuid],
    names: &[&str],
) -> Result<HashMap<(VaultId, String), Vec<v1::DestinationSpec>>> {
    tx.query(
        "/* credentials.held */ SELECT vault_id, name, destinations FROM credentials WHERE tenant_id = $1 \
         AND vault_id = ANY ($2) AND name = ANY ($3) AND ciphertext <> ''",
        &[&tenant.uuid(), &vaults, &names],
    )
    .await?
    .iter()
    .map(|row| {
        let credential = (id(row, "vault_id")?, row.try_get("name")?);
        Ok((credential, row.try_get::<_, Json<_>>("destinations")?.0))
    })
    .collect()
}

/// What stands for the credentials of some vaults, each vault's in the order of their names.
///
/// # Errors
/// As the database's.
pub async fn placeholders(
    tx: &Transaction,
    tenant: TenantId,
    vaults: &[Uuid],
) -> Result<Vec<(VaultId, String, String)>> {
    tx.query(
        "/* credentials.placeholders */ SELECT vault_id, name, placeholder FROM credentials \
         WHERE tenant_id = $1 AND vault_id = ANY ($2) ORDER BY vault_id, name",
        &[&tenant.uuid(), &vaults],
    )
    .await?
    .iter()
    .map(|row| {
        Ok((
            id(row, "vault_id")?,
            row.try_get("name")?,
            row.try_get("placeholder")?,
        ))
    })
    .collect()
}

/// How many credentials a vault has.
///
/// # Errors
/// As the database's.
pub async fn count(tx: &Transaction, (tenant, vault): (TenantId, VaultId)) -> Result<i64> {
    let row = tx
        .query_one(
            "/* credentials.count */ SELECT count(*) FROM credentials WHERE tenant_id = $1 AND vault_id = $2",
            &[&tenant.uuid(), &vault.uuid()],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Removes a credential with all its versions; answers what it was.
///
/// # Errors
/// As the database's.
pub async fn delete(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    credential: Reference<'_>,
) -> Result<Option<CredentialRow>> {
    tx.query_opt(
        "/* credentials.delete */ DELETE FROM credentials WHERE tenant_id = $1 AND vault_id = $2 \
         AND (id = $3 OR name = $4) RETURNING *",
        &[
            &tenant.uuid(),
            &vault.uuid(),
            &credential.id,
            &credential.name,
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}
