//! Many gateways that come at once, and what they cost.

use prost::Message as _;
use serde_json::json;
use sortie_proto::capability;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::follow_request::Message;

use crate::support::{Control, Fixture, Gateway, beat};

fn queries(control: &Control) -> u64 {
    control.state().fleet.metrics().snapshot_queries.get()
}

async fn service(fixture: &Fixture, name: &str) {
    let path = format!("/v1/tenants/-/vaults/v/services/{name}");
    let host = json!({ "host": format!("{name}.example.com") });
    fixture.owner.put(&path, host).await.expect(200);
}

/// What a gateway that knows nothing is sent of the vault.
async fn read(fixture: &Fixture, gateway: &mut Gateway) -> v1::VaultSnapshot {
    fixture.held(gateway).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_gateways_that_come_at_once_share_what_is_read_for_them() {
    let fixture = Fixture::start().await;
    let mut gateways = Vec::new();
    for number in 0..16 {
        gateways.push(fixture.enrol(&format!("gw{number}")).await);
    }
    let before = queries(&fixture);
    let reads = gateways.iter_mut().map(|gateway| read(&fixture, gateway));
    let read = futures_util::future::join_all(reads).await;
    assert!(read.iter().all(|snapshot| *snapshot == read[0]));
    assert_eq!(queries(&fixture) - before, 2, "the tenant, and the vault");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_given_out_until_it_changes() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    service(&fixture, "one").await;
    assert_eq!(read(&fixture, &mut gateway).await.services.len(), 1);
    let before = queries(&fixture);
    // Another vault's change is none of this one's.
    let other = json!({ "name": "w" });
    let path = "/v1/tenants/-/vaults";
    fixture.owner.post(path, other).await.expect(201);
    assert_eq!(read(&fixture, &mut gateway).await.services.len(), 1);
    assert_eq!(queries(&fixture), before);
    service(&fixture, "two").await;
    assert_eq!(read(&fixture, &mut gateway).await.services.len(), 2);
    assert_eq!(
        queries(&fixture) - before,
        1,
        "the vault, and not the tenant"
    );
    // A revocation is the tenant's.
    fixture
        .revoke(sortie_proto::id::SessionId::generate())
        .await;
    let mut stream = fixture.asks(&mut gateway).await;
    assert_eq!(stream.tenant().await.revocations.len(), 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_resumes_at_a_control_that_started_is_sent_only_what_has_changed() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    gateway.understands(&capability::ALL);
    let position: Revision = read(&fixture, &mut gateway).await.revision.unwrap().into();
    let replica = fixture.replica().await;
    gateway.dial(replica.feed());
    let before = queries(&replica);
    let mut stream = gateway.follow(Some(position), &[fixture.tenant]).await;
    assert!(stream.welcome().await.resumed);
    stream
        .subscribe(fixture.vault, &fixture.token, Some(position))
        .await;
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);
    assert_eq!(queries(&replica), before);
    drop(stream);

    service(&fixture, "new").await;
    let again = fixture.replica().await;
    gateway.dial(again.feed());
    let mut stream = gateway.follow(Some(position), &[fixture.tenant]).await;
    assert!(stream.welcome().await.resumed);
    stream
        .subscribe(fixture.vault, &fixture.token, Some(position))
        .await;
    assert_eq!(stream.vault().await.services.len(), 1);
    again.stop().await;
    replica.stop().await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_takes_encoded_vaults_gets_what_others_get() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let plain = read(&fixture, &mut gateway).await;
    gateway.understands(&capability::ALL);
    let mut stream = fixture.asks(&mut gateway).await;
    stream.tenant().await;
    let encoded = stream.encoded().await;
    assert_eq!(encoded.vault_id, fixture.vault.to_bytes());
    let read = v1::VaultSnapshot::decode(encoded.snapshot).unwrap();
    assert!(read == plain);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_what_a_gateway_cannot_understand_is_an_alarm_here_while_it_does_not() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = gateway.follow(None, &[]).await;
    let welcome = stream.welcome().await;
    assert!(capability::has(
        &welcome.capabilities,
        capability::QUARANTINE
    ));
    let object = v1::QuarantinedObject {
        vault_id: fixture.vault.to_bytes(),
        what: "vault".to_owned(),
        ..v1::QuarantinedObject::default()
    };
    let quarantined = || fixture.state().fleet.metrics().quarantined.get();
    for (objects, more, expected) in [(vec![object], 2, 3), (vec![], 0, 0)] {
        let said = v1::Quarantined { objects, more };
        stream.send(Message::Quarantined(said)).await;
        fixture
            .wait_until("the alarm", async || quarantined() == expected)
            .await;
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_means_nothing_here_is_sent_on_with_whom_it_is_about() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.hold(&mut gateway).await;
    let (tenant, vault) = (fixture.tenant.uuid(), fixture.vault.uuid());
    for body in ["", "ff"] {
        fixture
            .alter(&format!(
                "INSERT INTO outbox (tenant_id, vault_id, body) VALUES ('{tenant}', '{vault}', '\\x{body}')"
            ))
            .await;
        let change = stream.change().await;
        assert_eq!(change.object, None);
        assert_eq!(change.tenant_id, fixture.tenant.to_bytes());
        assert_eq!(change.vault_id, fixture.vault.to_bytes());
    }
    fixture.stop().await;
}
