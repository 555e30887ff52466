//! The table `gateway_processes`: what each process of a gateway enforces. While a gateway is upgraded two of them serve,
//! and they may follow different replicas: what it enforces is what both do.

use sortie_proto::id::GatewayId;
use uuid::Uuid;

use super::Said;
use crate::database::Transaction;
use crate::database::column::signed;
use crate::error::Result;

/// How many processes of one gateway are remembered at most. It has one, or two while it is upgraded.
const OF_GATEWAY_MAX: i64 = 64;

/// Records what processes said. An acknowledgement never goes back within an epoch. The caller holds the rows of their
/// gateways.
///
/// # Errors
/// As the database's.
pub(super) async fn seen(tx: &Transaction, said: &[Said<'_>]) -> Result<()> {
    let ids: Vec<Uuid> = said.iter().map(|said| said.gateway.uuid()).collect();
    let boots: Vec<&[u8]> = said.iter().map(|said| said.boot).collect();
    let ago: Vec<f64> = said.iter().map(|said| said.ago.as_secs_f64()).collect();
    let revisions = said.iter().map(|said| said.acknowledged);
    let epochs = revisions.clone().map(|revision| signed(revision.epoch));
    let epochs: Vec<i64> = epochs.collect::<Result<_>>()?;
    let numbers: Vec<i64> = revisions
        .map(|revision| signed(revision.n))
        .collect::<Result<_>>()?;
    tx.execute(
        "/* gateway_processes.seen */ INSERT INTO gateway_processes AS p \
         (gateway_id, boot_id, acknowledged_epoch, acknowledged_n, last_seen_at) \
         SELECT s.id, s.boot, s.epoch, s.n, now() - make_interval(secs => s.ago) \
         FROM unnest($1::uuid[], $2::bytea[], $3::float8[], $4::int8[], $5::int8[]) AS s (id, boot, ago, epoch, n) \
         ORDER BY s.id, s.boot ON CONFLICT (gateway_id, boot_id) DO UPDATE SET \
         last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at), \
         acknowledged_n = CASE WHEN p.acknowledged_epoch = excluded.acknowledged_epoch \
         THEN greatest(p.acknowledged_n, excluded.acknowledged_n) ELSE excluded.acknowledged_n END, \
         acknowledged_epoch = excluded.acknowledged_epoch",
        &[&ids, &boots, &ago, &epochs, &numbers],
    )
    .await?;
    Ok(())
}

/// Records that a process of a gateway is gone, as its node says, which holds the lock that the process had: nothing is
/// open in it, and nobody waits for its word.
///
/// # Errors
/// As the database's.
pub async fn ended(tx: &Transaction, gateway: GatewayId, boot: &[u8]) -> Result<()> {
    tx.execute(
        "/* gateway_processes.ended */ UPDATE gateway_processes SET ended_at = coalesce(ended_at, now()) \
         WHERE gateway_id = $1 AND boot_id = $2",
        &[&gateway.uuid(), &boot],
    )
    .await?;
    Ok(())
}

/// Forgets processes whose last lease has ended, or that are gone; of a gateway that starts again and again all but
/// the newest.
///
/// # Errors
/// As the database's.
pub async fn forget(tx: &Transaction) -> Result<()> {
    tx.execute(
        "/* gateway_processes.forget */ DELETE FROM gateway_processes p USING \
         (SELECT gateway_id, boot_id, row_number() OVER (PARTITION BY gateway_id ORDER BY last_seen_at DESC) AS place \
         FROM gateway_processes) AS of_gateway WHERE p.gateway_id = of_gateway.gateway_id \
         AND p.boot_id = of_gateway.boot_id AND (of_gateway.place > $1 OR p.ended_at < now() - interval '1 hour' \
         OR p.last_seen_at < now() - interval '25 hours')",
        &[&OF_GATEWAY_MAX],
    )
    .await?;
    Ok(())
}
