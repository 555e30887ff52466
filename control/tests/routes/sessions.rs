use serde_json::json;

use crate::support::Control;

const ALL: &str = "/v1/tenants/-/sessions";

#[tokio::test]
async fn a_session_is_minted_renewed_and_revoked_and_minting_publishes_nothing() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let before = control.published().await;
    let body = json!({ "vaults": ["v"], "labels": { "run": "7" }, "ttl_seconds": 600 });
    let minted = agent.post(ALL, body).await.expect(201);
    assert!(minted["token"].as_str().unwrap().starts_with("sortie_ses_"));
    let id = minted["id"].as_str().unwrap();
    let renewed = agent.call(&format!("{ALL}/{id}:renew")).await.expect(200);
    assert_eq!(renewed["id"], id);
    assert_eq!(control.published().await, before);
    let listed = owner.get(&format!("{ALL}?agent=runner")).await.expect(200);
    assert_eq!(listed["sessions"][0]["labels"]["run"], "7");
    assert!(listed["sessions"][0].get("token").is_none());
    agent.call(&format!("{ALL}/{id}:revoke")).await.expect(200);
    assert_eq!(control.published().await, before + 1);
    agent
        .call(&format!("{ALL}/{id}:renew"))
        .await
        .refused("failed_precondition");
    let listed = owner.get(ALL).await.expect(200);
    assert_eq!(listed["sessions"], json!([]));
    let listed = owner
        .get(&format!("{ALL}?include_ended=true"))
        .await
        .expect(200);
    assert!(listed["sessions"][0]["revoked_at"].is_string());
}

#[tokio::test]
async fn what_was_revoked_by_generation_is_not_renewed() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    for what in ["agents/runner", "vaults/v"] {
        let minted = agent
            .post(ALL, json!({ "vaults": ["v"] }))
            .await
            .expect(201);
        let renew = format!("{ALL}/{}:renew", minted["id"].as_str().unwrap());
        agent.call(&renew).await.expect(200);
        owner
            .call(&format!("/v1/tenants/-/{what}:revoke"))
            .await
            .expect(200);
        agent.call(&renew).await.refused("failed_precondition");
    }
}

#[tokio::test]
async fn without_a_role_one_is_told_for_which_vault_and_how_to_get_it() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let vault = json!({ "name": "w" });
    owner.post("/v1/tenants/-/vaults", vault).await.expect(201);
    // One that is there and one that is not look the same to who has no role.
    for name in ["w", "none"] {
        let refused = agent.post(ALL, json!({ "vaults": ["v", name] })).await;
        refused.refused("role_missing");
        let told = refused.body["errors"].as_array().unwrap();
        assert_eq!(told.len(), 1, "{}", refused.text);
        assert_eq!(told[0]["field"], "vaults[1]");
        let expected = format!(
            "is no vault that the agent runner has a role on: \
             `sortie grant set runner --vault {name} --role user`"
        );
        assert_eq!(told[0]["message"], expected);
    }
    // What cannot be a name does not get into a command that somebody copies.
    for text in ["w; reboot", "$(reboot)", "w`\nsortie", ""] {
        let refused = agent.post(ALL, json!({ "vaults": ["v", text] })).await;
        refused.refused("role_missing");
        let expected = "is no vault that the agent runner has a role on: \
                        `sortie grant set runner --vault VAULT --role user`";
        assert_eq!(refused.body["errors"][0]["message"], expected);
    }
}

#[tokio::test]
async fn agents_mint_for_themselves_where_they_have_a_role() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let other = control.agent(&owner, "other").await;
    owner
        .post("/v1/tenants/-/vaults", json!({ "name": "w" }))
        .await
        .expect(201);
    agent
        .post(ALL, json!({ "vaults": ["w"] }))
        .await
        .refused("role_missing");
    agent
        .post(ALL, json!({ "vaults": ["none"] }))
        .await
        .refused("role_missing");
    let body = json!({ "vaults": ["v"], "agent": "other" });
    agent.post(ALL, body).await.refused_fields(&["agent"]);
    let body = json!({ "vaults": ["v"], "user": "ann", "services": ["none"] });
    agent
        .post(ALL, body)
        .await
        .refused_fields(&["services[0]", "user"]);
    let body = json!({ "ttl_seconds": 1, "source_cidr": "x", "labels": { " ": "x" } });
    owner.post(ALL, body).await.refused_fields(&[
        "agent",
        "vaults",
        "labels",
        "source_cidr",
        "ttl_seconds",
    ]);
    let minted = owner
        .post(ALL, json!({ "agent": "runner", "vaults": ["v"] }))
        .await
        .expect(201);
    let path = format!("{ALL}/{}", minted["id"].as_str().unwrap());
    other
        .call(&format!("{path}:revoke"))
        .await
        .refused("not_found");
    other
        .call(&format!("{path}:renew"))
        .await
        .refused("not_found");
    other
        .get(&format!("{ALL}?agent=runner"))
        .await
        .refused("not_found");
    let operator = control.operator();
    operator
        .patch("/v1/tenants/acme", json!({ "enabled": false }))
        .await
        .expect(200);
    agent
        .post(ALL, json!({ "vaults": ["v"] }))
        .await
        .refused("tenant_disabled");
}

#[tokio::test]
async fn a_batch_is_all_or_nothing_and_one_act() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let path = format!("{ALL}:batchMint");
    let batch = |count: usize| json!({ "sessions": vec![json!({ "vaults": ["v"] }); count] });
    let minted = agent.post(&path, batch(50)).await.expect(201);
    assert_eq!(minted["sessions"].as_array().unwrap().len(), 50);
    agent
        .post(&path, batch(0))
        .await
        .refused_fields(&["sessions"]);
    agent
        .post(&path, batch(1001))
        .await
        .refused_fields(&["sessions"]);
    let mut bad = batch(3);
    bad["sessions"][1]["services"] = json!(["none"]);
    agent
        .post(&path, bad)
        .await
        .refused_fields(&["sessions[1].services[0]"]);
    let page = owner
        .get(&format!("{ALL}?page_size=1000"))
        .await
        .expect(200);
    assert_eq!(page["sessions"].as_array().unwrap().len(), 50);
    let acts = owner.get("/v1/tenants/-/audit").await.text;
    assert_eq!(acts.matches("session.mint").count(), 1);
}

#[tokio::test]
async fn a_revocation_without_a_body_may_name_any_type() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let session = agent.post(ALL, json!({ "vaults": ["v"] })).await;
    let session = session.expect(201)["id"].as_str().unwrap().to_owned();
    for what in [
        format!("sessions/{session}"),
        "agents/runner".to_owned(),
        "vaults/v".to_owned(),
    ] {
        let path = format!("/v1/tenants/-/{what}:revoke");
        // It names its type, as some clients always do, and sends nothing.
        let answer = owner.send("POST", &path, Some(String::new())).await;
        assert!(answer.expect(200)["revision"].is_string());
        let broken = owner.send("POST", &path, Some("{".to_owned())).await;
        broken.refused_fields(&["body"]);
    }
}
