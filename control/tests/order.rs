//! Changes have one dense order, whoever writes.

use std::time::Duration;

use sortie_control::database::{Database, changes};
use sortie_control::feed::listen;
use sortie_control::feed::read::Log;
use sortie_control::feed::sequence::Sequencer;
use sortie_control::feed::signals::Signals;
use sortie_control::metrics::Metrics;
use sortie_control::ready::Ready;
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

/// Publishes a change of nobody's; it is committed and has no place in the order yet.
async fn put(database: &Database) {
    let tenant = TenantId::generate();
    let object = Object::Tombstone(Tombstone::Tenant(tenant));
    let tx = database.tenant(tenant).await.unwrap();
    changes::publish(&tx, Some(tenant), None, &object)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_freezes_while_it_sequences_stops_nobody() {
    let bare = Bare::new().await;
    let sequencer = Sequencer::new(bare.database.clone());
    let before = sequencer.committed().await.unwrap();
    let frozen = bare.database.system().await.unwrap();
    changes::sequence(&frozen, bare.database.floor())
        .await
        .unwrap();
    put(&bare.database).await;
    assert_eq!(sequencer.committed().await.unwrap(), before.next());
    assert!(frozen.commit().await.is_err(), "it lost its transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hold_every_connection_do_not_stop_the_order() {
    let bare = Bare::new().await;
    put(&bare.database).await;
    let mut held = Vec::new();
    while let Ok(tx) = bare.database.system().await {
        held.push(tx);
    }
    assert_eq!(held.len(), 12, "all connections of the pool");
    let sequencer = Sequencer::new(bare.database.clone());
    sequencer.committed().await.unwrap();
    // Those that come while a round runs share the next.
    let callers = (0..100).map(|_| sequencer.committed());
    let outcomes = futures_util::future::join_all(callers).await;
    assert!(outcomes.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_share_a_round_and_none_is_answered_too_early() {
    let bare = Bare::new().await;
    let sequencer = Sequencer::new(bare.database.clone());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (database, sequencer) = (bare.database.clone(), sequencer.clone());
        callers.spawn(async move {
            let tenant = TenantId::generate();
            let object = Object::Tombstone(Tombstone::Tenant(tenant));
            let tx = database.tenant(tenant).await.unwrap();
            changes::publish(&tx, Some(tenant), None, &object)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let told = sequencer.committed().await.unwrap();
            let tx = database.system().await.unwrap();
            let mine = tx
                .query_one(
                    "SELECT n FROM changes WHERE tenant_id = $1",
                    &[&tenant.uuid()],
                )
                .await
                .unwrap();
            assert!(told.n >= u64::try_from(mine.get::<_, i64>(0)).unwrap());
        });
    }
    callers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_behind_the_compaction_starts_again_at_the_head() {
    let bare = Bare::new().await;
    let database = bare.database.clone();
    let sequencer = Sequencer::new(database.clone());
    sequencer.committed().await.unwrap();
    let log = Log::open(database.clone(), 64, Metrics::new())
        .await
        .unwrap();
    let behind = log.last();
    for _ in 0..3 {
        put(&database).await;
    }
    let head = sequencer.committed().await.unwrap();
    changes::compact(&database, 0).await.unwrap();
    let ready = Ready::default();
    ready.set_started(true);
    ready.set_beating(true);
    assert!(!ready.is_ready(), "the order was not read yet");
    let follow = listen::run(
        database,
        sequencer,
        log.clone(),
        Signals::default(),
        ready.clone(),
    );
    tokio::select! {
        () = follow => {}
        waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !ready.is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }) => waited.expect("it is ready once it follows"),
    }
    assert_eq!(log.last(), head);
    // A stream that is where the replica was gets the whole state.
    assert!(log.after(behind).await.is_err());
    assert!(log.after(head).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_holds_up_no_sequencing() {
    let bare = Bare::new().await;
    let database = bare.database.clone();
    let sequencer = Sequencer::new(database.clone());
    for _ in 0..3 {
        put(&database).await;
    }
    let head = sequencer.committed().await.unwrap();
    // Somebody reads a row that is to go: deleting waits.
    let reader = database.system().await.unwrap();
    reader
        .execute("SELECT n FROM changes ORDER BY n LIMIT 1 FOR UPDATE", &[])
        .await
        .unwrap();
    let mut compaction = tokio::task::JoinSet::new();
    let own = database.clone();
    compaction.spawn(async move { changes::compact(&own, 0).await });
    let begun = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            let tx = database.snapshot().await.unwrap();
            if changes::head(&tx).await.unwrap().compacted == head.n {
                return;
            }
            drop(tx);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    begun.await.expect("how far it goes is committed first");
    put(&database).await;
    assert_eq!(sequencer.committed().await.unwrap(), head.next());
    reader.commit().await.unwrap();
    compaction.join_next().await.unwrap().unwrap().unwrap();
    let tx = database.system().await.unwrap();
    let kept = tx.query("SELECT n FROM changes", &[]).await.unwrap();
    assert_eq!(kept.len(), 1, "the one that came during the compaction");
}
