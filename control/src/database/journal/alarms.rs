//! The table `journal_alarms`: records of gateways that are missing, or are not those that were written.

use jiff::Timestamp;
use sortie_proto::id::{ActId, GatewayId};
use sortie_proto::wire::v1;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Boot;
use crate::database::column::{signed, small, unsigned};
use crate::database::gateways::{self, Act};
use crate::database::{Reference, Transaction};
use crate::error::{Error, Result};

/// The most alarms of one gateway that are kept; it cannot fill the table. What comes behind them is counted and logged.
const OF_GATEWAY_MAX: i64 = 10_000;
/// How long an alarm is kept. Its line in the cluster's audit log stays.
const KEPT_DAYS: i32 = 90;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records are gone: nothing of them came, and the node cannot read them.
    Gap,
    /// One of these records, or more, is not what the node wrote.
    Edited,
    /// Control has records that the node never wrote.
    Fork,
    /// The node died, and records that it had announced are not among what it left.
    Lost,
    /// What a dead boot left ends in bytes that are no record: what stood there never came.
    Torn,
}

impl Kind {
    /// Its name in the table, in metrics and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Edited => "edited",
            Self::Fork => "fork",
            Self::Lost => "lost",
            Self::Torn => "torn",
        }
    }
}

/// An alarm about a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// What is wrong.
    pub kind: Kind,
    /// Where.
    pub lane: u32,
    /// From this record on.
    pub first: u64,
    /// Up to this one.
    pub last: u64,
}

/// What became of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It is kept.
    New,
    /// It was raised before.
    Known,
    /// As many of the gateway's are kept as there may be: this one is not.
    Full,
}

/// Raises an alarm, and writes it into the cluster's audit log.
///
/// # Errors
/// As the database's.
pub async fn raise(tx: &Transaction, boot: Boot, alarm: &Alarm) -> Result<Raised> {
    let lane = i32::try_from(alarm.lane).map_err(Error::internal)?;
    // The second looks at what was there before the first.
    let row = tx
        .query_one(
            "/* journal_alarms.raise */ WITH raised AS (INSERT INTO journal_alarms (id, gateway_id, boot_id, lane, kind, \
             first_sequence, last_sequence) SELECT $1::uuid, $2::uuid, $3::uuid, $4::int4, $5::text, $6::int8, $7::int8 \
             WHERE (SELECT count(*) FROM journal_alarms WHERE gateway_id = $2) < $8 ON CONFLICT DO NOTHING RETURNING id) \
             SELECT EXISTS (SELECT FROM raised), EXISTS (SELECT FROM journal_alarms WHERE gateway_id = $2 AND boot_id = $3 \
             AND lane = $4 AND kind = $5 AND first_sequence = $6 AND last_sequence = $7)",
            &[
                &ActId::generate().uuid(),
                &boot.gateway.uuid(),
                &boot.id.uuid(),
                &lane,
                &alarm.kind.name(),
                &signed(alarm.first)?,
                &signed(alarm.last)?,
                &OF_GATEWAY_MAX,
            ],
        )
        .await?;
    let (raised, known): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if raised {
        record(tx, boot, alarm).await?;
        return Ok(Raised::New);
    }
    Ok(if known { Raised::Known } else { Raised::Full })
}

/// Forgets alarms that are older than they are kept.
///
/// # Errors
/// As the database's.
pub async fn forget(tx: &Transaction) -> Result<()> {
    tx.execute(
        "/* journal_alarms.forget */ DELETE FROM journal_alarms WHERE raised_at < now() - make_interval(days => $1)",
        &[&KEPT_DAYS],
    )
    .await?;
    Ok(())
}

async fn record(tx: &Transaction, boot: Boot, alarm: &Alarm) -> Result<()> {
    let act = Act {
        gateway: boot.gateway,
        action: "journal.alarm",
        subject: format!(
            "{} {} lane {} records {}-{}",
            alarm.kind.name(),
            boot.id,
            alarm.lane,
            alarm.first,
            alarm.last
        ),
        tenant: None,
        vault: None,
        session: None,
    };
    gateways::record(tx, &act).await
}

/// Alarms of one gateway, by id or name, or of all; the newest first.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    gateway: Option<Reference<'_>>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<(Uuid, v1::JournalAlarm)>> {
    let (id, name) = gateway.map_or((None, None), |gateway| (gateway.id, gateway.name));
    tx.query(
        "/* journal_alarms.list */ SELECT a.*, g.name FROM journal_alarms a JOIN gateways g ON g.id = a.gateway_id \
         WHERE ($1::uuid IS NULL OR g.id = $1) AND ($2::text IS NULL OR g.name = $2) \
         AND ($3::uuid IS NULL OR a.id < $3) ORDER BY a.id DESC LIMIT $4",
        &[&id, &name, &before, &limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &Row) -> Result<(Uuid, v1::JournalAlarm)> {
    let id = |column| -> Result<Uuid> { Ok(row.try_get(column)?) };
    let alarm = v1::JournalAlarm {
        id: id("id")?.to_string(),
        gateway_id: GatewayId::from(id("gateway_id")?).to_string(),
        gateway: row.try_get("name")?,
        boot_id: sortie_proto::id::BootId::from(id("boot_id")?).to_string(),
        lane: small(row, "lane")?,
        kind: row.try_get("kind")?,
        first_sequence: unsigned(row, "first_sequence")?,
        last_sequence: unsigned(row, "last_sequence")?,
        raised_at: row.try_get::<_, Timestamp>("raised_at")?.to_string(),
    };
    Ok((id("id")?, alarm))
}
