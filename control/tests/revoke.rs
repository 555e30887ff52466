//! Revocation by user, by parent, of a tenant and of a credential, and what gateways of an earlier version are told of it.

use serde_json::{Value, json};
use sortie_control::database::changes;
use sortie_proto::capability;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1::change::Object;
use sortie_proto::wire::v1::revocation::Subject;

use crate::support::{Caller, Fixture, Gateway, beat};

const SESSIONS: &str = "/v1/tenants/-/sessions";
const CREDENTIAL: &str = "/v1/tenants/-/vaults/v/credentials/TOKEN";

/// An agent `desk` that may mint for people.
async fn desk(fixture: &Fixture) {
    let body = json!({ "name": "desk", "delegate": true });
    let agents = "/v1/tenants/-/agents";
    fixture.owner.post(agents, body).await.expect(201);
    let grant = "/v1/tenants/-/vaults/v/grants/desk";
    let role = json!({ "role": "user" });
    fixture.owner.put(grant, role).await.expect(200);
}

/// Mints for the agent `desk`; answers the id and the token.
async fn mint(owner: &Caller, more: Value) -> (String, String) {
    let mut wanted = json!({ "agent": "desk", "vaults": ["v"] });
    for (field, value) in more.as_object().unwrap() {
        wanted[field] = value.clone();
    }
    let minted = owner.post(SESSIONS, wanted).await.expect(201);
    let text = |field: &str| minted[field].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

async fn renews(owner: &Caller, session: &str) -> bool {
    let answer = owner.call(&format!("{SESSIONS}/{session}:renew")).await;
    if answer.status == 200 {
        return true;
    }
    answer.refused("failed_precondition");
    false
}

async fn listed(owner: &Caller) -> Vec<String> {
    let found = owner.get(&format!("{SESSIONS}?agent=desk")).await;
    let found = found.expect(200);
    let ids = found["sessions"].as_array().unwrap().iter();
    ids.map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

/// What a gateway gets that asks for the vault with a token: the code of a refusal, or nothing.
async fn refusal(fixture: &Fixture, gateway: &mut Gateway, token: &str) -> Option<String> {
    let mut stream = gateway.welcomed().await;
    stream.subscribe(fixture.vault, token, None).await;
    stream.refusal().await
}

async fn credential(owner: &Caller) {
    let body =
        json!({ "value": "a long enough value", "destinations": [{ "host": "api.example.com" }] });
    owner.put(CREDENTIAL, body).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_sessions_are_revoked_and_later_ones_hold() {
    let fixture = Fixture::start().await;
    desk(&fixture).await;
    let owner = &fixture.owner;
    let (ada, token) = mint(owner, json!({ "user": "ada" })).await;
    let (grace, _) = mint(owner, json!({ "user": "grace" })).await;
    let path = format!("{SESSIONS}:revoke");
    owner
        .post(&path, json!({ "user": "ada" }))
        .await
        .expect(200);
    assert!(!renews(owner, &ada).await);
    assert!(renews(owner, &grace).await);
    let (later, fresh) = mint(owner, json!({ "user": "ada" })).await;
    assert!(renews(owner, &later).await);
    assert_eq!(listed(owner).await, [later, grace]);
    // Control looks it up for gateways, too.
    let mut gateway = fixture.enrol("gw1").await;
    let refused = refusal(&fixture, &mut gateway, &token).await;
    assert_eq!(refused.as_deref(), Some("session_revoked"));
    assert_eq!(refusal(&fixture, &mut gateway, &fresh).await, None);
    // Once more: those that were minted since are covered, too.
    owner
        .post(&path, json!({ "user": "ada" }))
        .await
        .expect(200);
    assert_eq!(fixture.count("revocations").await, 1);
    let refused = refusal(&fixture, &mut gateway, &fresh).await;
    assert_eq!(refused.as_deref(), Some("session_revoked"));
    assert_eq!(fixture.acts("session.revoke_user").await, 2);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_a_session_is_revoked_at_any_distance() {
    let fixture = Fixture::start().await;
    desk(&fixture).await;
    let owner = &fixture.owner;
    let (first, _) = mint(owner, json!({ "user": "ada" })).await;
    let (child, _) = mint(owner, json!({ "parent": first })).await;
    let (grandchild, token) = mint(owner, json!({ "parent": child })).await;
    let (stranger, _) = mint(owner, json!({})).await;
    let path = format!("{SESSIONS}:revoke");
    owner
        .post(&path, json!({ "parent": first }))
        .await
        .expect(200);
    for (session, holds) in [
        (&first, true),
        (&child, false),
        (&grandchild, false),
        (&stranger, true),
    ] {
        assert_eq!(renews(owner, session).await, holds, "{session}");
    }
    let mut gateway = fixture.enrol("gw1").await;
    let refused = refusal(&fixture, &mut gateway, &token).await;
    assert_eq!(refused.as_deref(), Some("session_revoked"));
    // Nothing grows from what was revoked; the one that goes on may have others.
    let wanted = json!({ "agent": "desk", "vaults": ["v"], "parent": child });
    let refused = owner.post(SESSIONS, wanted).await;
    refused.refused_fields(&["parent"]);
    let (second, _) = mint(owner, json!({ "parent": first })).await;
    assert!(renews(owner, &second).await);
    // It is for the user of what it came from, and is revoked with that one's sessions.
    let found = owner.get(&format!("{SESSIONS}?agent=desk")).await;
    let found = found.expect(200);
    let found = found["sessions"].as_array().unwrap();
    let found = found.iter().find(|one| one["id"] == second.as_str());
    assert_eq!(found.unwrap()["user"], "ada");
    assert_eq!(found.unwrap()["parent"], first.as_str());
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_sessions_are_revoked_is_said_in_one_way_and_an_agent_names_its_own() {
    let fixture = Fixture::start().await;
    desk(&fixture).await;
    let owner = &fixture.owner;
    let path = format!("{SESSIONS}:revoke");
    let both = json!({ "user": "ada", "parent": fixture.session });
    owner.post(&path, both).await.refused_fields(&["user"]);
    owner.post(&path, json!({})).await.refused_fields(&["user"]);
    let unknown = json!({ "parent": "ses_01" });
    owner.post(&path, unknown).await.refused("not_found");
    let other = fixture.agent(owner, "other").await;
    let ada = json!({ "user": "ada" });
    other.post(&path, ada).await.refused("permission_denied");
    let parent = json!({ "parent": fixture.session });
    other.post(&path, parent).await.refused("not_found");
    let wanted = json!({ "vaults": ["v"], "parent": fixture.session });
    let refused = other.post(SESSIONS, wanted).await;
    refused.refused_fields(&["parent"]);
    let (ada, _) = mint(owner, json!({ "user": "ada" })).await;
    let wanted = json!({ "agent": "desk", "vaults": ["v"], "user": "grace", "parent": ada });
    let refused = owner.post(SESSIONS, wanted).await;
    refused.refused_fields(&["parent"]);
    // Who may not mint for a person may not by way of one of its sessions.
    let wanted = json!({ "agent": "other", "vaults": ["v"], "parent": ada });
    let refused = owner.post(SESSIONS, wanted).await;
    refused.refused_fields(&["user"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_from_eight_others_at_most() {
    let fixture = Fixture::start().await;
    desk(&fixture).await;
    let owner = &fixture.owner;
    let (mut last, _) = mint(owner, json!({})).await;
    for _ in 0..8 {
        (last, _) = mint(owner, json!({ "parent": last })).await;
    }
    let wanted = json!({ "agent": "desk", "vaults": ["v"], "parent": last });
    let refused = owner.post(SESSIONS, wanted).await;
    refused.refused_fields(&["parent"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_revoked_by_its_admins_and_mints_again_at_once() {
    let fixture = Fixture::start().await;
    let owner = &fixture.owner;
    let operator = fixture.operator();
    let refused = operator.call("/v1/tenants/acme:revoke").await;
    refused.refused("permission_denied");
    owner.call("/v1/tenants/-:revoke").await.expect(200);
    assert!(!renews(owner, &fixture.session.to_string()).await);
    let wanted = json!({ "agent": "runner", "vaults": ["v"] });
    let minted = owner.post(SESSIONS, wanted).await.expect(201);
    assert!(renews(owner, minted["id"].as_str().unwrap()).await);
    let mut gateway = fixture.enrol("gw1").await;
    let refused = refusal(&fixture, &mut gateway, &fixture.token).await;
    assert_eq!(refused.as_deref(), Some("session_revoked"));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_credential_is_erased_and_is_of_use_again_once_it_is_set() {
    let fixture = Fixture::start().await;
    let owner = &fixture.owner;
    credential(owner).await;
    credential(owner).await;
    let service = json!({ "host": "api.example.com", "inject": [{ "type": "bearer", "credential": "TOKEN" }] });
    let path = "/v1/tenants/-/vaults/v/services/api";
    owner.put(path, service).await.expect(200);
    let revoke = format!("{CREDENTIAL}:revoke");
    owner.call(&revoke).await.expect(200);
    let view = owner.get(CREDENTIAL).await.expect(200);
    assert!(view["revoked_at"].is_string(), "{view}");
    assert_eq!(view["version"], 2);
    for table in ["credentials", "credential_versions"] {
        let values = format!("{table} WHERE ciphertext <> ''");
        let kept = fixture.count(&values).await;
        assert_eq!(kept, 0, "{table} still holds a value");
    }
    let wanted = json!({ "agent": "runner", "vaults": ["v"], "require": ["api"] });
    let refused = owner.post(SESSIONS, wanted.clone()).await;
    refused.refused("requirement_unmet");

    let mut gateway = fixture.enrol("gw1").await;
    gateway.understands(&capability::ALL);
    let mut stream = fixture.asks(&mut gateway).await;
    let state = stream.tenant().await;
    let entry = &state.revocations[0];
    assert!(matches!(entry.subject, Some(Subject::CredentialId(_))));
    assert_eq!(entry.generation, 2);
    let snapshot = stream.vault().await;
    assert_eq!(snapshot.credentials.len(), 1);
    assert_eq!(snapshot.credentials[0].sealed, None);

    credential(owner).await;
    let Some(Object::Credential(put)) = stream.change().await.object else {
        panic!("no credential");
    };
    assert!(put.sealed.is_some());
    assert_eq!(put.version, 3);
    let view = owner.get(CREDENTIAL).await.expect(200);
    assert!(view.get("revoked_at").is_none(), "{view}");
    owner.post(SESSIONS, wanted).await.expect(201);
    owner
        .call(&format!("{CREDENTIAL}x:revoke"))
        .await
        .refused("not_found");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_a_gateway_that_cannot_enforce_a_revocation_does_not_count() {
    let fixture = Fixture::start().await;
    credential(&fixture.owner).await;
    let mut old = fixture.enrol("old").await;
    let mut stream = fixture.hold(&mut old).await;
    let path = format!("{CREDENTIAL}:revoke");
    let wait = json!({ "wait_seconds": 1 });
    let (answer, change) = tokio::join!(fixture.owner.post(&path, wait), async {
        let change = stream.change().await;
        // More than it was sent: no word of it goes further than that.
        let all = Revision { epoch: 1, n: 1_000 };
        stream.acknowledge(all).await;
        change
    });
    // It knows a deleted credential, and does what it can.
    assert!(matches!(change.object, Some(Object::Tombstone(_))));
    let answer = answer.expect(200);
    assert_eq!(answer["enforcement"]["gateways"], 1, "{answer}");
    assert_eq!(answer["enforcement"]["enforced"], 0, "{answer}");
    assert_eq!(answer["enforcement"]["missing"][0]["name"], "old");
    // A user's it cannot read, and so refuses the tenant: it is handed over as it is.
    let path = format!("{SESSIONS}:revoke");
    let user = json!({ "user": "ada" });
    fixture.owner.post(&path, user).await.expect(200);
    let Some(Object::Revocation(entry)) = stream.change().await.object else {
        panic!("no revocation");
    };
    assert_eq!(entry.subject, Some(Subject::User("ada".to_owned())));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_before_the_compaction_point_a_stream_starts_afresh_with_every_live_revocation() {
    let fixture = Fixture::start().await;
    desk(&fixture).await;
    credential(&fixture.owner).await;
    let mut gateway = fixture.enrol("gw1").await;
    gateway.understands(&capability::ALL);
    let mut stream = fixture.hold(&mut gateway).await;
    stream.send(beat(1)).await;
    let have = Revision::from(stream.echo().await.revision.unwrap());
    drop(stream);
    let (first, _) = mint(&fixture.owner, json!({})).await;
    for path in [
        &format!("{CREDENTIAL}:revoke"),
        &format!("{SESSIONS}/{}:revoke", fixture.session),
        "/v1/tenants/-/agents/runner:revoke",
        "/v1/tenants/-/vaults/v:revoke",
        "/v1/tenants/-:revoke",
    ] {
        fixture.owner.call(path).await.expect(200);
    }
    for body in [json!({ "user": "ada" }), json!({ "parent": first })] {
        let path = format!("{SESSIONS}:revoke");
        fixture.owner.post(&path, body).await.expect(200);
    }
    changes::compact(fixture.database(), 1).await.unwrap();
    let mut stream = gateway.follow(Some(have), &[fixture.tenant]).await;
    assert!(!stream.welcome().await.resumed);
    let state = stream.tenant().await;
    assert_eq!(state.revocations.len(), 7, "{state:?}");
    // What holds the stream is the whole: what came later follows on it, once.
    let before = Revision::from(state.revision.unwrap());
    let path = format!("{SESSIONS}:revoke");
    let grace = json!({ "user": "grace" });
    fixture.owner.post(&path, grace).await.expect(200);
    let change = stream.change().await;
    assert_eq!(Revision::from(change.revision.unwrap()), before.next());
    fixture.stop().await;
}
