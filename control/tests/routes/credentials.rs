use serde_json::{Value, json};

use crate::support::Control;

const VALUE: &str = "canary-5e6f1a-value";

fn put(value: &str) -> Value {
    json!({ "value": value, "destinations": [{ "host": "api.example.com" }] })
}

#[tokio::test]
async fn a_value_goes_in_and_never_comes_out() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let all = "/v1/tenants/-/vaults/v/credentials";
    let path = format!("{all}/TOKEN");
    let first = owner.put(&path, put(VALUE)).await;
    let second = owner.put(&path, put(VALUE)).await;
    assert_eq!(first.body["version"], 1);
    assert_eq!(second.body["version"], 2);
    assert_eq!(first.body["id"], second.body["id"]);
    assert_eq!(first.body["placeholder"], "__TOKEN__");
    let answers = [
        first,
        second,
        owner.get(&path).await,
        owner.get(all).await,
        owner.get("/v1/tenants/-/audit").await,
        owner.put(&path, json!({ "value": VALUE })).await,
        owner.put(&path, json!({ "valeu": VALUE })).await,
        owner.put(&path, json!({ "value": { "x": VALUE } })).await,
        owner
            .put(&path, json!({ "value_base64": VALUE, "value": VALUE }))
            .await,
        owner.delete(&path).await,
        owner.get(&path).await,
    ];
    for answer in answers {
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let tx = control.database().system().await.unwrap();
    for table in [
        "audit_acts",
        "credentials",
        "credential_versions",
        "services",
        "vaults",
    ] {
        let sql = format!(
            "SELECT count(*) FROM {table} t WHERE position('canary'::bytea in convert_to(t::text, 'UTF8')) > 0 \
            OR t::text LIKE '%63616e617279%'"
        );
        let found: i64 = tx.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(found, 0, "{table}");
    }
}

#[tokio::test]
async fn problems_are_told_by_field() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let all = "/v1/tenants/-/vaults/v/credentials";
    let path = format!("{all}/TOKEN");
    owner
        .put(&path, json!({}))
        .await
        .refused_fields(&["value", "destinations"]);
    let body = json!({ "value": "short", "placeholder": "a b", "destinations": [
        { "host": "*.co.uk", "port": 70000, "path": "relative", "methods": ["get"], "surfaces": ["body"] },
    ] });
    owner.put(&path, body).await.refused_fields(&[
        "value",
        "destinations[0].host",
        "destinations[0].port",
        "destinations[0].path",
        "destinations[0].methods",
        "destinations[0].surfaces",
        "placeholder",
    ]);
    owner
        .put(&format!("{all}/9x"), put(VALUE))
        .await
        .refused_fields(&["name"]);
    owner
        .put(&path, put(&"x".repeat(16 * 1024 + 1)))
        .await
        .refused_fields(&["value"]);
    owner.put(&path, put(VALUE)).await.expect(200);
    let mut other = put(VALUE);
    other["placeholder"] = json!("__TOKEN__");
    owner
        .put(&format!("{all}/OTHER"), other)
        .await
        .refused_fields(&["placeholder"]);
}

#[tokio::test]
async fn a_value_in_base64_is_taken() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let path = "/v1/tenants/-/vaults/v/credentials/KEY";
    let body =
        json!({ "value_base64": "AAECAwQFBgc=", "destinations": [{ "host": "*.example.com" }] });
    owner.put(path, body).await.expect(200);
    let body = json!({ "value_base64": "???", "destinations": [{ "host": "example.com" }] });
    owner
        .put(path, body)
        .await
        .refused_fields(&["value_base64"]);
}
