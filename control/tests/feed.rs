//! What a gateway that follows is sent.

use sortie_control::database::changes;
use sortie_control::fleet::{admit, stream};
use sortie_proto::change::Tombstone;
use sortie_proto::id::{SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{Fixture, Gateway, beat};

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

    let token = fixture.token.clone();
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
                .state()
                .fleet
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
async fn a_stream_resumes_by_revision_and_misses_nothing() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let token = fixture.token.clone();
    let have = {
        let mut stream = fixture.asks(&mut gateway).await;
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
async fn a_revocation_outlives_its_token_by_more_than_clocks_differ() {
    let fixture = Fixture::start().await;
    let path = format!("/v1/tenants/-/sessions/{}:revoke", fixture.session);
    fixture.owner.call(&path).await.expect(200);
    let margin = "SELECT r.expires_at - extract(epoch FROM s.expires_at)::int8 \
                  FROM revocations r JOIN sessions s ON s.id = r.subject_id";
    let tx = fixture.database().system().await.unwrap();
    let margin: i64 = tx.query_one(margin, &[]).await.unwrap().get(0);
    assert!(margin >= 3_600, "{margin}");
    drop(tx);
    for (ago, stays) in [(60, 1), (3_600, 0)] {
        let ended = format!("extract(epoch FROM now())::int8 - {ago}");
        fixture
            .alter(&format!("UPDATE revocations SET expires_at = {ended}"))
            .await;
        let tx = fixture.database().system().await.unwrap();
        let live = changes::live_revocations(&tx, fixture.tenant)
            .await
            .unwrap();
        assert_eq!(live.len(), stays, "ended {ago} s ago");
        drop(tx);
        changes::compact(fixture.database(), 1_000).await.unwrap();
        let kept = fixture.count("revocations").await;
        assert_eq!(kept, i64::try_from(stays).unwrap());
    }
    fixture.stop().await;
}

/// A gateway that says hello and then takes nothing. Answers once its stream has ended.
async fn take_nothing(fixture: &Fixture, gateway: &Gateway, tenants: &[TenantId]) {
    let certificate = gateway.certificate();
    let admitted = admit::admit(fixture.database(), Some(&[certificate])).await;
    let (requests, said) = mpsc::channel(4);
    let hello = v1::FollowRequest {
        message: Some(gateway.hello(None, tenants)),
    };
    requests.send(Ok(hello)).await.unwrap();
    // The welcome fills it.
    let (events, _untaken) = mpsc::channel(1);
    let fleet = fixture.state().fleet.clone();
    stream::run(fleet, admitted.unwrap(), ReceiverStream::new(said), events).await;
    drop(requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_takes_no_events_is_cut_off_and_resumes_by_revision() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("slow").await;
    let have = {
        let mut stream = fixture.asks(&mut gateway).await;
        stream.tenant().await;
        Revision::from(stream.vault().await.revision.unwrap())
    };
    // There is more to send than the queue holds: the stream ends by itself, and holds nothing up meanwhile.
    let tenants = [fixture.tenant];
    let slow = take_nothing(&fixture, &gateway, &tenants);
    let mut other = fixture.enrol("quick").await;
    let revoked = async {
        let mut stream = fixture.hold(&mut other).await;
        let revision = fixture.revoke(SessionId::generate()).await;
        let change = stream.change().await;
        assert_eq!(Revision::from(change.revision.unwrap()), revision);
        revision
    };
    let ((), revision) = tokio::join!(slow, revoked);
    let mut stream = gateway.follow(Some(have), &[fixture.tenant]).await;
    assert!(stream.welcome().await.resumed);
    let change = stream.change().await;
    assert_eq!(Revision::from(change.revision.unwrap()), revision);
    fixture.stop().await;
}
