//! The cluster's one row: its identity and what its root key seals. And beats.

use sortie_proto::code::Code;
use sortie_proto::id::KeyId;
use sortie_proto::revision::Revision;
use sortie_proto::sealed::Sealed;
use uuid::Uuid;

use crate::database::keys::{blob, unblob};
use crate::database::{Connector, Transaction};
use crate::error::{Error, Result};

/// Held while the first replica makes the cluster. An arbitrary constant.
const CREATE_LOCK: i64 = 0x0073_6f72_7469_6503;

/// The cluster's identity and what its root key seals.
#[derive(Debug)]
pub struct Cluster {
    /// Made at the first start; part of the place of everything below.
    pub id: Uuid,
    /// Rises when a backup is restored.
    pub epoch: u64,
    /// Which root key sealed the rest.
    pub root_key: KeyId,
    /// Tells whether the root key is the right one.
    pub canary: Sealed,
    /// The key of the keyed hashes of API keys.
    pub pepper: Sealed,
    /// The cluster's own certificate authority, DER.
    pub authority_cert: Vec<u8>,
    /// Its private key, PKCS#8.
    pub authority_key: Sealed,
}

/// Takes the lock under which the cluster is made, until the transaction ends.
///
/// # Errors
/// As the database's.
pub async fn lock(tx: &Transaction) -> Result<()> {
    tx.execute(
        "/* cluster.lock */ SELECT pg_advisory_xact_lock($1)",
        &[&CREATE_LOCK],
    )
    .await?;
    Ok(())
}

/// The cluster, if it has been made.
///
/// # Errors
/// As the database's.
pub async fn load(tx: &Transaction) -> Result<Option<Cluster>> {
    let row = tx
        .query_opt(
            "/* cluster.load */ SELECT id, epoch, root_key_id, canary, pepper, authority_cert, authority_key FROM cluster",
            &[],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Cluster {
        id: row.try_get(0)?,
        epoch: u64::try_from(row.try_get::<_, i64>(1)?).map_err(Error::internal)?,
        root_key: row.try_get::<_, Uuid>(2)?.into(),
        canary: unblob(row.try_get(3)?)?,
        pepper: unblob(row.try_get(4)?)?,
        authority_cert: row.try_get(5)?,
        authority_key: unblob(row.try_get(6)?)?,
    }))
}

/// The cluster's id and its last revision, in a database of which nothing is known: it may be empty, and of a version
/// before this one. It is asked as the owner, and nothing is made in it.
///
/// # Errors
/// `unavailable` if the database does not answer.
pub async fn position(connector: &Connector) -> Result<Option<(Uuid, Revision)>> {
    let (client, driver) = connector.connect().await?;
    let ask = async {
        let there = "SELECT to_regclass('cluster') IS NOT NULL";
        if !client.query_one(there, &[]).await?.try_get(0)? {
            return Ok(None);
        }
        let row = "SELECT id, epoch, head_n FROM cluster";
        let Some(row) = client.query_opt(row, &[]).await? else {
            return Ok(None);
        };
        let number = |at| u64::try_from(row.try_get::<_, i64>(at)?).map_err(Error::internal);
        let last = Revision {
            epoch: number(1)?,
            n: number(2)?,
        };
        Ok(Some((row.try_get(0)?, last)))
    };
    tokio::select! {
        found = ask => found,
        ended = driver => Err(ended.err().map_or_else(|| Error::new(Code::Unavailable), Error::from)),
    }
}

/// Makes the cluster, at epoch 1.
///
/// # Errors
/// `already_exists` if there is one.
pub async fn insert(tx: &Transaction, cluster: &Cluster) -> Result<()> {
    tx.execute(
        "/* cluster.insert */ INSERT INTO cluster (id, epoch, root_key_id, canary, pepper, authority_cert, authority_key) \
         VALUES ($1, 1, $2, $3, $4, $5, $6)",
        &[
            &cluster.id,
            &cluster.root_key.uuid(),
            &blob(&cluster.canary),
            &blob(&cluster.pepper),
            &cluster.authority_cert,
            &blob(&cluster.authority_key),
        ],
    )
    .await?;
    Ok(())
}

/// Records the operators' first key.
///
/// # Errors
/// As the database's.
pub async fn insert_operator_key(tx: &Transaction, hash: &[u8], last_four: &str) -> Result<()> {
    tx.execute(
        "/* cluster.operator_key */ INSERT INTO api_keys (id, tenant_id, name, role, hash, last_four) \
         VALUES ($1, NULL, 'first', 'operator', $2, $3)",
        &[&sortie_proto::id::ApiKeyId::generate().uuid(), &hash, &last_four],
    )
    .await?;
    Ok(())
}

/// Writes a replica's beat. Answers the database's time, in microseconds since the Unix epoch.
///
/// # Errors
/// As the database's.
pub async fn beat(tx: &Transaction, replica: Uuid, number: i64) -> Result<i64> {
    let row = tx
        .query_one(
            "/* beats.put */ INSERT INTO beats (replica_id, number, at) VALUES ($1, $2, now()) \
             ON CONFLICT (replica_id) DO UPDATE SET number = excluded.number, at = excluded.at \
             RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
            &[&replica, &number],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Whether a replica has beaten in the last five seconds.
///
/// # Errors
/// As the database's.
pub async fn is_beating(tx: &Transaction) -> Result<bool> {
    let row = tx
        .query_one(
            "/* beats.recent */ SELECT EXISTS (SELECT FROM beats WHERE at > now() - interval '5 seconds')",
            &[],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Begins an epoch: its first change gets the number 1. Changes of earlier ones are forgotten by upkeep.
///
/// # Errors
/// As the database's.
pub async fn begin_epoch(tx: &Transaction, epoch: u64) -> Result<()> {
    let epoch = i64::try_from(epoch).map_err(Error::internal)?;
    tx.execute(
        "/* cluster.begin_epoch */ UPDATE cluster SET epoch = $1, head_n = 0, compacted_n = 0",
        &[&epoch],
    )
    .await?;
    Ok(())
}

/// Raises the generation of every tenant, with a line in its audit log, and one in the cluster's; answers how many.
///
/// # Errors
/// As the database's.
pub async fn end_sessions(tx: &Transaction, detail: &serde_json::Value) -> Result<u64> {
    let tenants = tx
        .execute(
            "/* tenants.end_sessions */ WITH raised AS (UPDATE tenants SET generation = generation + 1, \
             version = version + 1 RETURNING id, name) \
             INSERT INTO audit_acts (id, tenant_id, actor, action, subject, detail) \
             SELECT gen_random_uuid(), id, 'sortie-control', 'cluster.fence', name, $1 FROM raised",
            &[detail],
        )
        .await?;
    tx.execute(
        "/* acts.fence */ INSERT INTO audit_acts (id, tenant_id, actor, action, subject, detail) \
         VALUES (gen_random_uuid(), NULL, 'sortie-control', 'cluster.fence', 'cluster', $1)",
        &[detail],
    )
    .await?;
    Ok(tenants)
}

/// Forgets replicas that have not beaten for an hour.
///
/// # Errors
/// As the database's.
pub async fn forget_replicas(tx: &Transaction) -> Result<()> {
    tx.execute(
        "/* beats.forget */ DELETE FROM beats WHERE at < now() - interval '1 hour'",
        &[],
    )
    .await?;
    Ok(())
}

/// Makes the partitions of the audit log for today and the next two days.
///
/// # Errors
/// As the database's.
pub async fn make_partitions(tx: &Transaction) -> Result<()> {
    tx.execute(
        "/* audit.partitions */ SELECT make_audit_partitions((now() AT TIME ZONE 'UTC')::date + day) \
         FROM generate_series(0, 2) AS day",
        &[],
    )
    .await?;
    Ok(())
}
