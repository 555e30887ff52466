//! Row-level security: the second wall between tenants.

use sortie_control::database::changes;
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::id::{TenantId, VaultId};

use crate::support::Bare;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_where_shows_no_other_tenants_rows() {
    let bare = Bare::new().await;
    let keys = bare.keys().await;
    let (mine, theirs) = (TenantId::generate(), TenantId::generate());
    let tx = bare.database.system().await.unwrap();
    for tenant in [mine, theirs] {
        keys.create_tenant(&tx, tenant).await.unwrap();
    }
    tx.commit().await.unwrap();
    let tx = bare.database.tenant(mine).await.unwrap();
    let rows = tx
        .query("SELECT tenant_id FROM tenant_keys", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, uuid::Uuid>(0), mine.uuid());
    // Nor can it write one into the other tenant, nor undo its role's limits.
    let vault = VaultId::generate();
    let object = Object::Tombstone(Tombstone::Vault(vault));
    assert!(
        changes::publish(&tx, Some(theirs), Some(vault), &object)
            .await
            .is_err()
    );
    drop(tx);
    // The setting ends with the transaction: the connection is the pool's only warm one.
    let tx = bare.database.tenant(theirs).await.unwrap();
    let row = tx
        .query_one(
            "SELECT count(*) FROM tenant_keys WHERE tenant_id <> $1",
            &[&theirs.uuid()],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}
