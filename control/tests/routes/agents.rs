use serde_json::json;

use crate::support::Control;

#[tokio::test]
async fn an_agent_sees_itself_and_nothing_else() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    control.agent(&owner, "other").await;
    let own = agent.get("/v1/tenants/-/agents/-").await.expect(200);
    assert_eq!(own["name"], "runner");
    assert_eq!(own["grants"][0]["vault"], "v");
    assert_eq!(own["grants"][0]["role"], "user");
    agent
        .get("/v1/tenants/-/agents/other")
        .await
        .refused("not_found");
    let listed = agent.get("/v1/tenants/-/agents").await.expect(200);
    assert_eq!(listed["agents"].as_array().unwrap().len(), 1);
    for path in [
        "vaults",
        "vaults/v",
        "vaults/v/credentials",
        "vaults/v/services",
        "audit",
        "api-keys",
    ] {
        agent
            .get(&format!("/v1/tenants/-/{path}"))
            .await
            .refused("permission_denied");
    }
    agent
        .call("/v1/tenants/-/agents/runner:revoke")
        .await
        .refused("permission_denied");
    agent.get("/v1/tenants/-/authority").await.expect(200);
}

#[tokio::test]
async fn an_agent_is_revoked_and_deleted_and_its_key_dies() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    owner
        .call("/v1/tenants/-/agents/runner:revoke")
        .await
        .expect(200);
    let view = owner.get("/v1/tenants/-/agents/runner").await.expect(200);
    assert_eq!(view["generation"], 1);
    agent.get("/v1/tenants/-").await.expect(200);
    owner
        .delete("/v1/tenants/-/vaults/v/grants/runner")
        .await
        .expect(200);
    owner
        .delete("/v1/tenants/-/vaults/v/grants/runner")
        .await
        .refused("not_found");
    owner
        .delete("/v1/tenants/-/agents/runner")
        .await
        .expect(200);
    agent.get("/v1/tenants/-").await.refused("unauthenticated");
    let grant = json!({ "role": "king", "expires_at": "2001-01-01T00:00:00Z" });
    owner
        .put("/v1/tenants/-/vaults/v/grants/runner", grant)
        .await
        .refused_fields(&["role", "expires_at"]);
}
