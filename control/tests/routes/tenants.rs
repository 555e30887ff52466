use serde_json::json;

use crate::support::Control;

#[tokio::test]
async fn operators_make_list_and_change_tenants() {
    let control = Control::start().await;
    let operator = control.operator();
    let owner = control.tenant("acme").await;
    control.tenant("other").await;
    let listed = operator.get("/v1/tenants?page_size=1").await.expect(200);
    assert_eq!(listed["tenants"][0]["name"], "acme");
    let token = listed["next_page_token"].as_str().unwrap();
    let path = format!("/v1/tenants?page_size=1&page_token={token}");
    let second = operator.get(&path).await.expect(200);
    assert_eq!(second["tenants"][0]["name"], "other");
    assert!(second.get("next_page_token").is_none());
    let changed = json!({ "enabled": false, "private_allow": ["10.1.2.3/16"] });
    let changed = operator
        .patch("/v1/tenants/acme", changed)
        .await
        .expect(200);
    assert_eq!(changed["private_allow"], json!(["10.1.0.0/16"]));
    let own = owner.get("/v1/tenants/-").await.expect(200);
    assert_eq!(own["enabled"], false);
    operator.get("/v1/tenants/acme").await.expect(200);
    operator
        .post("/v1/tenants", json!({ "name": "acme" }))
        .await
        .refused("already_exists");
    operator
        .post(
            "/v1/tenants",
            json!({ "name": "-A", "private_allow": ["x", "10.0.0.0/99"] }),
        )
        .await
        .refused_fields(&["name", "private_allow[0]", "private_allow[1]"]);
}

#[tokio::test]
async fn operators_see_no_tenants_data_and_owners_run_no_cluster() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    for path in [
        "vaults",
        "vaults/v/credentials",
        "agents",
        "sessions",
        "audit",
        "api-keys",
    ] {
        let path = format!("/v1/tenants/acme/{path}");
        control
            .operator()
            .get(&path)
            .await
            .refused("permission_denied");
    }
    owner.get("/v1/tenants").await.refused("permission_denied");
    owner.get("/v1/gateways").await.refused("permission_denied");
    control.operator().get("/v1/gateways").await.expect(200);
    let join = json!({ "name": "edge-1" });
    control
        .operator()
        .post("/v1/gateways:join", join)
        .await
        .expect(201);
}

#[tokio::test]
async fn what_is_not_a_call_is_refused_with_a_problem() {
    let control = Control::start().await;
    let owner = control.tenant("acme").await;
    control
        .caller("")
        .get("/v1/tenants/-")
        .await
        .refused("unauthenticated");
    let key = "sortie_key_000000000000000000000000000000000000000";
    control
        .caller(key)
        .get("/v1/tenants/-")
        .await
        .refused("unauthenticated");
    owner.get("/v2").await.refused("not_found");
    owner
        .send("PUT", "/v1/tenants", None)
        .await
        .refused("method_not_allowed");
    owner
        .call("/v1/tenants/-/vaults")
        .await
        .refused_fields(&["content-type"]);
    let vaults = "/v1/tenants/-/vaults";
    owner
        .send("POST", vaults, Some("{".to_owned()))
        .await
        .refused_fields(&["body"]);
    let secret = json!({ "name": ["canary-value"] });
    let answer = owner.post(vaults, secret).await;
    answer.refused_fields(&["body"]);
    assert!(!answer.text.contains("canary"));
    let answer = owner.post(vaults, json!({ "nmae": "x" })).await;
    assert!(answer.text.contains("nmae"), "{}", answer.text);
    owner
        .post(vaults, json!({ "name": "x".repeat(2 << 20) }))
        .await
        .refused("body_too_large");
    for query in [
        "page_size=0",
        "page_size=1001",
        "page_token=x",
        "pagesize=1",
    ] {
        owner
            .get(&format!("{vaults}?{query}"))
            .await
            .refused("invalid_argument");
    }
}

#[tokio::test]
async fn roles_hold_and_the_last_owner_stays() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let keys = "/v1/tenants/-/api-keys";
    let mut callers = Vec::new();
    for role in ["admin", "auditor", "member"] {
        let made = owner
            .post(keys, json!({ "name": role, "role": role }))
            .await
            .expect(201);
        callers.push(control.caller(made["key"].as_str().unwrap()));
    }
    let [admin, auditor, member] = &callers[..] else {
        panic!("three were made")
    };
    for caller in [admin, auditor, member] {
        caller.get("/v1/tenants/-/vaults").await.expect(200);
    }
    auditor.get("/v1/tenants/-/audit").await.expect(200);
    member
        .get("/v1/tenants/-/audit")
        .await
        .refused("permission_denied");
    for caller in [auditor, member] {
        let vault = json!({ "name": "w" });
        caller
            .post("/v1/tenants/-/vaults", vault)
            .await
            .refused("permission_denied");
        let session = json!({ "agent": "x", "vaults": ["v"] });
        caller
            .post("/v1/tenants/-/sessions", session)
            .await
            .refused("permission_denied");
    }
    let more = json!({ "name": "more", "role": "owner" });
    admin.post(keys, more).await.refused("permission_denied");
    owner
        .post(keys, json!({ "name": "", "role": "root" }))
        .await
        .refused_fields(&["name", "role"]);
    let listed = owner.get(keys).await.expect(200);
    assert_eq!(listed["api_keys"].as_array().unwrap().len(), 4);
    let first = listed["api_keys"][0]["id"].as_str().unwrap();
    owner
        .delete(&format!("{keys}/{first}"))
        .await
        .refused("failed_precondition");
    let last = listed["api_keys"][3]["id"].as_str().unwrap();
    owner.delete(&format!("{keys}/{last}")).await.expect(200);
    member
        .get("/v1/tenants/-/vaults")
        .await
        .refused("unauthenticated");
}
