//! The outbox, the ordered changes and the live revocations.

use prost::Message;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Change, Object};
use sortie_proto::id::{SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use uuid::Uuid;

use crate::database::{Database, Floor, Transaction};
use crate::error::{Error, Result};

/// The channel that sequencing notifies. It only wakes: what is new is read from the table.
pub const CHANNEL: &str = "sortie_changes";

/// Held while the outbox is moved. An arbitrary constant.
const SEQUENCE_LOCK: i64 = 0x0073_6f72_7469_6502;

/// How long a revocation outlives the last token that it covers: clocks of nodes and replicas differ, and an entry that
/// stays too long refuses nothing more.
const EXPIRY_SLACK_SECONDS: i64 = 300;

/// How many changes one transaction of [`compact`] deletes at most.
const FORGOTTEN_AT_ONCE: i64 = 5_000;

/// Puts a change into the outbox, in the transaction that makes it.
///
/// Without a tenant it goes to every gateway; with a tenant to those that serve it; with a vault to those that
/// subscribed to it.
///
/// # Errors
/// As the database's.
pub async fn publish(
    tx: &Transaction,
    tenant: Option<TenantId>,
    vault: Option<VaultId>,
    object: &Object,
) -> Result<()> {
    let mut wire = v1::Change::from(&Change {
        revision: Revision::default(),
        object: object.clone(),
    });
    wire.revision = None;
    let body = wire.encode_to_vec();
    let (tenant, vault) = (tenant.map(TenantId::uuid), vault.map(VaultId::uuid));
    tx.execute(
        "/* outbox.insert */ INSERT INTO outbox (tenant_id, vault_id, body) VALUES ($1, $2, $3)",
        &[&tenant, &vault, &body],
    )
    .await?;
    Ok(())
}

/// Records a revocation and publishes it. A later one for the same subject takes the place of the earlier, and never
/// with a lower generation or an earlier end.
///
/// # Errors
/// As the database's.
pub async fn revoke(tx: &Transaction, revocation: &Revocation) -> Result<()> {
    let subject = Subject::of(revocation)?;
    let unique = match subject.user {
        Some(_) => "(tenant_id, user_name) WHERE kind = 'user'",
        None => "(tenant_id, kind, subject_id)",
    };
    let sql = format!(
        "/* revocations.put */ INSERT INTO revocations (tenant_id, kind, subject_id, user_name, generation, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT {unique} DO UPDATE SET \
         generation = greatest(revocations.generation, excluded.generation), \
         expires_at = greatest(revocations.expires_at, excluded.expires_at)"
    );
    tx.execute(
        &sql,
        &[
            &revocation.tenant.uuid(),
            &subject.kind,
            &subject.id,
            &subject.user,
            &subject.generation,
            &revocation.expires_at,
        ],
    )
    .await?;
    let object = Object::Revocation(revocation.clone());
    publish(tx, Some(revocation.tenant), None, &object).await
}

/// The columns of a revoked subject.
struct Subject<'a> {
    kind: &'static str,
    id: Uuid,
    user: Option<&'a str>,
    generation: i64,
}

impl<'a> Subject<'a> {
    fn of(revocation: &'a Revocation) -> Result<Self> {
        let mut user = None;
        let (kind, id, generation) = match &revocation.subject {
            RevokedSubject::Session(id) => ("session", id.uuid(), 0),
            RevokedSubject::Agent(id, generation) => ("agent", id.uuid(), *generation),
            RevokedSubject::Vault(id, generation) => ("vault", id.uuid(), *generation),
            RevokedSubject::Tenant(generation) => ("tenant", revocation.tenant.uuid(), *generation),
            RevokedSubject::User(name, generation) => {
                user = Some(name.as_str());
                ("user", SessionId::generate().uuid(), *generation)
            }
            RevokedSubject::Parent(id, generation) => ("parent", id.uuid(), *generation),
            RevokedSubject::Credential(id, version) => ("credential", id.uuid(), (*version).into()),
        };
        Ok(Self {
            kind,
            id,
            user,
            generation: i64::try_from(generation).map_err(Error::internal)?,
        })
    }
}

/// The revocations of a tenant that may still cover a token, by the database's clock and with slack. An entry of an unknown kind is an error, never left out.
///
/// # Errors
/// As the database's.
pub async fn live_revocations(tx: &Transaction, tenant: TenantId) -> Result<Vec<Revocation>> {
    let rows = tx
        .query(
            "/* revocations.live */ SELECT kind, subject_id, generation, expires_at, user_name FROM revocations \
             WHERE tenant_id = $1 AND expires_at > extract(epoch FROM now())::int8 - $2",
            &[&tenant.uuid(), &EXPIRY_SLACK_SECONDS],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let id: Uuid = row.try_get(1)?;
            let generation = u64::try_from(row.try_get::<_, i64>(2)?).map_err(Error::internal)?;
            let subject = match row.try_get::<_, &str>(0)? {
                "session" => RevokedSubject::Session(id.into()),
                "agent" => RevokedSubject::Agent(id.into(), generation),
                "vault" => RevokedSubject::Vault(id.into(), generation),
                "tenant" => RevokedSubject::Tenant(generation),
                "user" => RevokedSubject::User(row.try_get(4)?, generation),
                "parent" => RevokedSubject::Parent(id.into(), generation),
                "credential" => {
                    let version = u32::try_from(generation).map_err(Error::internal)?;
                    RevokedSubject::Credential(id.into(), version)
                }
                _ => return Err(Error::internal("a revocation of an unknown kind")),
            };
            Ok(Revocation {
                tenant,
                subject,
                expires_at: row.try_get(3)?,
            })
        })
        .collect()
}

/// Moves the outbox to `changes` with dense revisions. The caller commits at once: nothing else belongs into the same
/// transaction, for the lock is held until its end. Answers the last revision.
///
/// A replica that freezes while it holds the lock loses it after two seconds, and with it its connection: every other
/// one waits for it meanwhile.
///
/// The lock is taken in a statement of its own, so that the next one, under READ COMMITTED, sees everything that
/// committed before the lock was had.
///
/// An order that ends before what was seen of it is not written on: its next revisions were given out before, to other
/// changes. The caller tells the floor of what it has committed.
///
/// # Errors
/// As the database's; `unavailable` when it has gone back.
pub async fn sequence(tx: &Transaction, floor: &Floor) -> Result<Revision> {
    let seen = floor.seen();
    tx.batch("SET LOCAL idle_in_transaction_session_timeout = '2s'; SET LOCAL lock_timeout = '4s'")
        .await?;
    tx.execute(
        "/* changes.lock */ SELECT pg_advisory_xact_lock($1)",
        &[&SEQUENCE_LOCK],
    )
    .await?;
    let moved = tx
        .query_one(
            "/* changes.sequence */ WITH head AS (SELECT epoch, head_n FROM cluster), \
             moved AS (DELETE FROM outbox RETURNING id, tenant_id, vault_id, body), \
             put AS (INSERT INTO changes (epoch, n, tenant_id, vault_id, body) \
                SELECT head.epoch, head.head_n + row_number() OVER (ORDER BY moved.id), tenant_id, vault_id, body \
                FROM moved, head RETURNING n) \
             SELECT count(*), (SELECT epoch FROM head), (SELECT head_n FROM head) FROM put",
            &[],
        )
        .await?;
    let (count, epoch, base): (i64, i64, i64) =
        (moved.try_get(0)?, moved.try_get(1)?, moved.try_get(2)?);
    floor.compare(seen, revision(epoch, base)?)?;
    if count > 0 {
        tx.execute(
            "/* changes.advance */ UPDATE cluster SET head_n = head_n + $1",
            &[&count],
        )
        .await?;
        tx.execute("/* changes.notify */ SELECT pg_notify($1, '')", &[&CHANNEL])
            .await?;
    }
    revision(epoch, base.saturating_add(count))
}

/// One ordered change as it stands in the table.
#[derive(Debug)]
pub struct Row {
    /// Its position.
    pub revision: Revision,
    /// Whose gateways get it; `None` is all.
    pub tenant: Option<TenantId>,
    /// Whose subscribers get it.
    pub vault: Option<VaultId>,
    /// A `v1::Change` without its revision.
    pub body: Vec<u8>,
}

/// Where the order stands.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The last revision.
    pub last: Revision,
    /// The highest number of the epoch that is no longer kept.
    pub compacted: u64,
}

/// Where the order stands, for this transaction.
///
/// # Errors
/// As the database's.
pub async fn head(tx: &Transaction) -> Result<Head> {
    let row = tx
        .query_one(
            "/* changes.head */ SELECT epoch, head_n, compacted_n FROM cluster",
            &[],
        )
        .await?;
    Ok(Head {
        last: revision(row.try_get(0)?, row.try_get(1)?)?,
        compacted: u64::try_from(row.try_get::<_, i64>(2)?).map_err(Error::internal)?,
    })
}

/// The changes behind a revision, in order, at most `limit`.
///
/// # Errors
/// As the database's.
pub async fn after(tx: &Transaction, after: Revision, limit: i64) -> Result<Vec<Row>> {
    let (epoch, n) = columns(after)?;
    let rows = tx
        .query(
            "/* changes.after */ SELECT n, tenant_id, vault_id, body FROM changes \
             WHERE epoch = $1 AND n > $2 ORDER BY n LIMIT $3",
            &[&epoch, &n, &limit],
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Row {
                revision: revision(epoch, row.try_get(0)?)?,
                tenant: row.try_get::<_, Option<Uuid>>(1)?.map(Into::into),
                vault: row.try_get::<_, Option<Uuid>>(2)?.map(Into::into),
                body: row.try_get(3)?,
            })
        })
        .collect()
}

/// Whether something is committed that has no revision yet.
///
/// # Errors
/// As the database's.
pub async fn is_waiting(tx: &Transaction) -> Result<bool> {
    let row = tx
        .query_one(
            "/* outbox.waiting */ SELECT EXISTS (SELECT FROM outbox)",
            &[],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Whether a vault has a change behind a revision of the epoch that is still kept.
///
/// # Errors
/// As the database's.
pub async fn vault_changed(tx: &Transaction, vault: VaultId, since: Revision) -> Result<bool> {
    let (epoch, n) = columns(since)?;
    let row = tx
        .query_one(
            "/* changes.vault_changed */ SELECT EXISTS (SELECT FROM changes \
             WHERE vault_id = $1 AND epoch = $2 AND n > $3)",
            &[&vault.uuid(), &epoch, &n],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Whether there is an entry for what is revoked, in the place of which another one comes.
///
/// # Errors
/// As the database's.
pub async fn is_revoked(tx: &Transaction, revocation: &Revocation) -> Result<bool> {
    let subject = Subject::of(revocation)?;
    let row = tx
        .query_one(
            "/* revocations.known */ SELECT EXISTS (SELECT FROM revocations WHERE tenant_id = $1 AND kind = $2 \
             AND CASE WHEN kind = 'user' THEN user_name = $4 ELSE subject_id = $3 END)",
            &[
                &revocation.tenant.uuid(),
                &subject.kind,
                &subject.id,
                &subject.user,
            ],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// How many live revocations a tenant has of what it may have any number of, sessions and users; counted no further
/// than `most`.
///
/// # Errors
/// As the database's.
pub async fn live_entries(tx: &Transaction, tenant: TenantId, most: i64) -> Result<i64> {
    let row = tx
        .query_one(
            "/* revocations.count */ SELECT count(*) FROM (SELECT FROM revocations \
             WHERE tenant_id = $1 AND kind IN ('session', 'user', 'parent') LIMIT $2) AS live",
            &[&tenant.uuid(), &most],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Forgets changes older than the last `keep` and revocations that cover no token any more.
///
/// The row that says how far is committed first and the rest is deleted in small transactions: sequencing needs that
/// row, and waits for none of it.
///
/// # Errors
/// As the database's. What was deleted until then stays so; the next call goes on.
pub async fn compact(database: &Database, keep: i64) -> Result<()> {
    let tx = database.system().await?;
    tx.execute(
        "/* changes.compact */ UPDATE cluster SET compacted_n = head_n - $1 WHERE head_n - $1 > compacted_n",
        &[&keep],
    )
    .await?;
    tx.commit().await?;
    while forget(database).await? {}
    let tx = database.system().await?;
    tx.execute(
        "/* revocations.expire */ DELETE FROM revocations WHERE expires_at <= extract(epoch FROM now())::int8 - $1",
        &[&EXPIRY_SLACK_SECONDS],
    )
    .await?;
    tx.commit().await
}

/// Deletes some of the changes that are no longer kept; answers whether there may be more.
async fn forget(database: &Database) -> Result<bool> {
    let tx = database.system().await?;
    let deleted = tx
        .execute(
            "/* changes.forget */ DELETE FROM changes USING (SELECT c.epoch, c.n FROM changes c, cluster \
             WHERE c.epoch < cluster.epoch OR (c.epoch = cluster.epoch AND c.n <= cluster.compacted_n) \
             ORDER BY c.epoch, c.n LIMIT $1) AS past WHERE changes.epoch = past.epoch AND changes.n = past.n",
            &[&FORGOTTEN_AT_ONCE],
        )
        .await?;
    tx.commit().await?;
    Ok(i64::try_from(deleted).map_err(Error::internal)? >= FORGOTTEN_AT_ONCE)
}

fn revision(epoch: i64, n: i64) -> Result<Revision> {
    Ok(Revision {
        epoch: u64::try_from(epoch).map_err(Error::internal)?,
        n: u64::try_from(n).map_err(Error::internal)?,
    })
}

fn columns(revision: Revision) -> Result<(i64, i64)> {
    let signed = |number: u64| {
        i64::try_from(number)
            .map_err(|number| Error::invalid("revision", "is out of range").caused_by(number))
    };
    Ok((signed(revision.epoch)?, signed(revision.n)?))
}
