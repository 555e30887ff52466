//! Whole objects at a revision: a vault with all that it holds, a tenant with its live revocations.
//!
//! One statement, or a transaction that is REPEATABLE READ: the revision is the order's head as that sees it. A row that is
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
use sortie_proto::revision::Revision;
use sortie_proto::sealed::SealingKey;
use sortie_proto::service::Service;
use sortie_proto::vault::{Vault, VaultMode};
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::keys::SealedKey;
use crate::database::{Database, Reference, changes, credentials, limits, read_limits, tenants};
use crate::error::{Error, Result};
use crate::seal::Keys;

/// Some vaults at one revision. One that is gone is not among them.
#[derive(Debug)]
pub struct Vaults {
    /// The order's head as the reading statement saw it.
    pub revision: Revision,
    /// Each that was found; `internal` for one of which a row means nothing.
    pub vaults: Vec<(VaultId, Result<Snapshot>)>,
}

/// All that vaults hold, a row a vault: whatever their number and size, it is one statement. A tenant's key comes along,
/// so that nothing else need be asked after a restart.
const VAULTS: &str = "/* snapshot.vaults */ SELECT c.epoch, c.head_n, v.id, v.tenant_id, v.name, v.version, v.generation, \
    v.enabled, v.mode, v.staleness_seconds, v.durable, s.specs, \
    k.ids, k.names, k.placeholders, k.versions, k.key_ids, k.key_versions, k.nonces, k.ciphertexts, \
    g.agents, g.roles, g.ends, g.versions, d.ids, d.versions, d.sealed, t.key_id, t.version, t.sealed, \
    v.limits, v.session_limits, g.agent_limits, g.agent_session_limits \
    FROM cluster c CROSS JOIN vaults v \
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(spec), '{}') AS specs FROM services \
        WHERE tenant_id = v.tenant_id AND vault_id = v.id) s \
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(id), '{}') AS ids, coalesce(array_agg(name), '{}') AS names, \
        coalesce(array_agg(placeholder), '{}') AS placeholders, coalesce(array_agg(version), '{}') AS versions, \
        coalesce(array_agg(key_id), '{}') AS key_ids, coalesce(array_agg(key_version), '{}') AS key_versions, \
        coalesce(array_agg(nonce), '{}') AS nonces, coalesce(array_agg(ciphertext), '{}') AS ciphertexts \
        FROM credentials WHERE tenant_id = v.tenant_id AND vault_id = v.id) k \
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(i.agent_id), '{}') AS agents, \
        coalesce(array_agg(i.role), '{}') AS roles, \
        coalesce(array_agg(i.expires_at), '{}') AS ends, coalesce(array_agg(i.version), '{}') AS versions, \
        coalesce(array_agg(a.limits), '{}') AS agent_limits, \
        coalesce(array_agg(a.session_limits), '{}') AS agent_session_limits \
        FROM grants i JOIN agents a ON a.id = i.agent_id WHERE i.tenant_id = v.tenant_id AND i.vault_id = v.id) g \
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(key_id), '{}') AS ids, coalesce(array_agg(version), '{}') AS versions, \
        coalesce(array_agg(sealed), '{}') AS sealed FROM (SELECT key_id, version, sealed FROM data_keys \
        WHERE tenant_id = v.tenant_id AND vault_id = v.id ORDER BY created_at DESC, version DESC) newest) d \
    LEFT JOIN LATERAL (SELECT key_id, version, sealed FROM tenant_keys WHERE tenant_id = v.tenant_id \
        ORDER BY created_at DESC, version DESC LIMIT 1) t ON true \
    WHERE v.id = ANY ($1)";

/// Vaults with all that they hold and the keys that open it.
///
/// # Errors
/// As the database's. What is wrong with one vault stands beside it.
pub async fn vaults(database: &Database, keys: &Keys, ids: &[VaultId]) -> Result<Vaults> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let tx = database.snapshot().await?;
    let rows = tx.query(VAULTS, &[&ids]).await?;
    let revision = match rows.first() {
        Some(row) => head(row)?,
        None => changes::head(&tx).await?.last,
    };
    tx.commit().await?;
    let mut vaults = Vec::with_capacity(rows.len());
    for row in &rows {
        vaults.push((row.try_get::<_, Uuid>("id")?.into(), vault(row, keys)));
        // One may have 16 MiB, and other streams are served in between.
        tokio::task::yield_now().await;
    }
    Ok(Vaults { revision, vaults })
}

fn head(row: &Row) -> Result<Revision> {
    Ok(Revision {
        epoch: number(row, "epoch")?,
        n: number(row, "head_n")?,
    })
}

fn vault(row: &Row, keys: &Keys) -> Result<Snapshot> {
    let id: VaultId = row.try_get::<_, Uuid>("id")?.into();
    let tenant: TenantId = row.try_get::<_, Uuid>("tenant_id")?.into();
    Ok(Snapshot {
        revision: head(row)?,
        vault: settings(row, tenant, id)?,
        services: services(row)?,
        credentials: credentials_of(row, id)?,
        grants: grants(row, id)?,
        data_keys: data_keys(row, keys, (tenant, id))?,
    })
}

/// A tenant with its live revocations.
///
/// # Errors
/// `not_found` if there is none; `internal` if a row means nothing.
pub async fn tenant(database: &Database, id: TenantId) -> Result<v1::TenantState> {
    let tx = database.snapshot().await?;
    let revision = changes::head(&tx).await?.last;
    let row = tenants::get(&tx, Reference::id(id.uuid())).await?;
    let tenant = row.ok_or(Error::new(Code::NotFound))?.tenant;
    let live = changes::live_revocations(&tx, id).await?;
    tx.commit().await?;
    Ok(v1::TenantState {
        revision: Some(revision.into()),
        tenant: Some((&tenant).into()),
        revocations: live.iter().map(Into::into).collect(),
    })
}

fn number(row: &Row, at: &str) -> Result<u64> {
    u64::try_from(row.try_get::<_, i64>(at)?).map_err(Error::internal)
}

fn settings(row: &Row, tenant: TenantId, id: VaultId) -> Result<Vault> {
    let mode = VaultMode::from_name(row.try_get("mode")?)
        .ok_or_else(|| Error::internal("a vault of an unknown mode"))?;
    let staleness: i32 = row.try_get("staleness_seconds")?;
    Ok(Vault {
        id,
        tenant,
        name: row.try_get("name")?,
        version: number(row, "version")?,
        generation: number(row, "generation")?,
        enabled: row.try_get("enabled")?,
        mode,
        staleness: Duration::from_secs(u64::try_from(staleness).map_err(Error::internal)?),
        durable: row.try_get("durable")?,
        limits: limits(row, "limits")?,
        session_limits: limits(row, "session_limits")?,
    })
}

// The columns of one kind of object are arrays of equal length and order, from one aggregate. Names repeat between kinds,
// so they are read by their place in `VAULTS`.

fn services(row: &Row) -> Result<Vec<Arc<Service>>> {
    let specs: Vec<&[u8]> = row.try_get(11)?;
    let read = |spec: &[u8]| {
        let wire = v1::Service::decode(spec).map_err(Error::internal)?;
        Ok(Arc::new(wire.try_into()?))
    };
    specs.into_iter().map(read).collect()
}

fn credentials_of(row: &Row, vault: VaultId) -> Result<Vec<Credential>> {
    let ids: Vec<Uuid> = row.try_get(12)?;
    let (names, placeholders): (Vec<String>, Vec<String>) = (row.try_get(13)?, row.try_get(14)?);
    let versions: Vec<i32> = row.try_get(15)?;
    let (key_ids, key_versions): (Vec<Uuid>, Vec<i32>) = (row.try_get(16)?, row.try_get(17)?);
    let (nonces, ciphertexts): (Vec<&[u8]>, Vec<Vec<u8>>) = (row.try_get(18)?, row.try_get(19)?);
    let version = |number: i32| u32::try_from(number).map_err(Error::internal);
    pairs(ids, names)
        .zip(pairs(placeholders, versions))
        .zip(pairs(key_ids, key_versions))
        .zip(pairs(nonces, ciphertexts))
        .map(
            |((((id, name), (placeholder, number)), key), (nonce, ciphertext))| {
                Ok(Credential {
                    id: id.into(),
                    vault,
                    name,
                    placeholder,
                    version: version(number)?,
                    sealed: credentials::sealed(key, nonce, ciphertext)?,
                })
            },
        )
        .collect()
}

fn grants(row: &Row, vault: VaultId) -> Result<Vec<Grant>> {
    let (agents, roles): (Vec<Uuid>, Vec<&str>) = (row.try_get(20)?, row.try_get(21)?);
    let (ends, versions): (Vec<Option<Timestamp>>, Vec<i64>) = (row.try_get(22)?, row.try_get(23)?);
    let own: Vec<Option<&[u8]>> = row.try_get("agent_limits")?;
    let of_sessions: Vec<Option<&[u8]>> = row.try_get("agent_session_limits")?;
    pairs(agents, roles)
        .zip(pairs(ends, versions))
        .zip(pairs(own, of_sessions))
        .map(|(((agent, role), (end, version)), (own, of_sessions))| {
            Ok(Grant {
                vault,
                agent: agent.into(),
                role: VaultRole::from_name(role)
                    .ok_or_else(|| Error::internal("an unknown role"))?,
                expires_at: end.map(Timestamp::as_second),
                version: u64::try_from(version).map_err(Error::internal)?,
                agent_limits: read_limits(own)?,
                session_limits: read_limits(of_sessions)?,
            })
        })
        .collect()
}

fn data_keys(row: &Row, keys: &Keys, place: (TenantId, VaultId)) -> Result<Vec<Arc<SealingKey>>> {
    let (ids, versions): (Vec<Uuid>, Vec<i32>) = (row.try_get(24)?, row.try_get(25)?);
    let sealed: Vec<&[u8]> = row.try_get(26)?;
    let stored = pairs(ids, versions)
        .zip(sealed)
        .map(|((id, version), sealed)| SealedKey::read(id, version, sealed));
    let stored: Vec<SealedKey> = stored.collect::<Result<_>>()?;
    let above = row
        .try_get::<_, Option<Uuid>>(27)?
        .ok_or_else(|| Error::internal("a tenant without a key"))?;
    let above = SealedKey::read(above, row.try_get(28)?, row.try_get(29)?)?;
    keys.open_vault_keys(place, &above, &stored)
}

fn pairs<A, B>(one: Vec<A>, other: Vec<B>) -> impl Iterator<Item = (A, B)> {
    one.into_iter().zip(other)
}
