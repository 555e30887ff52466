use serde_json::json;

use crate::support::Control;

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_vaults_key_is_gone() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    assert_eq!(control.count("data_keys").await, 1);
    owner.delete("/v1/tenants/-/vaults/v").await.expect(200);
    assert_eq!(control.count("data_keys").await, 0);
    control.stop().await;
}

#[tokio::test]
async fn a_vault_is_made_changed_revoked_and_deleted() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let path = "/v1/tenants/acme/vaults/v";
    let vault = owner.get(path).await.expect(200);
    assert_eq!(
        (&vault["mode"], &vault["staleness_seconds"]),
        (&json!("deny"), &json!(900))
    );
    let change = json!({ "mode": "observe", "staleness_seconds": 30, "durable": true });
    let changed = owner.patch(path, change).await.expect(200);
    assert_eq!(
        (&changed["mode"], &changed["version"]),
        (&json!("observe"), &json!(2))
    );
    let revoked = owner.call(&format!("{path}:revoke")).await.expect(200);
    assert!(revoked["revision"].as_str().unwrap().starts_with("1."));
    owner
        .call(&format!("{path}:paint"))
        .await
        .refused("not_found");
    owner.call(path).await.refused("method_not_allowed");
    let id = vault["id"].as_str().unwrap();
    owner
        .delete(&format!("/v1/tenants/-/vaults/{id}"))
        .await
        .expect(200);
    owner.get(path).await.refused("not_found");
    let acts = owner
        .get("/v1/tenants/-/audit?kind=admin")
        .await
        .expect(200);
    let acts: Vec<_> = acts["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        acts,
        [
            "vault.delete",
            "vault.revoke",
            "vault.update",
            "vault.create",
            "tenant.create"
        ]
    );
}

#[tokio::test]
async fn all_problems_are_told_at_once() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let body = json!({ "name": "Not A Name", "mode": "open", "staleness_seconds": 29 });
    let fields = ["name", "mode", "staleness_seconds"];
    owner
        .post("/v1/tenants/-/vaults", body)
        .await
        .refused_fields(&fields);
    let body = json!({ "name": "v" });
    owner
        .post("/v1/tenants/-/vaults", body)
        .await
        .refused("already_exists");
}

#[tokio::test]
async fn another_tenants_vault_does_not_exist() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let stranger = control.tenant("stranger").await;
    let vault = owner.get("/v1/tenants/-/vaults/v").await.expect(200);
    let id = vault["id"].as_str().unwrap();
    let tenant = vault["tenant_id"].as_str().unwrap();
    for tenant in ["acme", tenant, "-"] {
        let path = format!("/v1/tenants/{tenant}/vaults/{id}");
        stranger.get(&path).await.refused("not_found");
        stranger.delete(&path).await.refused("not_found");
        stranger
            .patch(&path, json!({ "enabled": false }))
            .await
            .refused("not_found");
        stranger
            .call(&format!("{path}:revoke"))
            .await
            .refused("not_found");
        stranger
            .get(&format!("{path}/credentials"))
            .await
            .refused("not_found");
    }
    assert_eq!(owner.get("/v1/tenants/-/vaults/v").await.expect(200), vault);
}
