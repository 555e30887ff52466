use base64::Engine as _;
use serde_json::{Value, json};
use sortie_control::api::grpc::admin;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::admin_client::AdminClient;
use tonic::Request;
use tonic_types::StatusExt;

use crate::support::{Caller, Control};

const ALL: &str = "/v1/tenants/-/sessions";
const VAULT: &str = "/v1/tenants/-/vaults/v";
const GATEWAY: &str = "http://gateway.test:7380";

async fn credential(owner: &Caller, vault: &str, name: &str, placeholder: &str) {
    let body = json!({ "value": "canary-environment-value", "placeholder": placeholder,
        "destinations": [{ "host": "*.example.com" }] });
    let path = format!("/v1/tenants/-/vaults/{vault}/credentials/{name}");
    owner.put(&path, body).await.expect(200);
}

async fn service(owner: &Caller, name: &str, more: Value) {
    let mut body = json!({ "host": format!("{name}.example.com"),
        "inject": [{ "type": "bearer", "credential": "TOKEN" }] });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    owner
        .put(&format!("{VAULT}/services/{name}"), body)
        .await
        .expect(200);
}

fn messages(answer: &Value) -> Vec<(&str, &str)> {
    let errors = answer["errors"].as_array().unwrap().iter();
    errors
        .map(|error| {
            let text = |field: &str| error[field].as_str().unwrap();
            (text("field"), text("message"))
        })
        .collect()
}

#[tokio::test]
async fn what_is_required_and_cannot_be_used_is_named_with_the_command_that_mends_it() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    credential(&owner, "v", "TOKEN", "").await;
    service(&owner, "good", json!({})).await;
    service(&owner, "off", json!({ "enabled": false })).await;
    let header =
        json!([{ "type": "header", "name": "x-key", "template": "{{ TOKEN }}{{ GONE }}" }]);
    let placed = json!({ "credentials": ["LOST"], "surfaces": ["header"] });
    let bare = json!({ "inject": header, "placeholders": placed, "port": 8443 });
    service(&owner, "bare", bare).await;
    let wanted = |require: Value| json!({ "vaults": ["v"], "require": require });
    agent.post(ALL, wanted(json!(["good"]))).await.expect(201);

    let before = control.acts("session.mint").await;
    let refused = agent
        .post(ALL, wanted(json!(["none", "good", "off", "bare"])))
        .await;
    refused.refused("requirement_unmet");
    assert_eq!(refused.status, 412);
    let told = messages(&refused.body);
    let expected = [
        ("require[0]", "`sortie service set none --vault v "),
        ("require[2]", "`sortie service enable off --vault v`"),
        (
            "require[3]",
            "`sortie credential set GONE --vault v --to 'bare.example.com:8443'`",
        ),
        (
            "require[3]",
            "`sortie credential set LOST --vault v --to 'bare.example.com:8443'`",
        ),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((field, message), (at, command)) in told.into_iter().zip(expected) {
        assert_eq!(field, at);
        assert!(message.contains(command), "{message}");
    }
    assert_eq!(control.acts("session.mint").await, before);

    let narrowed = json!({ "vaults": ["v"], "services": ["off"], "require": ["good"] });
    let refused = agent.post(ALL, narrowed).await;
    refused.refused("requirement_unmet");
    assert!(messages(&refused.body)[0].1.contains("`services`"));
    owner
        .patch(VAULT, json!({ "enabled": false }))
        .await
        .expect(200);
    let refused = agent.post(ALL, wanted(json!(["good"]))).await;
    assert!(
        messages(&refused.body)[0]
            .1
            .contains("sortie vault update v --enabled true")
    );
    agent
        .post(ALL, wanted(json!(["not a name"])))
        .await
        .refused_fields(&["require[0]"]);
}

#[tokio::test]
async fn a_credential_that_may_not_go_where_its_service_is_fails_the_requirement() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let put = async |destinations: Value| {
        let body = json!({ "value": "canary-environment-value", "destinations": destinations });
        let path = format!("{VAULT}/credentials/TOKEN");
        owner.put(&path, body).await.expect(200);
    };
    service(
        &owner,
        "api",
        json!({ "path": "/v1/**", "methods": ["GET"] }),
    )
    .await;
    let wanted = json!({ "vaults": ["v"], "require": ["api"] });
    let host = "api.example.com";
    for (destinations, command) in [
        (
            json!([{ "host": "one.example.com" }, { "host": "two.example.com", "port": 8443 }]),
            "`sortie credential set TOKEN --vault v --to 'one.example.com' --to 'two.example.com:8443' \
             --to 'api.example.com'`",
        ),
        (
            json!([{ "host": host, "port": 8443 }]),
            "--to 'api.example.com:8443' --to 'api.example.com'`",
        ),
        // Options that say host and port alone would let it go further than it may.
        (json!([{ "host": host, "path": "/v2/**" }]), "over the API"),
        (
            json!([{ "host": host, "methods": ["POST"] }]),
            "over the API",
        ),
        (
            json!([{ "host": host, "surfaces": ["query"] }]),
            "over the API",
        ),
    ] {
        put(destinations.clone()).await;
        let refused = agent.post(ALL, wanted.clone()).await;
        refused.refused("requirement_unmet");
        let told = messages(&refused.body);
        assert_eq!(told.len(), 1, "{told:#?}");
        let (field, message) = told[0];
        assert_eq!(field, "require[0]");
        assert!(
            message.starts_with("api sends the credential TOKEN to api.example.com"),
            "{message}"
        );
        assert!(message.contains(command), "{destinations}: {message}");
    }
    for destinations in [
        json!([{ "host": "one.example.com" }, { "host": host }]),
        json!([{ "host": "*.example.com", "port": 443 }]),
        json!([{ "host": host, "path": "/v1/models", "methods": ["GET"], "surfaces": ["header"] }]),
    ] {
        put(destinations).await;
        agent.post(ALL, wanted.clone()).await.expect(201);
    }
}

#[tokio::test]
async fn in_a_batch_each_session_has_its_own_requirements() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    credential(&owner, "v", "TOKEN", "").await;
    service(&owner, "good", json!({})).await;
    let good = owner
        .get(&format!("{VAULT}/services/good"))
        .await
        .expect(200);
    let sessions = json!([
        { "vaults": ["v"], "require": [good["id"]] },
        { "vaults": ["v"], "require": ["none"] },
    ]);
    let refused = agent
        .post(&format!("{ALL}:batchMint"), json!({ "sessions": sessions }))
        .await;
    refused.refused("requirement_unmet");
    let told = messages(&refused.body);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "sessions[1].require[0]");
    // A thousand sessions that all lack the same do not make an answer of a thousand lines.
    let many = json!({ "sessions": vec![sessions[1].clone(); 1_000] });
    let refused = agent.post(&format!("{ALL}:batchMint"), many).await;
    assert_eq!(messages(&refused.body).len(), 100);
}

#[tokio::test]
async fn a_mint_answers_with_what_the_agents_side_needs() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    for (name, placeholder) in [
        ("TOKEN", "ghp_placeholder"),
        ("PATH", ""),
        ("LD_PRELOAD", ""),
        ("HTTPS_PROXY", ""),
    ] {
        credential(&owner, "v", name, placeholder).await;
    }
    service(&owner, "good", json!({})).await;
    let plain = agent
        .post(ALL, json!({ "vaults": ["v"] }))
        .await
        .expect(201);
    assert!(plain.get("environment").is_none() && plain.get("files").is_none());

    let environment = json!({ "proxy_url": GATEWAY, "folder": "/etc/agent/", "no_proxy": ["good.example.com", "db.test"] });
    let body = json!({ "vaults": ["v"], "environment": environment });
    let minted = agent.post(ALL, body).await.expect(201);
    let token = minted["token"].as_str().unwrap();
    let variables = &minted["environment"];
    let proxy = format!("http://x:{token}@gateway.test:7380");
    for (name, value) in [
        ("HTTPS_PROXY", proxy.as_str()),
        ("http_proxy", proxy.as_str()),
        ("SSL_CERT_FILE", "/etc/agent/bundle.pem"),
        ("NODE_EXTRA_CA_CERTS", "/etc/agent/ca.pem"),
        ("NODE_USE_ENV_PROXY", "1"),
        ("TOKEN", "ghp_placeholder"),
        // A brokered host that went past the gateway would get no credential.
        ("NO_PROXY", "db.test,localhost,127.0.0.1,::1"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert_eq!(minted["proxy_url"], proxy);
    assert!(variables.get("PATH").is_none() && variables.get("LD_PRELOAD").is_none());
    let authority = owner.get("/v1/tenants/-/authority").await.expect(200);
    let files = minted["files"].as_array().unwrap();
    let file = |name: &str| {
        let found = files.iter().find(|file| file["path"] == name).unwrap();
        assert_eq!(found["mode"], "0644");
        found["content"].as_str().unwrap()
    };
    assert_eq!(file("ca.pem"), authority["pem"]);
    let bundle = file("bundle.pem");
    assert!(bundle.starts_with(file("ca.pem")));
    let roots = rustls_pki_types::pem::PemObject::pem_slice_iter(bundle.as_bytes());
    let roots: Vec<rustls_pki_types::CertificateDer<'_>> = roots.collect::<Result<_, _>>().unwrap();
    assert!(roots.len() > 100, "{} roots", roots.len());
    assert!(!minted.to_string().contains("canary-environment-value"));
}

#[tokio::test]
async fn tools_of_a_bundle_find_their_files_once_it_is_whole() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    for name in ["github", "npm"] {
        let bundle = sortie_proto::catalog::find(name).unwrap();
        for needed in &bundle.credentials {
            credential(&owner, "v", &needed.name, &needed.placeholder).await;
        }
        for entry in &bundle.services {
            let path = format!("{VAULT}/services/{}", entry.name);
            owner.put(&path, entry.body()).await.expect(200);
        }
    }
    let environment = json!({ "proxy_url": GATEWAY, "folder": "/etc/agent" });
    let body = json!({ "vaults": ["v"], "environment": environment });
    let minted = agent.post(ALL, body.clone()).await.expect(201);
    let variables = &minted["environment"];
    assert_eq!(variables["GH_CONFIG_DIR"], "/etc/agent/gh");
    assert_eq!(variables["NPM_CONFIG_USERCONFIG"], "/etc/agent/npmrc");
    let content = |minted: &Value, path: &str| {
        let files = minted["files"].as_array().unwrap();
        let found = files.iter().find(|file| file["path"] == path);
        found.map(|file| (file["content"].clone(), file["mode"].clone()))
    };
    for (path, holds) in [
        ("gh/hosts.yml", "oauth_token: ghp___GITHUB_TOKEN__\n"),
        ("npmrc", "//registry.npmjs.org/:_authToken="),
    ] {
        let (content, mode) = content(&minted, path).unwrap();
        assert!(content.as_str().unwrap().contains(holds), "{content}");
        assert_eq!(mode, "0644");
    }
    assert!(!minted.to_string().contains("canary-environment-value"));

    // A host of it is refused: the tool would be led to what does not work.
    let github = &sortie_proto::catalog::find("github").unwrap().services[0];
    let mut off = github.body();
    off["enabled"] = json!(false);
    let path = format!("{VAULT}/services/{}", github.name);
    owner.put(&path, off).await.expect(200);
    let minted = agent.post(ALL, body).await.expect(201);
    assert!(content(&minted, "gh/hosts.yml").is_none());
    assert!(minted["environment"].get("GH_CONFIG_DIR").is_none());
    assert!(content(&minted, "npmrc").is_some());
    // Who has the files already is led to them all the same.
    let without = json!({ "proxy_url": GATEWAY, "without_files": true });
    let body = json!({ "vaults": ["v"], "environment": without });
    let minted = agent.post(ALL, body).await.expect(201);
    assert!(minted.get("files").is_none());
    let variables = &minted["environment"];
    assert_eq!(variables["NPM_CONFIG_USERCONFIG"], "/run/sortie/npmrc");
}

#[tokio::test]
async fn a_jvm_gets_a_store_with_the_same_roots() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let environment = json!({ "proxy_url": GATEWAY, "trust_store": true });
    let body = json!({ "vaults": ["v"], "environment": environment });
    let minted = agent.post(ALL, body).await.expect(201);
    let options = minted["environment"]["JAVA_TOOL_OPTIONS"].as_str().unwrap();
    assert!(options.contains("-Djavax.net.ssl.trustStore=/run/sortie/trust.p12"));
    let files = minted["files"].as_array().unwrap();
    let file = |name: &str| files.iter().find(|file| file["path"] == name).unwrap();
    assert_eq!(file("trust.p12")["encoding"], "base64");
    let content = file("trust.p12")["content"].as_str().unwrap();
    let store = base64::engine::general_purpose::STANDARD
        .decode(content)
        .unwrap();
    // `Strict` leaves out what is not marked as trusted.
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let password = sortie_proto::environment::TRUST_STORE_PASSWORD;
    let store = p12_keystore::KeyStore::from_pkcs12(&store, password, policy).unwrap();
    let bundle = file("bundle.pem")["content"].as_str().unwrap();
    assert_eq!(
        store.entries_len(),
        bundle.matches("BEGIN CERTIFICATE").count()
    );
}

#[tokio::test]
async fn a_batch_says_once_what_all_sessions_share() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    credential(&owner, "v", "TOKEN", "").await;
    let path = format!("{ALL}:batchMint");
    let environment = json!({ "proxy_url": GATEWAY });
    let body =
        json!({ "sessions": vec![json!({ "vaults": ["v"] }); 200], "environment": environment });
    let answer = agent.post(&path, body).await;
    assert!(
        answer.text.len() < 1024 * 1024,
        "{} bytes",
        answer.text.len()
    );
    let minted = answer.expect(201);
    assert_eq!(minted["environment"]["TOKEN"], "__TOKEN__");
    assert_eq!(minted["environment"]["PIP_CERT"], "/run/sortie/bundle.pem");
    assert!(!minted["environment"].to_string().contains("sortie_ses_"));
    assert_eq!(minted["files"].as_array().unwrap().len(), 2);
    let names = minted["proxy_variables"].as_array().unwrap();
    assert!(names.contains(&json!("HTTPS_PROXY")) && names.contains(&json!("all_proxy")));
    for session in minted["sessions"].as_array().unwrap() {
        let token = session["token"].as_str().unwrap();
        assert_eq!(
            session["proxy_url"],
            format!("http://x:{token}@gateway.test:7380")
        );
        assert!(session.get("environment").is_none() && session.get("files").is_none());
    }

    let body = json!({ "sessions": [{ "vaults": ["v"] }],
        "environment": { "proxy_url": GATEWAY, "without_files": true } });
    let minted = agent.post(&path, body).await.expect(201);
    assert!(minted.get("files").is_none() && minted["environment"]["PIP_CERT"].is_string());

    owner
        .post("/v1/tenants/-/vaults", json!({ "name": "w" }))
        .await
        .expect(201);
    let grant = "/v1/tenants/-/vaults/w/grants/runner";
    owner
        .put(grant, json!({ "role": "user" }))
        .await
        .expect(200);
    credential(&owner, "w", "TOKEN", "__SECOND__").await;
    let sessions = json!([{ "vaults": ["v", "w"] }, { "vaults": ["w", "v"] }]);
    let body = json!({ "sessions": sessions, "environment": { "proxy_url": GATEWAY } });
    agent
        .post(&path, body)
        .await
        .refused_fields(&["environment"]);
    // Vaults are searched in order: the first one's credential is meant.
    let body = json!({ "vaults": ["w", "v"], "environment": { "proxy_url": GATEWAY } });
    let minted = agent.post(ALL, body).await.expect(201);
    assert_eq!(minted["environment"]["TOKEN"], "__SECOND__");
}

#[tokio::test]
async fn an_environment_that_cannot_be_is_refused_with_everything_else() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    let environment = json!({ "folder": "relative", "proxy_url": "http://u:p@gateway.test:1", "no_proxy": ["a,b"] });
    let refused = agent.post(ALL, json!({ "environment": environment })).await;
    refused.refused_fields(&[
        "environment.folder",
        "environment.proxy_url",
        "environment.no_proxy",
        "vaults",
    ]);
    // Control of the tests has no address of gateways.
    agent
        .post(ALL, json!({ "vaults": ["v"], "environment": {} }))
        .await
        .refused_fields(&["environment.proxy_url"]);
    assert_eq!(control.acts("session.mint").await, 0);
}

#[tokio::test]
async fn grpc_mints_with_an_environment_and_requirements_too() {
    let control = Control::start().await;
    let owner = control.vault("acme").await;
    let agent = control.agent(&owner, "runner").await;
    credential(&owner, "v", "TOKEN", "").await;
    let mut client = AdminClient::new(admin::service(control.state().clone()));
    let call = |require: &[&str]| {
        let mut request = Request::new(v1::MintSessionRequest {
            tenant: "-".to_owned(),
            session: Some(v1::SessionSpec {
                vaults: vec!["v".to_owned()],
                require: require.iter().map(|name| (*name).to_owned()).collect(),
                ..v1::SessionSpec::default()
            }),
            environment: Some(v1::EnvironmentSpec {
                proxy_url: GATEWAY.to_owned(),
                ..v1::EnvironmentSpec::default()
            }),
        });
        let header = format!("Bearer {}", agent.key).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    };
    let minted = client.mint_session(call(&[])).await.unwrap().into_inner();
    assert_eq!(minted.environment["HTTPS_PROXY"], minted.proxy_url);
    assert!(minted.proxy_url.contains(&minted.token));
    assert_eq!(minted.files.len(), 2);
    let status = client.mint_session(call(&["none"])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert_eq!(
        status.metadata().get("sortie-code").unwrap(),
        "requirement_unmet"
    );
    let details = status.get_details_bad_request().unwrap();
    assert_eq!(details.field_violations[0].field, "require[0]");
}
