//! A stand-in for the outbox.

use prost::Message;
use sortie_proto::agent::Revocation;
use sortie_proto::change::{Change, Object};
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;

use crate::database::Transaction;
use crate::error::Result;

/// Puts a change into the outbox.
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
    tx.execute(
        "INSERT INTO outbox (tenant_id, vault_id, body) VALUES ($1, $2, $3)",
        &[
            &tenant.map(TenantId::uuid),
            &vault.map(VaultId::uuid),
            &wire.encode_to_vec(),
        ],
    )
    .await?;
    Ok(())
}

/// Publishes a revocation.
///
/// # Errors
/// As the database's.
pub async fn revoke(tx: &Transaction, revocation: &Revocation) -> Result<()> {
    publish(
        tx,
        Some(revocation.tenant),
        None,
        &Object::Revocation(revocation.clone()),
    )
    .await
}
