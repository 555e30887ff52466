use serde_json::json;

use crate::support::Control;

const ALL: &str = "/v1/tenants/-/vaults/v/services";

#[tokio::test]
async fn a_service_is_put_read_replaced_and_deleted() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let path = format!("{ALL}/github");
    let body = json!({ "host": "API.github.com.", "inject": [{ "type": "bearer", "credential": "GITHUB_TOKEN" }] });
    let made = owner.put(&path, body).await.expect(200);
    let spec = &made["spec"];
    assert_eq!(spec["host"], "api.github.com");
    assert_eq!(spec["scheme"], "https");
    assert_eq!(spec["path"], "/**");
    assert_eq!(spec["redact"], true);
    assert_eq!(spec["intercept"], "always");
    assert_eq!(spec["enabled"], true);
    let again = owner.put(&path, spec.clone()).await.expect(200);
    assert_eq!(&again["spec"], spec, "what is read can be put");
    assert_eq!(again["version"], 2);
    assert_eq!(again["id"], made["id"]);
    let listed = owner.get(ALL).await.expect(200);
    assert_eq!(listed["services"].as_array().unwrap().len(), 1);
    owner.delete(&path).await.expect(200);
    owner.get(&path).await.refused("not_found");
    owner.delete(&path).await.refused("not_found");
}

#[tokio::test]
async fn problems_are_told_by_field() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let body = json!({ "host": "*.com", "scheme": "ftp", "methods": ["CONNECT"], "intercept": "never", "inject": [
        { "type": "bearer", "credential": "A", "username": "u" },
        { "type": "basic", "credential": "B", "username": "a:b" },
        { "type": "header", "name": "Host", "template": "{{ A }}" },
        { "type": "header", "name": "X-Key", "template": "constant" },
        { "type": "query", "name": "", "credential": "no name" },
        { "type": "magic" },
    ], "placeholders": { "credentials": [], "surfaces": ["body"] } });
    owner
        .put(&format!("{ALL}/-x"), body)
        .await
        .refused_fields(&[
            "name",
            "scheme",
            "host",
            "methods",
            "inject[0].username",
            "inject[1].username",
            "inject[1]",
            "inject[2].name",
            "inject[3].template",
            "inject[4].credential",
            "inject[4].name",
            "inject[5].type",
            "placeholders.credentials",
            "placeholders.surfaces",
            "intercept",
        ]);
    owner
        .put(&format!("{ALL}/x"), json!({ "hots": "x" }))
        .await
        .refused_fields(&["body"]);
}

#[tokio::test]
async fn two_services_that_nothing_tells_apart_are_refused() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let body = json!({ "host": "api.github.com", "path": "/repos/**" });
    owner
        .put(&format!("{ALL}/a"), body.clone())
        .await
        .expect(200);
    let before = control.published().await;
    let refused = owner.put(&format!("{ALL}/b"), body.clone()).await;
    refused.refused("ambiguous_service");
    assert_eq!(refused.status, 409);
    assert_eq!(control.published().await, before);
    owner.get(&format!("{ALL}/b")).await.refused("not_found");
    // What is more exact, or in another vault, is told apart; so is the service from itself.
    owner
        .put(&format!("{ALL}/a"), body.clone())
        .await
        .expect(200);
    let exact = json!({ "host": "api.github.com", "path": "/repos/one" });
    owner.put(&format!("{ALL}/b"), exact).await.expect(200);
    owner
        .put(&format!("{ALL}/b"), body.clone())
        .await
        .refused("ambiguous_service");
    owner
        .post("/v1/tenants/-/vaults", json!({ "name": "w" }))
        .await
        .expect(201);
    let other = "/v1/tenants/-/vaults/w/services/b";
    owner.put(other, body).await.expect(200);
}

#[tokio::test]
async fn https_to_an_address_is_for_unopened_tunnels_only() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let path = format!("{ALL}/by-address");
    for host in ["10.0.0.1", "[2001:db8::1]"] {
        let body = json!({ "host": host });
        owner.put(&path, body).await.refused_fields(&["host"]);
        let body = json!({ "host": host, "intercept": "never" });
        owner.put(&path, body).await.expect(200);
        let body = json!({ "host": host, "scheme": "http" });
        owner.put(&path, body).await.expect(200);
    }
}

#[tokio::test]
async fn whoever_sets_a_service_is_told_what_its_credentials_lack() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let path = format!("{ALL}/api");
    let body = json!({ "host": "api.example.com", "inject": [{ "type": "bearer", "credential": "TOKEN" }] });
    let put = async || owner.put(&path, body.clone()).await.expect(200);
    let warned = put().await["warnings"][0].as_str().unwrap().to_owned();
    assert!(warned.contains("does not hold"), "{warned}");
    // It is said to who sets it, and is no part of it.
    assert!(owner.get(&path).await.expect(200).get("warnings").is_none());
    let credential = "/v1/tenants/-/vaults/v/credentials/TOKEN";
    let may_go = async |host: &str| {
        let body = json!({ "value": "canary-service-value", "destinations": [{ "host": host }] });
        owner.put(credential, body).await.expect(200);
    };
    may_go("other.example.com").await;
    let warned = put().await["warnings"][0].as_str().unwrap().to_owned();
    let mends =
        "`sortie credential set TOKEN --vault v --to 'other.example.com' --to 'api.example.com'`";
    assert!(warned.contains(mends), "{warned}");
    may_go("api.example.com").await;
    assert!(put().await.get("warnings").is_none());
}
