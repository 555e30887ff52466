//! The table `api_keys`. It holds keyed hashes, never keys.

use jiff::Timestamp;
use sortie_proto::id::{ApiKeyId, TenantId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Transaction;
use super::column::id;
use crate::error::Result;

/// An API key as it stands in the database, without its hash.
#[derive(Debug)]
pub struct ApiKeyRow {
    /// Its id.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Its last four characters, to tell keys apart.
    pub last_four: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A key that is to be kept.
#[derive(Debug)]
pub struct NewApiKey<'a> {
    /// Its id.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: &'a str,
    /// What it may do.
    pub role: &'a str,
    /// Its keyed hash.
    pub hash: [u8; 32],
    /// Its last four characters.
    pub last_four: &'a str,
}

/// What a key's hash leads to.
#[derive(Debug)]
pub struct KeyHolder {
    /// The key.
    pub id: ApiKeyId,
    /// What it may do.
    pub role: String,
    /// The tenant and its name; `None` for an operator.
    pub tenant: Option<(TenantId, String)>,
}

fn read(row: &Row) -> Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        id: id(row, "id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        last_four: row.try_get("last_four")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Adds a key, of a tenant or of an operator.
///
/// # Errors
/// As the database's.
pub async fn insert(
    tx: &Transaction,
    tenant: Option<TenantId>,
    key: &NewApiKey<'_>,
) -> Result<ApiKeyRow> {
    let row = tx
        .query_one(
            "/* api_keys.insert */ INSERT INTO api_keys (id, tenant_id, name, role, hash, last_four) \
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
            &[
                &key.id.uuid(),
                &tenant.map(TenantId::uuid),
                &key.name,
                &key.role,
                &key.hash.as_slice(),
                &key.last_four,
            ],
        )
        .await?;
    read(&row)
}

/// The holder of a key, in any tenant. Only authentication asks.
///
/// # Errors
/// As the database's.
pub async fn holder(tx: &Transaction, hash: &[u8; 32]) -> Result<Option<KeyHolder>> {
    tx.query_opt(
        "/* api_keys.holder */ SELECT k.id, k.role, k.tenant_id, t.name FROM api_keys k \
         LEFT JOIN tenants t ON t.id = k.tenant_id WHERE k.hash = $1",
        &[&hash.as_slice()],
    )
    .await?
    .map(|row| {
        let tenant: Option<Uuid> = row.try_get("tenant_id")?;
        let name: Option<String> = row.try_get("name")?;
        Ok(KeyHolder {
            id: id(&row, "id")?,
            role: row.try_get("role")?,
            tenant: tenant.map(TenantId::from).zip(name),
        })
    })
    .transpose()
}

/// A key of a tenant, locked.
///
/// # Errors
/// As the database's.
pub async fn lock(tx: &Transaction, tenant: TenantId, key: ApiKeyId) -> Result<Option<ApiKeyRow>> {
    tx.query_opt(
        "/* api_keys.lock */ SELECT * FROM api_keys WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        &[&tenant.uuid(), &key.uuid()],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The ids of a tenant's owner keys, locked: of two deletions at once, one sees the other.
///
/// # Errors
/// As the database's.
pub async fn lock_owners(tx: &Transaction, tenant: TenantId) -> Result<Vec<ApiKeyId>> {
    tx.query(
        "/* api_keys.lock_owners */ SELECT id FROM api_keys WHERE tenant_id = $1 AND role = 'owner' \
         ORDER BY id FOR UPDATE",
        &[&tenant.uuid()],
    )
    .await?
    .iter()
    .map(|row| id(row, "id"))
    .collect()
}

/// Keys of a tenant behind an id, in order.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    tenant: TenantId,
    after: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKeyRow>> {
    tx.query(
        "/* api_keys.list */ SELECT * FROM api_keys WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) \
         ORDER BY id LIMIT $3",
        &[&tenant.uuid(), &after.map(ApiKeyId::uuid), &limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Removes a key of a tenant.
///
/// # Errors
/// As the database's.
pub async fn delete(tx: &Transaction, tenant: TenantId, key: ApiKeyId) -> Result<()> {
    tx.execute(
        "/* api_keys.delete */ DELETE FROM api_keys WHERE tenant_id = $1 AND id = $2",
        &[&tenant.uuid(), &key.uuid()],
    )
    .await?;
    Ok(())
}
