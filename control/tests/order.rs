//! Changes have one dense order, whoever writes.

use sortie_control::database::{Database, changes};
use sortie_control::feed::sequence::Sequencer;
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;

use crate::support::Bare;

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_dense_with_eight_writers_and_one_that_dies() {
    let bare = Bare::new().await;
    let database = bare.database.clone();
    let sequencer = Sequencer::new(database.clone());
    let tenant = TenantId::generate();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let dies_at = (writer == 7).then_some(10);
        writers.spawn(write(database.clone(), sequencer.clone(), tenant, dies_at));
    }
    let expected: u64 = writers.join_all().await.into_iter().sum();
    let head = sequencer.committed().await.unwrap();
    assert_eq!(expected, 150);
    let tx = database.system().await.unwrap();
    let start = Revision {
        epoch: head.epoch,
        n: 0,
    };
    let rows = changes::after(&tx, start, 1_000).await.unwrap();
    let numbers: Vec<u64> = rows.iter().map(|row| row.revision.n).collect();
    assert_eq!(numbers, (1..=head.n).collect::<Vec<_>>());
    let ours = rows.iter().filter(|row| row.tenant == Some(tenant)).count();
    assert_eq!(u64::try_from(ours).unwrap(), expected);
}

/// Publishes twenty changes, or dies between one and its commit; answers how many it committed.
async fn write(
    database: Database,
    sequencer: Sequencer,
    tenant: TenantId,
    dies_at: Option<u64>,
) -> u64 {
    for round in 0..20 {
        let vault = VaultId::generate();
        let object = Object::Tombstone(Tombstone::Vault(vault));
        let tx = database.tenant(tenant).await.unwrap();
        changes::publish(&tx, Some(tenant), Some(vault), &object)
            .await
            .unwrap();
        if dies_at == Some(round) {
            drop(tx);
            return round;
        }
        tx.commit().await.unwrap();
        sequencer.committed().await.unwrap();
    }
    20
}
