//! A revocation that is waited for: what every gateway said, at whichever replica, and which said nothing.

use std::time::Duration;

use serde_json::{Value, json};
use sortie_proto::revision::Revision;

use crate::support::{Caller, Control, Fixture, Following};

/// Takes the next change and says that it is enforced.
async fn enforce(mut stream: Following) -> Following {
    let revision = stream.change().await.revision.unwrap();
    stream.acknowledge(revision.into()).await;
    stream
}

async fn revoke(owner: &Caller, what: &str, seconds: u64) -> Value {
    let path = format!("/v1/tenants/-/{what}:revoke");
    owner
        .post(&path, json!({ "wait_seconds": seconds }))
        .await
        .expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_every_replica_are_waited_for() {
    let fixture = Fixture::start().await;
    let other = fixture.replica().await;
    let mut near = fixture.enrol("near").await;
    let mut far = fixture.enrol("far").await;
    far.dial(other.feed());
    // One that holds nothing of the tenant has nothing to enforce.
    let mut idle = fixture.enrol("idle").await;
    let _idling = idle.welcomed().await;
    let (one, two) = (fixture.hold(&mut near).await, fixture.hold(&mut far).await);
    let statements = |control: &Control| {
        let metrics = control.state().fleet.metrics();
        metrics
            .statements
            .with_label_values(&["signals.notify"])
            .get()
    };
    let before = (statements(&fixture), statements(&other));
    let session = format!("sessions/{}", fixture.session);
    let (answer, _near, _far) = tokio::join!(
        revoke(&fixture.owner, &session, 20),
        enforce(one),
        enforce(two)
    );
    let enforcement = &answer["enforcement"];
    assert_eq!(enforcement["gateways"], 2, "{answer}");
    assert_eq!(enforcement["enforced"], 2, "{answer}");
    assert_eq!(enforcement["missing"], json!([]), "{answer}");
    // The one asked, and told of its own; the other one was asked, and told: neither left it to the period.
    fixture
        .wait_until("both to tell", async || {
            statements(&fixture) >= before.0 + 2 && statements(&other) > before.1
        })
        .await;
    fixture.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_named_with_the_end_of_its_lease() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("quick").await;
    let mut silent = fixture.enrol("silent").await;
    let one = fixture.hold(&mut gateway).await;
    let mut two = fixture.hold(&mut silent).await;
    // A word for what came before is not a word for this.
    two.acknowledge(Revision::default()).await;
    let (answer, quick) = tokio::join!(revoke(&fixture.owner, "agents/runner", 1), enforce(one));
    let enforcement = &answer["enforcement"];
    assert_eq!(enforcement["gateways"], 2, "{answer}");
    assert_eq!(enforcement["enforced"], 1, "{answer}");
    let missing = enforcement["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{answer}");
    assert_eq!(missing[0]["name"], "silent");
    assert_eq!(missing[0]["id"], silent.id().to_string());
    // The vault's staleness, from when it was last heard of, and what may not have been written yet.
    let fenced: jiff::Timestamp = missing[0]["fenced_at"].as_str().unwrap().parse().unwrap();
    let now = jiff::Timestamp::now();
    assert!(
        fenced > now && fenced <= now + Duration::from_secs(910),
        "{fenced}"
    );

    // Once its leases have ended it serves nothing, and is not waited for.
    drop(two);
    fixture
        .wait_until("the stream to end", async || {
            fixture.state().fleet.connected().len() == 1
        })
        .await;
    let gone = format!(
        "UPDATE gateways SET last_seen_at = now() - interval '16 minutes' WHERE id = '{}'",
        silent.id().uuid()
    );
    fixture.alter(&gone).await;
    let (answer, _quick) =
        tokio::join!(revoke(&fixture.owner, "agents/runner", 20), enforce(quick));
    assert_eq!(answer["enforcement"]["gateways"], 1, "{answer}");
    assert_eq!(answer["enforcement"]["enforced"], 1, "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_wait_nothing_is_said_of_gateways() {
    let fixture = Fixture::start().await;
    let session = format!("/v1/tenants/-/sessions/{}:revoke", fixture.session);
    let answer = fixture.owner.call(&session).await.expect(200);
    assert!(answer["revision"].is_string(), "{answer}");
    assert!(answer.get("enforcement").is_none_or(Value::is_null));
    // Nobody holds the tenant: then the answer is there at once.
    let answer = revoke(&fixture.owner, "vaults/v", 20).await;
    assert_eq!(answer["enforcement"]["gateways"], 0, "{answer}");
    let long = json!({ "wait_seconds": 21 });
    let refused = fixture.owner.post(&session, long).await;
    refused.refused_fields(&["wait_seconds"]);
    fixture.stop().await;
}

/// Ends the gateway's releases so many seconds ago.
async fn end_releases(fixture: &Fixture, ago: i64) {
    let end = jiff::Timestamp::now().as_second() - ago;
    let sql = format!("UPDATE vault_releases SET expires_at = {end}");
    fixture.alter(&sql).await;
}

async fn until_nobody_follows(fixture: &Fixture) {
    fixture
        .wait_until("the stream to end", async || {
            fixture.state().fleet.connected().is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_release_has_ended_hears_of_revocations_and_is_waited_for() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("away").await;
    drop(fixture.hold(&mut gateway).await);
    until_nobody_follows(&fixture).await;
    // Meanwhile it may have served a session that control never heard of from it.
    end_releases(&fixture, 3_600).await;
    fixture.revoke(fixture.session).await;
    let mut stream = gateway.follow(None, &[fixture.tenant]).await;
    assert!(!stream.welcome().await.resumed);
    let state = stream.tenant().await;
    assert_eq!(state.revocations.len(), 1, "{state:?}");
    let (answer, stream) =
        tokio::join!(revoke(&fixture.owner, "agents/runner", 20), enforce(stream));
    assert_eq!(answer["enforcement"]["gateways"], 1, "{answer}");
    assert_eq!(answer["enforcement"]["enforced"], 1, "{answer}");

    // No token of that time is good any more.
    drop(stream);
    end_releases(&fixture, 9 * 86_400).await;
    let answer = revoke(&fixture.owner, "agents/runner", 20).await;
    assert_eq!(answer["enforcement"]["gateways"], 0, "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_just_come_back_is_waited_for() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("back").await;
    drop(fixture.hold(&mut gateway).await);
    until_nobody_follows(&fixture).await;
    let long_ago = "UPDATE gateways SET last_seen_at = now() - interval '1 day'";
    fixture.alter(long_ago).await;
    let mut stream = gateway.follow(None, &[fixture.tenant]).await;
    stream.welcome().await;
    stream.tenant().await;
    let (answer, _stream) =
        tokio::join!(revoke(&fixture.owner, "agents/runner", 20), enforce(stream));
    assert_eq!(answer["enforcement"]["gateways"], 1, "{answer}");
    assert_eq!(answer["enforcement"]["enforced"], 1, "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_staleness_was_lowered_the_older_one_is_reckoned_with() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("away").await;
    drop(fixture.hold(&mut gateway).await);
    until_nobody_follows(&fixture).await;
    let vault = "/v1/tenants/-/vaults/v";
    for seconds in [30, 900, 60] {
        let body = json!({ "staleness_seconds": seconds });
        fixture.owner.patch(vault, body).await.expect(200);
    }
    let path = "/v1/tenants/-/agents/runner:revoke";
    let wait = json!({ "wait_seconds": 1 });
    let answer = fixture.owner.post(path, wait.clone()).await.expect(200);
    let missing = &answer["enforcement"]["missing"][0];
    let fenced: jiff::Timestamp = missing["fenced_at"].as_str().unwrap().parse().unwrap();
    let now = jiff::Timestamp::now();
    assert!(fenced > now + Duration::from_secs(800), "{answer}");
    assert!(fenced <= now + Duration::from_secs(910), "{answer}");
    // Once no lease of that time can hold, it counts no more.
    let over = "UPDATE vaults SET staleness_before_until = now() - interval '1 second'";
    fixture.alter(over).await;
    let answer = fixture.owner.post(path, wait).await.expect(200);
    let missing = &answer["enforcement"]["missing"][0];
    let fenced: jiff::Timestamp = missing["fenced_at"].as_str().unwrap().parse().unwrap();
    assert!(fenced <= now + Duration::from_secs(80), "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_may_wait_at_once_and_the_next_is_answered_without_its_gateways() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("silent").await;
    let _stream = fixture.hold(&mut gateway).await;
    let fleet = &fixture.state().fleet;
    // A revision that never comes.
    let revision = Revision {
        epoch: 1,
        n: u64::from(u32::MAX),
    };
    let wait = || fleet.enforced(fixture.tenant, None, revision, Duration::from_secs(600));
    let waiting = futures_util::future::join_all((0..64).map(|_| wait()));
    tokio::select! {
        // Polled first: by then all of them have their turns.
        biased;
        ended = waiting => panic!("{ended:?}"),
        answer = revoke(&fixture.owner, "agents/runner", 20) => {
            assert!(answer["revision"].is_string(), "{answer}");
            assert!(answer["enforcement"].is_null(), "{answer}");
        }
    }
    // They have given their turns back.
    let answer = revoke(&fixture.owner, "agents/runner", 1).await;
    assert_eq!(answer["enforcement"]["gateways"], 1, "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_gateway_is_upgraded_both_of_its_processes_are_waited_for() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("upgraded").await;
    let old = fixture.hold(&mut gateway).await;
    gateway.reboot();
    let new = fixture.hold(&mut gateway).await;
    let session = format!("sessions/{}", fixture.session);
    let (answer, new) = tokio::join!(revoke(&fixture.owner, &session, 1), enforce(new));
    let enforcement = &answer["enforcement"];
    assert_eq!(enforcement["gateways"], 1, "{answer}");
    assert_eq!(
        enforcement["enforced"], 0,
        "the old one may have it open: {answer}"
    );
    let old = enforce(old).await;
    let (answer, _old, _new) = tokio::join!(
        revoke(&fixture.owner, "agents/runner", 20),
        enforce(old),
        enforce(new)
    );
    assert_eq!(answer["enforcement"]["enforced"], 1, "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_process_at_another_replica_is_waited_for_until_its_node_says_that_it_is_gone() {
    let fixture = Fixture::start().await;
    let other = fixture.replica().await;
    let mut gateway = fixture.enrol("upgraded").await;
    let old = fixture.hold(&mut gateway).await;
    let old_boot = gateway.boot();
    gateway.reboot();
    gateway.dial(other.feed());
    let new = fixture.hold(&mut gateway).await;
    let session = format!("sessions/{}", fixture.session);
    let (answer, new) = tokio::join!(revoke(&fixture.owner, &session, 1), enforce(new));
    let enforcement = &answer["enforcement"];
    assert_eq!(enforcement["gateways"], 1, "{answer}");
    assert_eq!(enforcement["enforced"], 0, "the old one: {answer}");
    let old = enforce(old).await;
    let (answer, old, new) = tokio::join!(
        revoke(&fixture.owner, "agents/runner", 20),
        enforce(old),
        enforce(new)
    );
    assert_eq!(answer["enforcement"]["enforced"], 1, "{answer}");

    // One that is not heard any more may still serve on its lease.
    drop(old);
    until_nobody_follows(&fixture).await;
    let (answer, new) = tokio::join!(revoke(&fixture.owner, "agents/runner", 1), enforce(new));
    assert_eq!(answer["enforcement"]["enforced"], 0, "{answer}");
    gateway.ended(old_boot).await;
    let (answer, _new) = tokio::join!(revoke(&fixture.owner, "agents/runner", 20), enforce(new));
    assert_eq!(answer["enforcement"]["enforced"], 1, "{answer}");
    fixture.stop().await;
    other.stop().await;
}
