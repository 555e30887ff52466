//! The table `services`. The specification is kept as the message that gateways get.

use jiff::Timestamp;
use prost::Message;
use sortie_proto::host::HostPattern;
use sortie_proto::id::{ServiceId, TenantId, VaultId};
use sortie_proto::service::Service;
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use super::column::{id, signed};
use super::{Reference, Transaction};
use crate::error::{Error, Result};

/// A service as it stands in the database.
#[derive(Debug)]
pub struct ServiceRow {
    /// What gateways see.
    pub service: Service,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

fn read(row: &Row) -> Result<ServiceRow> {
    let spec: &[u8] = row.try_get("spec")?;
    Ok(ServiceRow {
        service: v1::Service::decode(spec)
            .map_err(Error::internal)?
            .try_into()?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// Adds a service or replaces it. The caller holds the vault's lock and has raised the version.
///
/// # Errors
/// As the database's.
pub async fn put(tx: &Transaction, tenant: TenantId, service: &Service) -> Result<ServiceRow> {
    let spec = v1::Service::from(service).encode_to_vec();
    let row = tx
        .query_one(
            "/* services.put */ INSERT INTO services (id, tenant_id, vault_id, name, version, enabled, spec) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
             enabled = excluded.enabled, spec = excluded.spec, updated_at = now() RETURNING *",
            &[
                &service.id.uuid(),
                &tenant.uuid(),
                &service.vault.uuid(),
                &service.name,
                &signed(service.version)?,
                &service.enabled,
                &spec,
            ],
        )
        .await?;
    read(&row)
}

/// A service by id or name.
///
/// # Errors
/// As the database's.
pub async fn get(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    service: Reference<'_>,
) -> Result<Option<ServiceRow>> {
    tx.query_opt(
        "/* services.get */ SELECT * FROM services WHERE tenant_id = $1 AND vault_id = $2 \
         AND (id = $3 OR name = $4)",
        &[&tenant.uuid(), &vault.uuid(), &service.id, &service.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// Services of a vault behind an id, in order.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    after: Option<ServiceId>,
    limit: i64,
) -> Result<Vec<ServiceRow>> {
    tx.query(
        "/* services.list */ SELECT * FROM services WHERE tenant_id = $1 AND vault_id = $2 \
         AND ($3::uuid IS NULL OR id > $3) ORDER BY id LIMIT $4",
        &[
            &tenant.uuid(),
            &vault.uuid(),
            &after.map(ServiceId::uuid),
            &limit,
        ],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Removes a service; answers what it was.
///
/// # Errors
/// As the database's.
pub async fn delete(
    tx: &Transaction,
    (tenant, vault): (TenantId, VaultId),
    service: Reference<'_>,
) -> Result<Option<ServiceRow>> {
    tx.query_opt(
        "/* services.delete */ DELETE FROM services WHERE tenant_id = $1 AND vault_id = $2 \
         AND (id = $3 OR name = $4) RETURNING *",
        &[&tenant.uuid(), &vault.uuid(), &service.id, &service.name],
    )
    .await?
    .map(|row| read(&row))
    .transpose()
}

/// The hosts that the services of some vaults cover, each with whether its service is switched on.
///
/// # Errors
/// As the database's.
pub async fn hosts(
    tx: &Transaction,
    tenant: TenantId,
    vaults: &[Uuid],
) -> Result<Vec<(HostPattern, bool)>> {
    tx.query(
        "/* services.hosts */ SELECT * FROM services WHERE tenant_id = $1 AND vault_id = ANY ($2)",
        &[&tenant.uuid(), &vaults],
    )
    .await?
    .iter()
    .map(|row| {
        let service = read(row)?.service;
        Ok((service.host, service.enabled))
    })
    .collect()
}

/// A service that a session requires, with what its vault adds to whether it can be used.
#[derive(Debug)]
pub struct RequiredService {
    /// What gateways see.
    pub service: Service,
    /// The name of its vault.
    pub vault_name: String,
    /// Whether its vault is switched on.
    pub vault_enabled: bool,
}

/// The services of some vaults that have one of the ids or names, whole, in the order of their ids.
///
/// # Errors
/// As the database's.
pub async fn required(
    tx: &Transaction,
    tenant: TenantId,
    vaults: &[Uuid],
    (ids, names): (&[Uuid], &[&str]),
) -> Result<Vec<RequiredService>> {
    tx.query(
        "/* services.required */ SELECT s.*, v.name AS vault_name, v.enabled AS vault_enabled FROM services s \
         JOIN vaults v ON v.tenant_id = s.tenant_id AND v.id = s.vault_id WHERE s.tenant_id = $1 \
         AND s.vault_id = ANY ($2) AND (s.id = ANY ($3) OR s.name = ANY ($4)) ORDER BY s.id",
        &[&tenant.uuid(), &vaults, &ids, &names],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(RequiredService {
            service: read(row)?.service,
            vault_name: row.try_get("vault_name")?,
            vault_enabled: row.try_get("vault_enabled")?,
        })
    })
    .collect()
}

/// A service's identity, for narrowing a session to it.
#[derive(Debug)]
pub struct ServiceName {
    /// The service.
    pub id: ServiceId,
    /// Its vault.
    pub vault: VaultId,
    /// Its name.
    pub name: String,
}

/// The services of some vaults that have one of the ids or names.
///
/// # Errors
/// As the database's.
pub async fn named(
    tx: &Transaction,
    tenant: TenantId,
    vaults: &[Uuid],
    (ids, names): (&[Uuid], &[&str]),
) -> Result<Vec<ServiceName>> {
    tx.query(
        "/* services.named */ SELECT id, vault_id, name FROM services WHERE tenant_id = $1 \
         AND vault_id = ANY ($2) AND (id = ANY ($3) OR name = ANY ($4))",
        &[&tenant.uuid(), &vaults, &ids, &names],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(ServiceName {
            id: id(row, "id")?,
            vault: id(row, "vault_id")?,
            name: row.try_get("name")?,
        })
    })
    .collect()
}
