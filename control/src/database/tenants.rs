//! The table `tenants`.

use std::num::NonZeroU32;

use jiff::Timestamp;
use sortie_proto::id::TenantId;
use sortie_proto::limits::Limits;
use sortie_proto::tenant::Tenant;
use tokio_postgres::Row;

use super::column::{id, limits, small, small_signed, stored_limits, unsigned};
use super::{Reference, Transaction};
use crate::error::{Error, Result};

/// A tenant as it stands in the database.
#[derive(Debug)]
pub struct TenantRow {
    /// What gateways see.
    pub tenant: Tenant,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What of a tenant can be changed; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct TenantUpdate {
    /// Whether anything of it is brokered.
    pub enabled: Option<bool>,
    /// The private ranges that its upstreams may live in.
    pub private_allow: Option<Vec<String>>,
    /// What all its requests together may use.
    pub limits: Option<Limits>,
    /// Its part of an overloaded gateway.
    pub weight: Option<NonZeroU32>,
}

/// The weight of a tenant's row.
///
/// # Errors
/// `internal` if it means nothing.
fn weight(row: &Row) -> Result<NonZeroU32> {
    NonZeroU32::new(small(row, "weight")?).ok_or_else(|| Error::internal("a tenant without weight"))
}

fn read(row: &Row) -> Result<TenantRow> {
    let ranges: Vec<&str> = row.try_get("private_allow")?;
    let parse = |text: &str| text.parse().map_err(Error::internal);
    Ok(TenantRow {
        tenant: Tenant {
            id: id(row, "id")?,
            name: row.try_get("name")?,
            version: unsigned(row, "version")?,
            generation: unsigned(row, "generation")?,
            enabled: row.try_get("enabled")?,
            private_allow: ranges.into_iter().map(parse).collect::<Result<_>>()?,
            limits: limits(row, "limits")?,
            weight: weight(row)?,
        },
        created_at: row.try_get("created_at")?,
    })
}

/// Adds a tenant; `None` if the name is taken.
///
/// # Errors
/// As the database's.
pub async fn insert(
    tx: &Transaction,
    tenant: TenantId,
    name: &str,
    private_allow: &[String],
) -> Result<Option<TenantRow>> {
    tx.query_opt(
        "/* tenants.insert */ INSERT INTO tenants (id, name, private_allow) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO NOTHING RETURNING *",
        &[&tenant.uuid(), &name, &private_allow],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// A tenant by id or name.
///
/// # Errors
/// As the database's.
pub async fn get(tx: &Transaction, tenant: Reference<'_>) -> Result<Option<TenantRow>> {
    tx.query_opt(
        "/* tenants.get */ SELECT * FROM tenants WHERE id = $1 OR name = $2",
        &[&tenant.id, &tenant.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Tenants behind an id, in order.
///
/// # Errors
/// As the database's.
pub async fn list(tx: &Transaction, after: Option<TenantId>, limit: i64) -> Result<Vec<TenantRow>> {
    tx.query(
        "/* tenants.list */ SELECT * FROM tenants WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
        &[&after.map(TenantId::uuid), &limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Raises the generation, so that tokens that carry a lower one are refused.
///
/// # Errors
/// As the database's.
pub async fn raise(tx: &Transaction, tenant: TenantId) -> Result<Option<TenantRow>> {
    tx.query_opt(
        "/* tenants.raise */ UPDATE tenants SET generation = generation + 1, version = version + 1 \
         WHERE id = $1 RETURNING *",
        &[&tenant.uuid()],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Raises the generation of the tenant's subjects, users and sessions, for the revocation of one, and answers it. The
/// row stays locked until the end of the transaction: a token that carries the new one was minted behind that.
///
/// # Errors
/// As the database's.
pub async fn raise_subjects(tx: &Transaction, tenant: TenantId) -> Result<u64> {
    let row = tx
        .query_one(
            "/* tenants.raise_subjects */ UPDATE tenants SET subjects_generation = subjects_generation + 1 \
             WHERE id = $1 RETURNING subjects_generation",
            &[&tenant.uuid()],
        )
        .await?;
    unsigned(&row, "subjects_generation")
}

/// Changes what is named and raises the version.
///
/// # Errors
/// As the database's.
pub async fn update(
    tx: &Transaction,
    tenant: TenantId,
    update: TenantUpdate,
) -> Result<Option<TenantRow>> {
    let weight = update.weight.map(|weight| small_signed(weight.get()));
    tx.query_opt(
        "/* tenants.update */ UPDATE tenants SET enabled = coalesce($2, enabled), \
         private_allow = coalesce($3, private_allow), limits = CASE WHEN $4 THEN $5 ELSE limits END, \
         weight = coalesce($6, weight), version = version + 1 WHERE id = $1 RETURNING *",
        &[
            &tenant.uuid(),
            &update.enabled,
            &update.private_allow,
            &update.limits.is_some(),
            &update.limits.as_ref().and_then(stored_limits),
            &weight.transpose()?,
        ],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}
