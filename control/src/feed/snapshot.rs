//! Whole objects at a revision: a vault with all that it holds, a tenant with its live revocations.
//!
//! The transaction is REPEATABLE READ, and the revision is the order's head as that transaction sees it. A row that is
//! committed but has no revision yet may already be in the snapshot; its change arrives later and is harmless, for it
//! is the whole object.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prost::Message;
use sortie_proto::agent::{Grant, VaultRole};
use sortie_proto::change::Snapshot;
use sortie_proto::code::Code;
use sortie_proto::credential::Credential;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::service::Service;
use sortie_proto::tenant::Tenant;
use sortie_proto::vault::{Vault, VaultMode};
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::credentials::sealed;
use crate::database::{Database, Transaction, changes};
use crate::error::{Error, Result};
use crate::seal::Keys;

/// A vault with all that it holds and the keys that open it.
///
/// # Errors
/// `not_found` if there is none; `internal` if a row means nothing: a snapshot that leaves something out is never made.
pub async fn vault(
    database: &Database,
    keys: &Keys,
    tenant: TenantId,
    id: VaultId,
) -> Result<Snapshot> {
    let tx = database.snapshot().await?;
    let revision = changes::head(&tx).await?.last;
    let row = tx
        .query_opt(
            "/* snapshot.vault */ SELECT name, version, generation, enabled, mode, staleness_seconds, durable \
             FROM vaults WHERE tenant_id = $1 AND id = $2",
            &[&tenant.uuid(), &id.uuid()],
        )
        .await?
        .ok_or(Error::new(Code::NotFound))?;
    let snapshot = Snapshot {
        revision,
        vault: vault_row(&row, tenant, id)?,
        services: services(&tx, tenant, id).await?,
        credentials: credentials(&tx, tenant, id).await?,
        grants: grants(&tx, tenant, id).await?,
        data_keys: keys.vault_keys(&tx, tenant, id).await?,
    };
    tx.commit().await?;
    Ok(snapshot)
}

/// A tenant with its live revocations.
///
/// # Errors
/// `not_found` if there is none; `internal` if a row means nothing.
pub async fn tenant(database: &Database, id: TenantId) -> Result<v1::TenantState> {
    let tx = database.snapshot().await?;
    let revision = changes::head(&tx).await?.last;
    let row = tx
        .query_opt(
            "/* snapshot.tenant */ SELECT name, version, generation, enabled, private_allow FROM tenants WHERE id = $1",
            &[&id.uuid()],
        )
        .await?
        .ok_or(Error::new(Code::NotFound))?;
    let allowed: Vec<String> = row.try_get(4)?;
    let tenant = Tenant {
        id,
        name: row.try_get(0)?,
        version: number(&row, 1)?,
        generation: number(&row, 2)?,
        enabled: row.try_get(3)?,
        private_allow: allowed
            .iter()
            .map(|text| text.parse().map_err(Error::internal))
            .collect::<Result<_>>()?,
    };
    let live = changes::live_revocations(&tx, id).await?;
    tx.commit().await?;
    Ok(v1::TenantState {
        revision: Some(revision.into()),
        tenant: Some((&tenant).into()),
        revocations: live.iter().map(Into::into).collect(),
    })
}

fn number(row: &Row, at: usize) -> Result<u64> {
    u64::try_from(row.try_get::<_, i64>(at)?).map_err(Error::internal)
}

fn vault_row(row: &Row, tenant: TenantId, id: VaultId) -> Result<Vault> {
    let mode = VaultMode::from_name(row.try_get(4)?)
        .ok_or_else(|| Error::internal("a vault of an unknown mode"))?;
    let staleness = u64::try_from(row.try_get::<_, i32>(5)?).map_err(Error::internal)?;
    Ok(Vault {
        id,
        tenant,
        name: row.try_get(0)?,
        version: number(row, 1)?,
        generation: number(row, 2)?,
        enabled: row.try_get(3)?,
        mode,
        staleness: Duration::from_secs(staleness),
        durable: row.try_get(6)?,
    })
}

async fn services(tx: &Transaction, tenant: TenantId, vault: VaultId) -> Result<Vec<Arc<Service>>> {
    let rows = tx
        .query(
            "/* snapshot.services */ SELECT spec FROM services WHERE tenant_id = $1 AND vault_id = $2",
            &[&tenant.uuid(), &vault.uuid()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let wire = v1::Service::decode(row.try_get::<_, &[u8]>(0)?).map_err(Error::internal)?;
            Ok(Arc::new(wire.try_into()?))
        })
        .collect()
}

async fn credentials(
    tx: &Transaction,
    tenant: TenantId,
    vault: VaultId,
) -> Result<Vec<Credential>> {
    let rows = tx
        .query(
            "/* snapshot.credentials */ SELECT id, name, placeholder, version, key_id, key_version, nonce, ciphertext \
             FROM credentials WHERE tenant_id = $1 AND vault_id = $2",
            &[&tenant.uuid(), &vault.uuid()],
        )
        .await?;
    let version =
        |row: &Row, at: usize| u32::try_from(row.try_get::<_, i32>(at)?).map_err(Error::internal);
    rows.iter()
        .map(|row| {
            Ok(Credential {
                id: row.try_get::<_, Uuid>(0)?.into(),
                vault,
                name: row.try_get(1)?,
                placeholder: row.try_get(2)?,
                version: version(row, 3)?,
                sealed: sealed(row)?,
            })
        })
        .collect()
}

async fn grants(tx: &Transaction, tenant: TenantId, vault: VaultId) -> Result<Vec<Grant>> {
    let rows = tx
        .query(
            "/* snapshot.grants */ SELECT agent_id, role, expires_at, version FROM grants \
             WHERE tenant_id = $1 AND vault_id = $2",
            &[&tenant.uuid(), &vault.uuid()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Grant {
                vault,
                agent: row.try_get::<_, Uuid>(0)?.into(),
                role: VaultRole::from_name(row.try_get(1)?)
                    .ok_or_else(|| Error::internal("an unknown role"))?,
                expires_at: row
                    .try_get::<_, Option<Timestamp>>(2)?
                    .map(Timestamp::as_second),
                version: number(row, 3)?,
            })
        })
        .collect()
}
