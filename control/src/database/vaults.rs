//! The table `vaults`.

use std::time::Duration;

use jiff::Timestamp;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::limits::Limits;
use sortie_proto::vault::{Vault, VaultMode};
use tokio_postgres::Row;

use super::column::{id, limits, small, small_signed, stored_limits, unsigned};
use super::{Reference, Transaction};
use crate::error::{Error, Result};

/// A vault as it stands in the database.
#[derive(Debug)]
pub struct VaultRow {
    /// What gateways see.
    pub vault: Vault,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What of a vault can be changed; `None` leaves it.
#[derive(Debug, Clone, Copy)]
pub struct VaultUpdate {
    /// Whether anything of it is brokered.
    pub enabled: Option<bool>,
    /// What happens to unmatched hosts.
    pub mode: Option<VaultMode>,
    /// How long a gateway may serve it without hearing from control.
    pub staleness_seconds: Option<u32>,
    /// Whether a request waits until its record is on disk.
    pub durable: Option<bool>,
    /// What all its requests together may use.
    pub limits: Option<Limits>,
    /// What each session may use in it.
    pub session_limits: Option<Limits>,
}

fn read(row: &Row) -> Result<VaultRow> {
    let mode = VaultMode::from_name(row.try_get("mode")?)
        .ok_or_else(|| Error::internal("a vault of an unknown mode"))?;
    Ok(VaultRow {
        vault: Vault {
            id: id(row, "id")?,
            tenant: id(row, "tenant_id")?,
            name: row.try_get("name")?,
            version: unsigned(row, "version")?,
            generation: unsigned(row, "generation")?,
            enabled: row.try_get("enabled")?,
            mode,
            staleness: Duration::from_secs(small(row, "staleness_seconds")?.into()),
            durable: row.try_get("durable")?,
            limits: limits(row, "limits")?,
            session_limits: limits(row, "session_limits")?,
        },
        created_at: row.try_get("created_at")?,
    })
}

/// Adds a vault; `None` if the name is taken.
///
/// # Errors
/// As the database's.
pub async fn insert(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    name: &str,
    mode: VaultMode,
    staleness_seconds: u32,
) -> Result<Option<VaultRow>> {
    tx.query_opt(
        "/* vaults.insert */ INSERT INTO vaults (id, tenant_id, name, mode, staleness_seconds) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, name) DO NOTHING RETURNING *",
        &[
            &vault.uuid(),
            &tenant.uuid(),
            &name,
            &mode.name(),
            &small_signed(staleness_seconds)?,
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// A vault by id or name.
///
/// # Errors
/// As the database's.
pub async fn get(
    tx: &Transaction,
    tenant: TenantId,
    vault: Reference<'_>,
) -> Result<Option<VaultRow>> {
    tx.query_opt(
        "/* vaults.get */ SELECT * FROM vaults WHERE tenant_id = $1 AND (id = $2 OR name = $3)",
        &[&tenant.uuid(), &vault.id, &vault.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// A vault by id or name, locked: changes of what it holds come one after the other.
///
/// # Errors
/// As the database's.
pub async fn lock(
    tx: &Transaction,
    tenant: TenantId,
    vault: Reference<'_>,
) -> Result<Option<VaultRow>> {
    tx.query_opt(
        "/* vaults.lock */ SELECT * FROM vaults WHERE tenant_id = $1 AND (id = $2 OR name = $3) \
         FOR NO KEY UPDATE",
        &[&tenant.uuid(), &vault.id, &vault.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Vaults of a tenant behind an id, in order.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    tenant: TenantId,
    after: Option<VaultId>,
    limit: i64,
) -> Result<Vec<VaultRow>> {
    tx.query(
        "/* vaults.list */ SELECT * FROM vaults WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) \
         ORDER BY id LIMIT $3",
        &[&tenant.uuid(), &after.map(VaultId::uuid), &limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The staleness that a gateway may still go by which has not heard of the shorter one since.
pub(super) const STALENESS_BEFORE: &str =
    "(CASE WHEN staleness_before_until > now() THEN staleness_before_seconds ELSE 0 END)";

/// Changes what is named and raises the version.
///
/// The longer staleness in place of which a shorter one comes is kept for as long as a gateway may go by it: one that was
/// away at the time had its last lease before, or within the minute in which a slow stream is cut.
///
/// # Errors
/// As the database's.
pub async fn update(
    tx: &Transaction,
    tenant: TenantId,
    vault: Reference<'_>,
    update: VaultUpdate,
) -> Result<Option<VaultRow>> {
    let staleness = update.staleness_seconds.map(small_signed).transpose()?;
    let longest = format!("greatest(staleness_seconds, {STALENESS_BEFORE})");
    let sql = format!(
        "/* vaults.update */ UPDATE vaults SET enabled = coalesce($4, enabled), mode = coalesce($5, mode), \
         staleness_seconds = coalesce($6, staleness_seconds), durable = coalesce($7, durable), \
         staleness_before_seconds = CASE WHEN $6 < staleness_seconds THEN {longest} ELSE staleness_before_seconds END, \
         staleness_before_until = CASE WHEN $6 < staleness_seconds THEN now() + make_interval(secs => {longest} + 60) \
         ELSE staleness_before_until END, limits = CASE WHEN $8 THEN $9 ELSE limits END, \
         session_limits = CASE WHEN $10 THEN $11 ELSE session_limits END, \
         version = version + 1 WHERE tenant_id = $1 AND (id = $2 OR name = $3) RETURNING *"
    );
    tx.query_opt(
        &sql,
        &[
            &tenant.uuid(),
            &vault.id,
            &vault.name,
            &update.enabled,
            &update.mode.map(VaultMode::name),
            &staleness,
            &update.durable,
            &update.limits.is_some(),
            &update.limits.as_ref().and_then(stored_limits),
            &update.session_limits.is_some(),
            &update.session_limits.as_ref().and_then(stored_limits),
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Raises the generation, so that tokens that carry a lower one are refused.
///
/// # Errors
/// As the database's.
pub async fn raise(
    tx: &Transaction,
    tenant: TenantId,
    vault: Reference<'_>,
) -> Result<Option<VaultRow>> {
    tx.query_opt(
        "/* vaults.raise */ UPDATE vaults SET generation = generation + 1, version = version + 1 \
         WHERE tenant_id = $1 AND (id = $2 OR name = $3) RETURNING *",
        &[&tenant.uuid(), &vault.id, &vault.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// How many bytes a vault's services and credentials have together, in the form in which gateways get them.
///
/// # Errors
/// As the database's.
pub async fn size(tx: &Transaction, (tenant, vault): (TenantId, VaultId)) -> Result<i64> {
    let row = tx
        .query_one(
            "/* vaults.size */ SELECT (SELECT coalesce(sum(octet_length(spec)), 0) FROM services \
             WHERE tenant_id = $1 AND vault_id = $2)::int8 + (SELECT coalesce(sum(octet_length(ciphertext)), 0) \
             FROM credentials WHERE tenant_id = $1 AND vault_id = $2)::int8",
            &[&tenant.uuid(), &vault.uuid()],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Removes a vault with all that it holds; answers what it was.
///
/// # Errors
/// As the database's.
pub async fn delete(
    tx: &Transaction,
    tenant: TenantId,
    vault: Reference<'_>,
) -> Result<Option<VaultRow>> {
    tx.query_opt(
        "/* vaults.delete */ DELETE FROM vaults WHERE tenant_id = $1 AND (id = $2 OR name = $3) RETURNING *",
        &[&tenant.uuid(), &vault.id, &vault.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}
