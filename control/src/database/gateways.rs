//! A stand-in for the gateways.

use sortie_proto::id::GatewayId;
use sortie_proto::wire::v1;

use crate::database::Transaction;
use crate::error::Result;

/// The gateways behind an id, in order, at most `limit`.
///
/// # Errors
/// As the database's.
pub async fn list(
    tx: &Transaction,
    after: Option<GatewayId>,
    limit: i64,
) -> Result<Vec<v1::GatewayView>> {
    let rows = tx
        .query(
            "SELECT id FROM gateways WHERE ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2",
            &[&after.map(GatewayId::uuid), &limit],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| v1::GatewayView {
            id: GatewayId::from(row.get::<_, uuid::Uuid>(0)).to_string(),
            ..Default::default()
        })
        .collect())
}
