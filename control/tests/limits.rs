//! What one tenant may have at most, so that the others' gateways go on.

use prost::Message;
use serde_json::json;
use sortie_control::database::changes;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::change::Object;

use crate::support::{Bare, Fixture, beat};

async fn credential(fixture: &Fixture) {
    let value = json!({ "value": "a value of some length", "destinations": [{ "host": "api.example.com" }] });
    let path = "/v1/tenants/-/vaults/v/credentials/TOKEN";
    fixture.owner.put(path, value).await.expect(200);
}

/// Makes the vault's one credential as large as that, behind the commands' back.
async fn enlarge(fixture: &Fixture, bytes: usize) {
    let sql = format!("UPDATE credentials SET ciphertext = decode(repeat('00', {bytes}), 'hex')");
    fixture.alter(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_too_large_for_the_feed_is_refused_and_the_stream_goes_on() {
    let fixture = Fixture::start().await;
    credential(&fixture).await;
    enlarge(&fixture, 49 * 1024 * 1024).await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.asks(&mut gateway).await;
    stream.tenant().await;
    assert_eq!(stream.refused().await.code, "resource_exhausted");
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);
    enlarge(&fixture, 1_024).await;
    stream.subscribe(fixture.vault, &fixture.token, None).await;
    stream.vault().await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_a_vault_too_large_is_refused_when_it_is_written() {
    let fixture = Fixture::start().await;
    credential(&fixture).await;
    enlarge(&fixture, 16 * 1024 * 1024).await;
    let path = "/v1/tenants/-/vaults/v/services/example";
    let service = json!({ "host": "api.example.com" });
    let refused = fixture.owner.put(path, service.clone()).await;
    refused.refused("resource_exhausted");
    assert_eq!(fixture.count("services").await, 0);
    enlarge(&fixture, 1_024).await;
    fixture.owner.put(path, service).await.expect(200);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_has_so_many_grants_and_a_tenant_so_many_revoked_sessions_and_users() {
    let fixture = Fixture::start().await;
    let (tenant, vault) = (fixture.tenant.uuid(), fixture.vault.uuid());
    fixture
        .alter(&format!(
            "WITH made AS (INSERT INTO agents (id, tenant_id, name, key_hash) \
             SELECT gen_random_uuid(), '{tenant}', 'a' || n, sha256(n::text::bytea) FROM generate_series(2, 50000) AS n \
             RETURNING id) SELECT id FROM made"
        ))
        .await;
    fixture
        .alter(&format!(
            "INSERT INTO grants (tenant_id, vault_id, agent_id, role) \
             SELECT '{tenant}', '{vault}', id, 'user' FROM agents WHERE name <> 'runner'"
        ))
        .await;
    let grants = "/v1/tenants/-/vaults/v/grants";
    let role = json!({ "role": "editor" });
    let path = format!("{grants}/runner");
    fixture.owner.put(&path, role.clone()).await.expect(200);
    let one_more = json!({ "name": "one-more" });
    fixture
        .owner
        .post("/v1/tenants/-/agents", one_more)
        .await
        .expect(201);
    let path = format!("{grants}/one-more");
    let refused = fixture.owner.put(&path, role).await;
    refused.refused("resource_exhausted");

    let users = "/v1/tenants/-/sessions:revoke";
    let grace = json!({ "user": "grace" });
    fixture.owner.post(users, grace.clone()).await.expect(200);
    fixture
        .alter(&format!(
            "INSERT INTO revocations SELECT '{tenant}', 'session', gen_random_uuid(), 0, 99999999999 \
             FROM generate_series(1, 100000)"
        ))
        .await;
    let path = format!("/v1/tenants/-/sessions/{}:revoke", fixture.session);
    fixture
        .owner
        .call(&path)
        .await
        .refused("resource_exhausted");
    let ada = json!({ "user": "ada" });
    let refused = fixture.owner.post(users, ada).await;
    refused.refused("resource_exhausted");
    assert!(refused.text.contains("Revoke the agent or the vault"));
    // Who has an entry takes no more room.
    fixture.owner.post(users, grace).await.expect(200);
    for path in ["agents/runner", "vaults/v"] {
        let path = format!("/v1/tenants/-/{path}:revoke");
        fixture.owner.call(&path).await.expect(200);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_make_the_partitions_once() {
    let bare = Bare::new().await;
    let days = (100..110).map(async |day| {
        let mut makers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let database = bare.database.clone();
            makers.spawn(async move {
                let tx = database.system().await.unwrap();
                let sql = format!("SELECT make_audit_partitions(current_date + {day})");
                tx.execute(&sql, &[]).await.unwrap();
                tx.commit().await.unwrap();
            });
        }
        makers.join_all().await;
    });
    futures_util::future::join_all(days).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_put_while_its_agents_limits_are_set_carries_the_new_ones() {
    let fixture = Fixture::start().await;
    let limits = v1::Limits {
        concurrency: 3,
        ..v1::Limits::default()
    };
    let tx = fixture.database().tenant(fixture.tenant).await.unwrap();
    let set = "UPDATE agents SET limits = $1 WHERE name = 'runner'";
    tx.execute(set, &[&limits.encode_to_vec()]).await.unwrap();
    let path = "/v1/tenants/-/vaults/v/grants/runner";
    let put = fixture.owner.put(path, json!({ "role": "editor" }));
    let commit = async {
        let waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted \
                       AND datname = current_database() AND query LIKE '%agents.share%'";
        fixture
            .wait_until("the grant to wait for the limits", async || {
                fixture.look(waiting).await > 0
            })
            .await;
        tx.commit().await.unwrap();
    };
    let (put, ()) = tokio::join!(put, commit);
    put.expect(200);
    let tx = fixture.database().system().await.unwrap();
    let begin = Revision { epoch: 1, n: 0 };
    let rows = changes::after(&tx, begin, 1_000).await.unwrap();
    let last = rows.last().unwrap();
    let last = v1::Change::decode(last.body.as_slice()).unwrap();
    let Some(Object::Grant(grant)) = last.object else {
        panic!("{last:?}");
    };
    assert_eq!(grant.agent_limits, Some(limits));
    fixture.stop().await;
}
