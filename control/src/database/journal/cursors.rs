//! The tables `journal_cursors` and `quarantine`: how far each lane is committed, the head of its chain there, and what
//! its node has announced.

use sortie_proto::chain::Head;
use tokio_postgres::Row;

use super::Boot;
use crate::database::Transaction;
use crate::database::column::{signed, small, unsigned};
use crate::error::{Error, Result};

/// A place in a lane's chain, as its node holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The sequence of the last record before it.
    pub sequence: u64,
    /// The head behind that record.
    pub head: Head,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which.
    pub lane: u32,
    /// The last record that is committed.
    pub sequence: u64,
    /// The chain's head behind it, if it is known.
    pub head: Option<Head>,
    /// Up to where the records are those that the node wrote.
    pub verified: u64,
    /// What the node has announced and has not shipped yet.
    pub mark: Option<Mark>,
}

const COLUMNS: &str = "lane, sequence, head, verified, marked_sequence, marked_head";

/// Locks cursors of a boot until the transaction ends, and makes those that are not there. Each lane is named once. Also
/// answers the database's time, in microseconds since the Unix epoch.
///
/// # Errors
/// As the database's.
pub async fn lock(tx: &Transaction, boot: Boot, lanes: &[u32]) -> Result<(Vec<Cursor>, i64)> {
    let lanes: Vec<i32> = lanes.iter().copied().map(column).collect::<Result<_>>()?;
    // In the order of the lanes, so that two calls of one node cannot deadlock.
    let sql = format!(
        "/* journal.lock */ INSERT INTO journal_cursors AS c (gateway_id, boot_id, lane) \
         SELECT $1, $2, lane FROM unnest($3::int4[]) AS lane ORDER BY lane \
         ON CONFLICT (gateway_id, boot_id, lane) DO UPDATE SET updated_at = now() \
         RETURNING {COLUMNS}, (extract(epoch FROM now()) * 1000000)::int8 AS now"
    );
    let rows = tx
        .query(&sql, &[&boot.gateway.uuid(), &boot.id.uuid(), &lanes])
        .await?;
    let now = rows.first().map_or(Ok(0), |row| row.try_get("now"))?;
    Ok((rows.iter().map(read).collect::<Result<_>>()?, now))
}

/// Locks the cursors of a boot that have something announced which never came.
///
/// # Errors
/// As the database's.
pub async fn announced(tx: &Transaction, boot: Boot) -> Result<Vec<Cursor>> {
    let sql = format!(
        "/* journal.announced */ SELECT {COLUMNS} FROM journal_cursors WHERE gateway_id = $1 AND boot_id = $2 \
         AND marked_sequence > sequence ORDER BY lane FOR UPDATE"
    );
    let rows = tx
        .query(&sql, &[&boot.gateway.uuid(), &boot.id.uuid()])
        .await?;
    rows.iter().map(read).collect()
}

/// Moves locked cursors.
///
/// # Errors
/// As the database's.
pub async fn advance(tx: &Transaction, boot: Boot, cursors: &[Cursor]) -> Result<()> {
    if cursors.is_empty() {
        return Ok(());
    }
    let each = cursors.iter();
    let lanes: Vec<i32> = each
        .clone()
        .map(|cursor| column(cursor.lane))
        .collect::<Result<_>>()?;
    let numbers = |read: fn(&Cursor) -> u64| -> Result<Vec<i64>> {
        each.clone().map(|cursor| signed(read(cursor))).collect()
    };
    let bytes = |head: Option<Head>| head.map(|head| head.as_bytes().to_vec());
    let heads: Vec<_> = each.clone().map(|cursor| bytes(cursor.head)).collect();
    let marks = each.clone().map(|cursor| cursor.mark);
    let marked: Vec<Option<i64>> = marks
        .clone()
        .map(|mark| mark.map(|mark| signed(mark.sequence)).transpose())
        .collect::<Result<_>>()?;
    let marked_heads: Vec<_> = marks
        .map(|mark| bytes(mark.map(|mark| mark.head)))
        .collect();
    tx.execute(
        "/* journal.advance */ UPDATE journal_cursors c SET sequence = n.sequence, head = n.head, \
         verified = n.verified, marked_sequence = n.marked, marked_head = n.marked_head \
         FROM unnest($3::int4[], $4::int8[], $5::bytea[], $6::int8[], $7::int8[], $8::bytea[]) \
         AS n (lane, sequence, head, verified, marked, marked_head) \
         WHERE c.gateway_id = $1 AND c.boot_id = $2 AND c.lane = n.lane",
        &[
            &boot.gateway.uuid(),
            &boot.id.uuid(),
            &lanes,
            &numbers(|cursor| cursor.sequence)?,
            &heads,
            &numbers(|cursor| cursor.verified)?,
            &marked,
            &marked_heads,
        ],
    )
    .await?;
    Ok(())
}

/// Keeps a record that means nothing, or is not the one that was written.
///
/// # Errors
/// As the database's.
pub async fn quarantine(
    tx: &Transaction,
    boot: Boot,
    (lane, sequence): (u32, u64),
    reason: &str,
    body: &[u8],
) -> Result<()> {
    tx.execute(
        "/* quarantine.insert */ INSERT INTO quarantine (gateway_id, boot_id, lane, sequence, reason, body) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        &[
            &boot.gateway.uuid(),
            &boot.id.uuid(),
            &column(lane)?,
            &signed(sequence)?,
            &reason,
            &body,
        ],
    )
    .await?;
    Ok(())
}

/// A lane, for a column.
fn column(lane: u32) -> Result<i32> {
    i32::try_from(lane).map_err(|error| Error::invalid("lane", "is too large").caused_by(error))
}

fn read(row: &Row) -> Result<Cursor> {
    let head = |column| -> Result<Option<Head>> {
        let bytes: Option<&[u8]> = row.try_get(column)?;
        Ok(bytes.and_then(Head::from_bytes))
    };
    let marked: Option<i64> = row.try_get("marked_sequence")?;
    let marked = marked.and_then(|sequence| u64::try_from(sequence).ok());
    let mark = marked.zip(head("marked_head")?);
    Ok(Cursor {
        lane: small(row, "lane")?,
        sequence: unsigned(row, "sequence")?,
        head: head("head")?,
        verified: unsigned(row, "verified")?,
        mark: mark.map(|(sequence, head)| Mark { sequence, head }),
    })
}
