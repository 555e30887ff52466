//! The control plane over a real PostgreSQL: order, walls, streams, ingest, keys.
//!
//! One private cluster for the process, one database a test.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::partial_pub_fields,
    reason = "tests, and helpers that clippy does not know to be tests"
)]

#[path = "support/harness.rs"]
mod support;

use std::time::Duration;

use sortie_control::database::journal::Filter;
use sortie_control::database::{Database, changes, journal};
use sortie_control::feed::sequence::Sequencer;
use sortie_control::seal::{Keys, NotOpened};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::id::{SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use support::{Fixture, Harness, beat, use_record};

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_dense_with_eight_writers_and_one_that_dies() {
    let harness = Harness::bare().await;
    let database = harness.database.clone();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_where_shows_no_other_tenants_rows() {
    let harness = Harness::bare().await;
    let keys = harness.keys().await;
    let (mine, theirs) = (TenantId::generate(), TenantId::generate());
    let tx = harness.database.system().await.unwrap();
    for tenant in [mine, theirs] {
        keys.create_tenant(&tx, tenant).await.unwrap();
    }
    tx.commit().await.unwrap();
    let tx = harness.database.tenant(mine).await.unwrap();
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
    let tx = harness.database.tenant(theirs).await.unwrap();
    let row = tx
        .query_one(
            "SELECT count(*) FROM tenant_keys WHERE tenant_id <> $1",
            &[&theirs.uuid()],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_root_key_refuses_the_start() {
    let harness = Harness::bare().await;
    drop(harness.keys().await);
    assert_eq!(mode(&harness.dir.join("operator.key")), 0o600);
    let path = harness.dir.join("root.key");
    assert_eq!(mode(&path), 0o600);
    let right = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let missing = Keys::open(&harness.database, &harness.dir).await;
    assert!(matches!(missing, Err(NotOpened::RootKey(_))), "{missing:?}");
    drop(sortie_control::seal::key::read_or_create(&path).unwrap());
    let wrong = Keys::open(&harness.database, &harness.dir).await;
    assert!(
        matches!(wrong, Err(NotOpened::WrongRootKey(_))),
        "{wrong:?}"
    );
    std::fs::write(&path, right).unwrap();
    Keys::open(&harness.database, &harness.dir).await.unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = Keys::open(&harness.database, &harness.dir).await;
    assert!(matches!(open, Err(NotOpened::RootKey(_))), "{open:?}");
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vault_key_seals_opens_after_a_restart_and_nowhere_else() {
    use sortie_proto::sealed::{Place, Purpose};
    let harness = Harness::bare().await;
    let (tenant, vault, other) = (
        TenantId::generate(),
        VaultId::generate(),
        VaultId::generate(),
    );
    let ids = [tenant.uuid(), vault.uuid()];
    let place = Place {
        purpose: Purpose::Credential,
        ids: &ids,
        version: 1,
    };
    let sealed = {
        let keys = harness.keys().await;
        let tx = harness.database.system().await.unwrap();
        keys.create_tenant(&tx, tenant).await.unwrap();
        keys.create_vault(&tx, tenant, vault).await.unwrap();
        keys.create_vault(&tx, tenant, other).await.unwrap();
        let sealed = keys
            .vault(&tx, tenant, vault)
            .await
            .unwrap()
            .seal(place, b"value");
        tx.commit().await.unwrap();
        sealed
    };
    let keys = harness.keys().await;
    let tx = harness.database.tenant(tenant).await.unwrap();
    let key = keys.vault(&tx, tenant, vault).await.unwrap();
    assert!(key.open(place, &sealed).unwrap().same_as(b"value"));
    assert!(
        keys.vault(&tx, tenant, other)
            .await
            .unwrap()
            .open(place, &sealed)
            .is_err()
    );
    assert!(keys.vault(&tx, TenantId::generate(), vault).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_enrols_subscribes_and_follows() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    assert!(
        gateway.enrol_again().await.is_err(),
        "a join token works once"
    );

    let mut stream = gateway.follow(None, &[]).await;
    let welcome = stream.welcome().await;
    assert!(!welcome.resumed);
    assert_eq!(welcome.signing_keys.len(), 1);

    let token = fixture.mint(fixture.vault).await;
    stream.subscribe(fixture.vault, &token, None).await;
    assert_eq!(
        stream.tenant().await.tenant.unwrap().id,
        fixture.tenant.to_bytes()
    );
    let snapshot = stream.vault().await;
    assert_eq!(snapshot.vault.unwrap().id, fixture.vault.to_bytes());
    assert_eq!(snapshot.data_keys.len(), 1);
    assert_eq!(fixture.count("vault_releases").await, 1);
    assert_eq!(fixture.acts("vault.release").await, 1);

    // A change of that vault arrives; one of another vault does not.
    let foreign = VaultId::generate();
    fixture
        .publish(Some(foreign), Tombstone::Vault(foreign))
        .await;
    let service = sortie_proto::id::ServiceId::generate();
    let revision = fixture
        .publish(
            Some(fixture.vault),
            Tombstone::Service(fixture.vault, service),
        )
        .await;
    let change = stream.change().await;
    assert_eq!(Revision::from(change.revision.unwrap()), revision);

    // A nonce is echoed behind everything that a later beat saw.
    stream.send(beat(41)).await;
    let echo = stream.echo().await;
    assert_eq!(echo.nonce, 41);
    assert!(Revision::from(echo.revision.unwrap()) >= revision);

    stream.acknowledge(revision).await;
    fixture
        .wait_until("the acknowledgement", async || {
            fixture
                .fleet()
                .connected()
                .iter()
                .any(|node| node.acknowledged == revision)
        })
        .await;

    // The same token again is no new release; the stream stays silent.
    stream
        .subscribe(fixture.vault, &token, Some(revision))
        .await;
    stream.send(beat(42)).await;
    assert_eq!(stream.echo().await.nonce, 42);
    assert_eq!(fixture.acts("vault.release").await, 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_vault_is_released_without_a_token_for_it() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = gateway.follow(None, &[]).await;
    stream.welcome().await;
    stream
        .subscribe(fixture.vault, "sortie_ses_nonsense", None)
        .await;
    assert_eq!(stream.refused().await.code, "token_malformed");
    let other = fixture.mint(VaultId::generate()).await;
    stream.subscribe(fixture.vault, &other, None).await;
    assert_eq!(stream.refused().await.code, "vault_mismatch");
    let token = fixture.mint(fixture.vault).await;
    fixture.revoke_row().await;
    stream.subscribe(fixture.vault, &token, None).await;
    assert_eq!(stream.refused().await.code, "session_revoked");
    assert_eq!(fixture.count("vault_releases").await, 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_by_revision_and_misses_nothing() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let token = fixture.mint(fixture.vault).await;
    let have = {
        let mut stream = gateway.follow(None, &[]).await;
        stream.welcome().await;
        stream.subscribe(fixture.vault, &token, None).await;
        stream.tenant().await;
        Revision::from(stream.vault().await.revision.unwrap())
    };
    // While it is away: a revocation of its tenant.
    let revoked = SessionId::generate();
    let revision = fixture.revoke(revoked).await;
    let mut stream = gateway.follow(Some(have), &[fixture.tenant]).await;
    assert!(stream.welcome().await.resumed);
    let change = stream.change().await;
    assert_eq!(Revision::from(change.revision.unwrap()), revision);
    assert!(matches!(
        change.object,
        Some(v1::change::Object::Revocation(_))
    ));
    // Its copy of the vault is current: no snapshot comes before the echo.
    stream.subscribe(fixture.vault, &token, Some(have)).await;
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);
    drop(stream);

    // A tenant that it holds nothing of is not served by asking; then it starts afresh.
    let mut stream = gateway.follow(Some(have), &[TenantId::generate()]).await;
    assert!(!stream.welcome().await.resumed);
    drop(stream);

    // A gateway that has seen more than the database holds is a witness of a restored backup.
    let ahead = Revision {
        epoch: have.epoch,
        n: 1_000_000,
    };
    let mut stream = gateway.follow(Some(ahead), &[]).await;
    assert_eq!(stream.status().await, tonic::Code::FailedPrecondition);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_needs_a_session_of_that_tenant() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let token = fixture.mint(fixture.vault).await;
    let signed = gateway
        .sign_intermediate(fixture.tenant, &token)
        .await
        .unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&signed.certificate).unwrap();
    let limits = parsed.basic_constraints().unwrap().unwrap();
    assert!(limits.value.ca && limits.critical);
    assert_eq!(limits.value.path_len_constraint, Some(0));
    let (_, root) = x509_parser::parse_x509_certificate(&signed.root).unwrap();
    parsed.verify_signature(Some(root.public_key())).unwrap();
    assert!(
        gateway
            .sign_intermediate(TenantId::generate(), &token)
            .await
            .is_err()
    );
    fixture.revoke_row().await;
    assert!(
        gateway
            .sign_intermediate(fixture.tenant, &token)
            .await
            .is_err()
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_taken_in_once_and_gaps_are_refused() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let record = |n| use_record(&fixture, n);
    assert_eq!(gateway.ship(0, 0, vec![]).await.unwrap(), 0);
    assert_eq!(
        gateway
            .ship(0, 1, vec![record(1), record(2)])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        gateway
            .ship(0, 1, vec![record(1), record(2), record(3)])
            .await
            .unwrap(),
        3
    );
    let gap = gateway.ship(0, 5, vec![record(5)]).await;
    assert_eq!(gap.unwrap_err().code(), tonic::Code::FailedPrecondition);
    // A record that means nothing does not hold up the ones behind it.
    let mut nul = record(5);
    if let Some(v1::record::Event::Use(event)) = &mut nul.event {
        event.path.push('\0');
    }
    let records = vec![v1::Record::default(), nul, record(6)];
    assert_eq!(gateway.ship(0, 4, records).await.unwrap(), 6);
    assert_eq!(gateway.ship(1, 0, vec![]).await.unwrap(), 0);
    assert_eq!(fixture.count("audit_uses").await, 4);
    assert_eq!(fixture.count("quarantine").await, 2);
    let tx = fixture.database().read(fixture.tenant).await.unwrap();
    let mut filter = Filter {
        tenant: fixture.tenant,
        vault: Some(fixture.vault),
        session: None,
        since_micros: None,
        until_micros: None,
        before: None,
        limit: 3,
    };
    let first = journal::list(&tx, &filter).await.unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(first[0].1.outcome, "brokered");
    assert_eq!(first[0].1.credentials, ["TOKEN@2"]);
    filter.before = first.last().map(|(cursor, _)| *cursor);
    assert_eq!(journal::list(&tx, &filter).await.unwrap().len(), 1);
    drop(tx);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_certificate_are_refused() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    gateway.forget_certificate().await;
    let refused = gateway.ship(0, 0, vec![]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_on_the_same_folder_is_refused() {
    use sortie_control::database::private::{Binaries, Cluster, Error};
    let dir = support::folder();
    let binaries = Binaries::find(&[]).unwrap();
    let cluster = Cluster::start(dir.path(), &binaries).await.unwrap();
    let second = Cluster::start(dir.path(), &binaries).await;
    assert!(matches!(second, Err(Error::InUse(_))), "{second:?}");
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .unwrap();
    assert!(
        !dir.path().join("postgres/postmaster.pid").exists(),
        "it was shut down cleanly"
    );
    std::fs::write(dir.path().join("postgres/PG_VERSION"), "9\n").unwrap();
    let other = tokio::time::timeout(
        Duration::from_secs(60),
        Cluster::start(dir.path(), &binaries),
    )
    .await
    .unwrap();
    assert!(
        matches!(other, Err(Error::OtherVersion { .. })),
        "{other:?}"
    );
}
