//! The gateways as operators see them, and how one is shut out.

use serde_json::Value;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::follow_request::Message;

use crate::support::{Fixture, beat};

async fn shown(fixture: &Fixture) -> Value {
    let found = fixture.operator().get("/v1/gateways").await.expect(200);
    found["gateways"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_gateways_are_at_whichever_replica() {
    let fixture = Fixture::start().await;
    let other = fixture.replica().await;
    let mut gateway = fixture.enrol("far").await;
    assert_eq!(shown(&fixture).await["health"], "away");
    gateway.dial(other.feed());
    let mut stream = fixture.hold(&mut gateway).await;
    stream
        .send(Message::Report(v1::Report {
            sessions: 3,
            connections: u32::MAX,
            vaults: 1,
            lease_age_millis: 40,
        }))
        .await;
    stream.send(beat(1)).await;
    let head = stream.echo().await.revision.unwrap();
    stream.acknowledge(head.into()).await;
    fixture
        .wait_until("the report", async || {
            let shown = shown(&fixture).await;
            shown["sessions"] == 3 && shown["behind"] == 0
        })
        .await;
    let seen = shown(&fixture).await;
    assert_eq!(seen["health"], "live", "{seen}");
    assert_eq!(seen["connected"], true, "{seen}");
    assert_eq!(seen["connections"], i32::MAX, "{seen}");
    assert_eq!(seen["vaults"], 1, "{seen}");
    assert_eq!(seen["lag_millis"], 0, "{seen}");
    assert!(seen["reported_at"].is_string(), "{seen}");

    // Two changes that it says nothing of, a minute ago.
    for name in ["one", "two"] {
        let path = "/v1/tenants/-/vaults";
        let body = serde_json::json!({ "name": name });
        fixture.owner.post(path, body).await.expect(201);
    }
    fixture
        .alter("UPDATE changes SET at = at - interval '1 minute'")
        .await;
    let seen = shown(&fixture).await;
    assert_eq!(seen["behind"], 2, "{seen}");
    assert!(seen["lag_millis"].as_u64().unwrap() >= 60_000, "{seen}");
    assert_eq!(seen["health"], "late", "{seen}");
    drop(stream);
    fixture
        .wait_until("the stream to end", async || {
            other.state().fleet.connected().is_empty()
        })
        .await;
    fixture
        .alter("UPDATE gateways SET last_seen_at = now() - interval '11 seconds'")
        .await;
    assert_eq!(shown(&fixture).await["health"], "away");
    fixture.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_callers_wait_what_gateways_say_is_written_down() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.hold(&mut gateway).await;
    let mut callers = Vec::new();
    while callers.len() < 8 {
        callers.push(fixture.database().system().await.unwrap());
    }
    let heard = "SELECT (extract(epoch FROM last_seen_at) * 1000)::int8 FROM gateways";
    let before = fixture.look(heard).await;
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);
    fixture
        .wait_until("its word to be written", async || {
            fixture.look(heard).await > before
        })
        .await;
    drop(callers);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lease_is_extended_while_what_gateways_say_cannot_be_written_down() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.hold(&mut gateway).await;
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);
    let rows = fixture.database().system().await.unwrap();
    let lock = "SELECT 1 FROM gateways FOR UPDATE";
    rows.execute(lock, &[]).await.unwrap();
    let fleet = &fixture.state().fleet;
    fixture
        .wait_until("the last writing to be long ago", async || {
            !fleet.is_written_down()
        })
        .await;
    // Beats are committed all the same.
    let beats = || fleet.metrics().beats.get();
    let begun = beats();
    stream.send(beat(2)).await;
    fixture
        .wait_until("two beats", async || beats() >= begun + 2)
        .await;
    assert!(stream.is_silent(), "a lease was extended");
    drop(rows);
    assert_eq!(stream.echo().await.nonce, 2);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_gateway_is_shut_out_at_once_and_let_in_again() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.hold(&mut gateway).await;
    let operator = fixture.operator();
    let refused = fixture.owner.call("/v1/gateways/gw1:lock").await;
    refused.refused("permission_denied");
    operator
        .call("/v1/gateways/gw2:lock")
        .await
        .refused("not_found");
    let locked = operator.call("/v1/gateways/gw1:lock").await.expect(200);
    assert_eq!(locked["health"], "locked", "{locked}");
    assert_eq!(
        stream.status_after_refusals().await,
        tonic::Code::PermissionDenied
    );
    let again = gateway.try_follow(None, &[]).await;
    assert_eq!(
        again.map(drop).unwrap_err().code(),
        tonic::Code::PermissionDenied
    );
    assert!(gateway.renew().await.is_err());
    operator.call("/v1/gateways/gw1:unlock").await.expect(200);
    drop(fixture.hold(&mut gateway).await);
    assert_eq!(fixture.acts("gateway.lock").await, 1);
    // A name that two have says nothing; the id does.
    fixture.enrol("gw1").await;
    let refused = operator.call("/v1/gateways/gw1:lock").await;
    refused.refused("failed_precondition");
    let path = format!("/v1/gateways/{}:lock", gateway.id());
    operator.call(&path).await.expect(200);
    fixture.stop().await;
}
