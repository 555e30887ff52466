//! Gateways: join tokens, enrolment, what each has acknowledged and reported, and which vaults it holds.

pub mod processes;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sortie_proto::id::{ActId, GatewayId, SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::column::{signed, small, unsigned};
use super::vaults::STALENESS_BEFORE;
use super::{Reference, Transaction};
use crate::error::{Error, Result};

/// A gateway, as it stands in the table.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// What operators call it.
    pub name: String,
    /// The version that it last said it runs.
    pub version: String,
    /// Up to where it last said that changes are enforced.
    pub acknowledged: Revision,
    /// When a replica last had a stream of it.
    pub last_seen_at: Option<Timestamp>,
    /// How long ago that was, by the database's clock.
    pub silent: Option<Duration>,
    /// Since when it is shut out.
    pub locked_at: Option<Timestamp>,
    /// When it enrolled.
    pub created_at: Timestamp,
    /// How many revisions there are that it has not acknowledged.
    pub behind: u64,
    /// How long ago the first of them was made that is still kept.
    pub lag: Duration,
    /// What it last reported, and when.
    pub reported: Option<(Report, Timestamp)>,
}

/// What a gateway reports of itself. Serialized for `seen`: the fields are the columns.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Report {
    /// Sessions with something open.
    pub sessions: u32,
    /// Their connections and tunnels.
    pub connections: u32,
    /// Vaults in memory.
    pub vaults: u32,
    /// How long ago the moment is that control last confirmed.
    pub lease_age_millis: u64,
}

/// A gateway beside the head of the order.
const COLUMNS: &str = "g.id, g.name, g.version, g.acknowledged_epoch, g.acknowledged_n, g.last_seen_at, g.locked_at, \
     g.created_at, extract(epoch FROM now() - g.last_seen_at)::float8 AS silent, \
     greatest(0, c.head_n - mine.n) AS behind, coalesce(extract(epoch FROM now() - (SELECT l.at FROM changes l \
     WHERE l.epoch = c.epoch AND l.n > mine.n ORDER BY l.n LIMIT 1)), 0)::float8 AS lag, \
     g.sessions, g.connections, g.vaults, g.lease_age_millis, g.reported_at \
     FROM gateways g CROSS JOIN cluster c CROSS JOIN LATERAL \
     (SELECT CASE WHEN g.acknowledged_epoch = c.epoch THEN g.acknowledged_n ELSE 0 END AS n) mine";

fn gateway(row: &tokio_postgres::Row) -> Result<Gateway> {
    let number = |at: usize| u64::try_from(row.try_get::<_, i64>(at)?).map_err(Error::internal);
    // The clock of the database may step back.
    let seconds = |past: f64| Duration::try_from_secs_f64(past).unwrap_or_default();
    let report = Report {
        sessions: small(row, "sessions")?,
        connections: small(row, "connections")?,
        vaults: small(row, "vaults")?,
        lease_age_millis: unsigned(row, "lease_age_millis")?,
    };
    let reported_at: Option<Timestamp> = row.try_get("reported_at")?;
    Ok(Gateway {
        id: row.try_get::<_, Uuid>(0)?.into(),
        name: row.try_get(1)?,
        version: row.try_get(2)?,
        acknowledged: Revision {
            epoch: number(3)?,
            n: number(4)?,
        },
        last_seen_at: row.try_get(5)?,
        silent: row.try_get::<_, Option<f64>>("silent")?.map(seconds),
        locked_at: row.try_get(6)?,
        created_at: row.try_get(7)?,
        behind: unsigned(row, "behind")?,
        lag: seconds(row.try_get("lag")?),
        reported: reported_at.map(|at| (report, at)),
    })
}

/// A gateway by its id.
///
/// # Errors
/// As the database's.
pub async fn get(tx: &Transaction, id: GatewayId) -> Result<Option<Gateway>> {
    let sql = format!("/* gateways.get */ SELECT {COLUMNS} WHERE g.id = $1");
    let row = tx.query_opt(&sql, &[&id.uuid()]).await?;
    row.as_ref().map(gateway).transpose()
}

/// Gateways behind an id, in the order in which they enrolled, at most `limit`.
///
/// # Errors
/// As the database's.
pub async fn list(tx: &Transaction, after: Option<GatewayId>, limit: i64) -> Result<Vec<Gateway>> {
    let sql = format!(
        "/* gateways.list */ SELECT {COLUMNS} WHERE $1::uuid IS NULL OR g.id > $1 ORDER BY g.id LIMIT $2"
    );
    let after = after.map(GatewayId::uuid);
    tx.query(&sql, &[&after, &limit])
        .await?
        .iter()
        .map(gateway)
        .collect()
}

/// Whether a gateway is shut out, or unknown.
///
/// # Errors
/// As the database's.
pub async fn is_locked(tx: &Transaction, id: GatewayId) -> Result<bool> {
    let open = tx
        .query_opt(
            "/* gateways.is_locked */ SELECT 1 FROM gateways WHERE id = $1 AND locked_at IS NULL",
            &[&id.uuid()],
        )
        .await?;
    Ok(open.is_none())
}

/// The gateways of an id or a name, which several may have, locked.
///
/// # Errors
/// As the database's.
pub async fn named(tx: &Transaction, gateway: Reference<'_>) -> Result<Vec<GatewayId>> {
    let rows = tx
        .query(
            "/* gateways.named */ SELECT id FROM gateways WHERE id = $1 OR name = $2 ORDER BY id FOR NO KEY UPDATE",
            &[&gateway.id, &gateway.name],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(row.try_get::<_, Uuid>(0)?.into()))
        .collect()
}

/// Shuts a gateway out, or lets it in again. The first time counts.
///
/// # Errors
/// As the database's.
pub async fn set_locked(tx: &Transaction, gateway: GatewayId, locked: bool) -> Result<()> {
    tx.execute(
        "/* gateways.set_locked */ UPDATE gateways SET locked_at = CASE WHEN $2 THEN coalesce(locked_at, now()) END \
         WHERE id = $1",
        &[&gateway.uuid(), &locked],
    )
    .await?;
    Ok(())
}

/// The gateways that are shut out.
///
/// # Errors
/// As the database's.
pub async fn locked(tx: &Transaction) -> Result<Vec<GatewayId>> {
    let rows = tx
        .query(
            "/* gateways.locked */ SELECT id FROM gateways WHERE locked_at IS NOT NULL",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(row.try_get::<_, Uuid>(0)?.into()))
        .collect()
}

/// How many gateways were heard of in the last fifteen seconds, and are not shut out: limits are shared among them.
///
/// # Errors
/// As the database's.
pub async fn live(tx: &Transaction) -> Result<u32> {
    let row = tx
        .query_one(
            "/* gateways.live */ SELECT count(*) FROM gateways WHERE locked_at IS NULL \
             AND last_seen_at > now() - interval '15 seconds'",
            &[],
        )
        .await?;
    u32::try_from(row.try_get::<_, i64>(0)?).map_err(Error::internal)
}

/// Stores a join token by its keyed hash.
///
/// # Errors
/// As the database's.
pub async fn insert_join(
    tx: &Transaction,
    hash: &[u8],
    name: &str,
    expires_at: Timestamp,
) -> Result<()> {
    tx.execute(
        "/* join_tokens.insert */ INSERT INTO join_tokens (hash, name, expires_at) VALUES ($1, $2, $3)",
        &[&hash, &name, &expires_at],
    )
    .await?;
    Ok(())
}

/// Uses up a join token and answers the name that it was made for. The row lock makes two uses at once impossible.
///
/// # Errors
/// As the database's.
pub async fn use_join(tx: &Transaction, hash: &[u8], gateway: GatewayId) -> Result<Option<String>> {
    let row = tx
        .query_opt(
            "/* join_tokens.use */ UPDATE join_tokens SET used_at = now(), gateway_id = $2 \
             WHERE hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING name",
            &[&hash, &gateway.uuid()],
        )
        .await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Stores a gateway that enrolled. Names may repeat: a node that lost its disk joins again under its old one.
///
/// # Errors
/// As the database's.
pub async fn insert(tx: &Transaction, id: GatewayId, name: &str) -> Result<()> {
    tx.execute(
        "/* gateways.insert */ INSERT INTO gateways (id, name) VALUES ($1, $2)",
        &[&id.uuid(), &name],
    )
    .await?;
    Ok(())
}

/// What a gateway, or one process of it, said on its stream.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Which.
    pub gateway: GatewayId,
    /// Which of its processes; of a gateway, the one that was heard last.
    pub boot: &'a [u8],
    /// The version that it runs.
    pub version: &'a str,
    /// Up to where changes are enforced.
    pub acknowledged: Revision,
    /// How long ago it last said anything.
    pub ago: Duration,
    /// What it last reported on this stream.
    pub report: Option<Report>,
}

/// Records what gateways said on their streams, each named once, and what of it each of their processes did. An
/// acknowledgement of a process never goes back within an epoch.
///
/// Rows of gateways are locked in the order of their ids, and those of processes behind them: replicas, and two tasks of
/// one, may write the same ones.
///
/// # Errors
/// As the database's.
pub async fn seen(tx: &Transaction, said: &[Said<'_>], processes: &[Said<'_>]) -> Result<()> {
    let ids: Vec<Uuid> = said.iter().map(|said| said.gateway.uuid()).collect();
    let versions: Vec<&str> = said.iter().map(|said| said.version).collect();
    let ago: Vec<f64> = said.iter().map(|said| said.ago.as_secs_f64()).collect();
    let revisions = said.iter().map(|said| said.acknowledged);
    let epochs = revisions.clone().map(|revision| signed(revision.epoch));
    let epochs: Vec<i64> = epochs.collect::<Result<_>>()?;
    // Nothing of a gateway that has not reported yet is written over.
    let reports: Vec<Option<Json<Report>>> =
        said.iter().map(|said| said.report.map(Json)).collect();
    let numbers: Vec<i64> = revisions
        .map(|revision| signed(revision.n))
        .collect::<Result<_>>()?;
    tx.execute(
        "/* gateways.seen */ WITH mine AS (SELECT id FROM gateways WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE) \
         UPDATE gateways g SET version = s.version, \
         last_seen_at = greatest(g.last_seen_at, now() - make_interval(secs => s.ago)), \
         acknowledged_n = CASE WHEN g.acknowledged_epoch = s.epoch THEN greatest(g.acknowledged_n, s.n) ELSE s.n END, \
         acknowledged_epoch = s.epoch, sessions = coalesce((s.report->>'sessions')::int, g.sessions), \
         connections = coalesce((s.report->>'connections')::int, g.connections), \
         vaults = coalesce((s.report->>'vaults')::int, g.vaults), \
         lease_age_millis = coalesce((s.report->>'lease_age_millis')::int8, g.lease_age_millis), \
         reported_at = CASE WHEN s.report IS NULL THEN g.reported_at ELSE now() END \
         FROM mine JOIN unnest($1::uuid[], $2::text[], $3::float8[], $4::int8[], $5::int8[], $6::jsonb[]) \
         AS s (id, version, ago, epoch, n, report) USING (id) WHERE g.id = s.id",
        &[&ids, &versions, &ago, &epochs, &numbers, &reports],
    )
    .await?;
    processes::seen(tx, processes).await
}

/// A gateway that may hold something, and the end of its last lease if nobody hears from it again.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Which.
    pub gateway: GatewayId,
    /// What operators call it.
    pub name: String,
    /// From then on it serves nothing.
    pub fenced_at: Timestamp,
    /// How long after its last word a process of it may serve what it is asked about.
    pub lease: Duration,
}

/// For how long after a release has ended a gateway may still have something of its tenant open: the longest staleness,
/// for which it serves on tokens that it could not show to anybody, and the longest life of such a token.
const LINGER_SECONDS: i64 = (1 + 7) * 86_400;

/// The gateways that may serve a tenant, or one vault of it, or have something of it open: each was released one
/// against a token that is still good or ended no longer ago than a week and a day, and was heard of no longer ago than
/// that vault's staleness, or a longer one that it may still go by.
///
/// A lease runs from the moment at which the gateway sent what control echoed, which is before control heard of it. What
/// was heard may not be written yet: ten seconds are five periods of the replica that heard it.
///
/// # Errors
/// As the database's.
pub async fn holders(
    tx: &Transaction,
    tenant: TenantId,
    vault: Option<VaultId>,
) -> Result<Vec<Holder>> {
    let sql = format!(
        "/* gateways.holders */ SELECT id, name, lease, seen_at + make_interval(secs => lease) AS fenced_at \
             FROM (SELECT g.id, g.name, coalesce(g.last_seen_at, g.created_at) AS seen_at, \
             max(10 + greatest(coalesce(v.staleness_seconds, 86400), {STALENESS_BEFORE}))::float8 AS lease \
             FROM gateways g JOIN vault_releases r ON r.gateway_id = g.id LEFT JOIN vaults v ON v.id = r.vault_id \
             WHERE r.tenant_id = $1 AND ($2::uuid IS NULL OR r.vault_id = $2) \
             AND r.expires_at > extract(epoch FROM now()) - $3::int8 GROUP BY g.id) h \
             WHERE seen_at + make_interval(secs => lease) > now() ORDER BY id"
    );
    let vault = vault.map(VaultId::uuid);
    let rows = tx
        .query(&sql, &[&tenant.uuid(), &vault, &LINGER_SECONDS])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Holder {
                gateway: row.try_get::<_, Uuid>(0)?.into(),
                name: row.try_get(1)?,
                lease: Duration::try_from_secs_f64(row.try_get(2)?).map_err(Error::internal)?,
                fenced_at: row.try_get(3)?,
            })
        })
        .collect()
}

/// Those of some gateways that have acknowledged a revision, or a later one: each of their processes that may serve.
///
/// The gateway's own row counts too: a replica of the version before writes no other.
///
/// # Errors
/// As the database's.
pub async fn enforcing(
    tx: &Transaction,
    gateways: &[Holder],
    revision: Revision,
) -> Result<Vec<GatewayId>> {
    let ids: Vec<Uuid> = gateways.iter().map(|one| one.gateway.uuid()).collect();
    let leases: Vec<f64> = gateways.iter().map(|one| one.lease.as_secs_f64()).collect();
    let rows = tx
        .query(
            "/* gateways.enforcing */ SELECT g.id FROM unnest($1::uuid[], $2::float8[]) AS h (id, lease) \
             JOIN gateways g USING (id) WHERE (g.acknowledged_epoch, g.acknowledged_n) >= ($3, $4) \
             AND NOT EXISTS (SELECT FROM gateway_processes p WHERE p.gateway_id = g.id AND p.ended_at IS NULL \
             AND p.last_seen_at + make_interval(secs => h.lease) > now() \
             AND (p.acknowledged_epoch, p.acknowledged_n) < ($3, $4))",
            &[&ids, &leases, &signed(revision.epoch)?, &signed(revision.n)?],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(row.try_get::<_, Uuid>(0)?.into()))
        .collect()
}

/// A vault that a gateway may hold, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// The node.
    pub gateway: GatewayId,
    /// Whose vault.
    pub tenant: TenantId,
    /// The vault.
    pub vault: VaultId,
    /// The session whose token proved the need.
    pub session: SessionId,
    /// The end of that token, in seconds since the Unix epoch.
    pub until: i64,
}

/// Records a release; answers whether it is new or ends later than the one before, and so belongs into the audit log.
///
/// # Errors
/// As the database's.
pub async fn release(tx: &Transaction, release: &Release) -> Result<bool> {
    let changed = tx
        .execute(
            "/* vault_releases.put */ INSERT INTO vault_releases (gateway_id, vault_id, tenant_id, session_id, expires_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gateway_id, vault_id) DO UPDATE SET \
             session_id = excluded.session_id, expires_at = excluded.expires_at, released_at = now() \
             WHERE vault_releases.expires_at < excluded.expires_at",
            &[
                &release.gateway.uuid(),
                &release.vault.uuid(),
                &release.tenant.uuid(),
                &release.session.uuid(),
                &release.until,
            ],
        )
        .await?;
    Ok(changed > 0)
}

/// The tenants of which a gateway holds a vault, or may still have something open that a revocation must reach. What
/// it is sent for that, a tenant's settings and revocations, holds no vault: each of those takes a token that is good.
///
/// # Errors
/// As the database's.
pub async fn entitled(tx: &Transaction, gateway: GatewayId, now: i64) -> Result<Vec<TenantId>> {
    let rows = tx
        .query(
            "/* vault_releases.tenants */ SELECT DISTINCT tenant_id FROM vault_releases \
             WHERE gateway_id = $1 AND expires_at > $2",
            &[&gateway.uuid(), &now.saturating_sub(LINGER_SECONDS)],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(row.try_get::<_, Uuid>(0)?.into()))
        .collect()
}

/// An act of a gateway, for the audit log.
#[derive(Debug)]
pub struct Act {
    /// Who.
    pub gateway: GatewayId,
    /// What, e.g. `vault.release`.
    pub action: &'static str,
    /// To what, as text.
    pub subject: String,
    /// Whose; none for the cluster's own.
    pub tenant: Option<TenantId>,
    /// The vault, if it is about one.
    pub vault: Option<VaultId>,
    /// The session that proved the need.
    pub session: Option<SessionId>,
}

/// Writes an act of a gateway into the audit log.
///
/// # Errors
/// As the database's.
pub async fn record(tx: &Transaction, act: &Act) -> Result<()> {
    tx.execute(
        "/* audit_acts.gateway */ INSERT INTO audit_acts (id, tenant_id, actor, action, subject, vault_id, session_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &ActId::generate().uuid(),
            &act.tenant.map(TenantId::uuid),
            &act.gateway.to_string(),
            &act.action,
            &act.subject,
            &act.vault.map(VaultId::uuid),
            &act.session.map(SessionId::uuid),
        ],
    )
    .await?;
    Ok(())
}
