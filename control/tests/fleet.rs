//! What a gateway must show, call by call, over mutual TLS. Each test names what is missing.

use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::token::Claims;
use sortie_proto::wire::v1;
use tonic::{Code, Status};

use crate::support::{Fixture, Gateway};

/// The code of ours that a refusal carries.
fn code<T: std::fmt::Debug>(refused: Result<T, Status>) -> String {
    let status = refused.unwrap_err();
    let code = status.metadata().get("sortie-code");
    code.unwrap_or_else(|| panic!("no code: {status:?}"))
        .to_str()
        .unwrap()
        .to_owned()
}

/// A gateway asks for the fixture's vault, and for an intermediate of its tenant, with a token: it gets neither.
async fn refused_with(fixture: &Fixture, gateway: &mut Gateway, token: &str) -> [String; 2] {
    let mut stream = gateway.welcomed().await;
    stream.subscribe(fixture.vault, token, None).await;
    let refused = stream.refused().await.code;
    let signed = gateway.sign_intermediate(fixture.tenant, token).await;
    assert_eq!(fixture.count("vault_releases").await, 0);
    assert_eq!(fixture.acts("authority.sign").await, 0);
    [refused, code(signed)]
}

/// Makes claims other than control would, with a second that has passed.
type Change = fn(&mut Claims, i64);

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_gets_nothing() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let found = refused_with(&fixture, &mut gateway, "sortie_ses_nonsense").await;
    assert_eq!(found, ["token_malformed"; 2]);
    let (start, _) = fixture.token.rsplit_once('.').unwrap();
    let unsigned = format!("{start}.{}", "A".repeat(86));
    let found = refused_with(&fixture, &mut gateway, &unsigned).await;
    assert_eq!(found, ["token_invalid"; 2]);
    let ended = jiff::Timestamp::now().as_second() - 1;
    let changed: [(Change, _); 3] = [
        (
            |claims, ended| (claims.iat, claims.exp) = (ended - 60, ended),
            "token_expired",
        ),
        // Of a database that this one is a restored backup of.
        (|claims, _| claims.epoch = 2, "session_revoked"),
        (
            |claims, _| claims.session = sortie_proto::id::SessionId::generate(),
            "session_revoked",
        ),
    ];
    for (change, expected) in changed {
        let mut claims = fixture.claims();
        change(&mut claims, ended);
        let token = fixture.sign(&claims).await;
        let found = refused_with(&fixture, &mut gateway, &token).await;
        assert_eq!(found, [expected; 2]);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_something_else_gets_nothing() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut claims = fixture.claims();
    claims.vaults[0].id = VaultId::generate();
    let token = fixture.sign(&claims).await;
    let found = refused_with(&fixture, &mut gateway, &token).await;
    assert_eq!(found, ["vault_mismatch", "not_found"]);

    let stranger = fixture.vault("stranger").await;
    let agent = fixture.agent(&stranger, "runner").await;
    let wanted = serde_json::json!({ "vaults": ["v"] });
    let minted = agent.post("/v1/tenants/-/sessions", wanted).await;
    let minted = minted.expect(201)["token"].as_str().unwrap().to_owned();
    let found = refused_with(&fixture, &mut gateway, &minted).await;
    assert_eq!(found, ["vault_mismatch", "permission_denied"]);

    // Even a signed token cannot name another tenant's vault: the rows decide.
    let mut claims = fixture.claims();
    claims.tenant = TenantId::generate();
    let token = fixture.sign(&claims).await;
    let found = refused_with(&fixture, &mut gateway, &token).await;
    assert_eq!(found, ["session_revoked"; 2]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_or_disabled_gets_nothing() {
    for (path, body, expected) in [
        ("sessions/SESSION:revoke", None, "session_revoked"),
        ("agents/runner:revoke", None, "session_revoked"),
        ("vaults/v:revoke", None, "session_revoked"),
        ("vaults/v", Some(false), "vault_disabled"),
        ("", Some(false), "tenant_disabled"),
    ] {
        let fixture = Fixture::start().await;
        let mut gateway = fixture.enrol("gw1").await;
        let path = path.replace("SESSION", &fixture.session.to_string());
        let body = body.map(|enabled| serde_json::json!({ "enabled": enabled }));
        let answer = match (path.as_str(), body) {
            ("", Some(body)) => fixture.operator().patch("/v1/tenants/acme", body).await,
            (path, Some(body)) => {
                let path = format!("/v1/tenants/-/{path}");
                fixture.owner.patch(&path, body).await
            }
            (path, None) => fixture.owner.call(&format!("/v1/tenants/-/{path}")).await,
        };
        answer.expect(200);
        let found = refused_with(&fixture, &mut gateway, &fixture.token).await;
        assert_eq!(found, [expected; 2], "{path}");
        fixture.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_shut_out_gets_nothing_and_loses_its_stream() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = gateway.welcomed().await;
    fixture.alter("UPDATE gateways SET locked_at = now()").await;
    // Before the stream has noticed, or after: the answer is a refusal or the stream's end, never the vault.
    stream.subscribe(fixture.vault, &fixture.token, None).await;
    assert_eq!(stream.status_after_refusals().await, Code::PermissionDenied);
    assert_eq!(fixture.count("vault_releases").await, 0);
    let signed = gateway.sign_intermediate(fixture.tenant, &fixture.token);
    assert_eq!(code(signed.await), "permission_denied");
    assert_eq!(code(gateway.renew().await), "permission_denied");
    assert_eq!(code(gateway.ship(0, 0, vec![]).await), "permission_denied");
    let followed = gateway.try_follow(None, &[]).await;
    assert_eq!(code(followed.map(drop)), "permission_denied");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_works_once_until_it_ends_and_survives_a_malformed_request() {
    let fixture = Fixture::start().await;
    let join = fixture.join("gw1").await;
    let joining = Gateway::joining(fixture.feed(), &join);
    assert_eq!(code(joining.enrol_malformed().await), "invalid_argument");
    joining.enrol_again().await.unwrap();
    assert_eq!(code(joining.enrol_again().await), "unauthenticated");
    let late = fixture.join("gw2").await;
    let late = Gateway::joining(fixture.feed(), &late);
    fixture
        .alter("UPDATE join_tokens SET expires_at = now() WHERE used_at IS NULL")
        .await;
    assert_eq!(code(late.enrol_again().await), "unauthenticated");
    assert_eq!(fixture.count("gateways").await, 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_certificate_of_an_enrolled_gateway_is_a_caller() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    gateway.renew().await.unwrap();
    gateway.forge_certificate();
    assert!(gateway.ship(0, 0, vec![]).await.is_err());
    assert!(gateway.renew().await.is_err());
    gateway.forget_certificate();
    assert_eq!(code(gateway.ship(0, 0, vec![]).await), "unauthenticated");
    assert_eq!(code(gateway.renew().await), "unauthenticated");
    let signed = gateway.sign_intermediate(fixture.tenant, &fixture.token);
    assert_eq!(code(signed.await), "unauthenticated");
    let followed = gateway.try_follow(None, &[]).await;
    assert_eq!(code(followed.map(drop)), "unauthenticated");

    // A certificate that is right, of a gateway that is no longer known.
    let mut gone = fixture.enrol("gw2").await;
    let id = gone.id().uuid();
    fixture
        .alter(&format!("DELETE FROM gateways WHERE id = '{id}'"))
        .await;
    assert_eq!(code(gone.ship(0, 0, vec![]).await), "unauthenticated");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_is_bound_to_one_level_and_to_the_tenants_root() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let signed: v1::SignIntermediateResponse = gateway
        .sign_intermediate(fixture.tenant, &fixture.token)
        .await
        .unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&signed.certificate).unwrap();
    let limits = parsed.basic_constraints().unwrap().unwrap();
    assert!(limits.value.ca && limits.critical);
    assert_eq!(limits.value.path_len_constraint, Some(0));
    let (_, root) = x509_parser::parse_x509_certificate(&signed.root).unwrap();
    parsed.verify_signature(Some(root.public_key())).unwrap();
    assert_eq!(fixture.acts("authority.sign").await, 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_of_the_database_refuses_no_vault() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = gateway.welcomed().await;
    fixture.database().close();
    stream.subscribe(fixture.vault, &fixture.token, None).await;
    assert_eq!(stream.status().await, Code::Unavailable);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_prolonging_leaves_the_release_that_another_token_proved() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = fixture.asks(&mut gateway).await;
    stream.tenant().await;
    let have = stream.vault().await.revision.unwrap().into();
    stream
        .subscribe(fixture.vault, "sortie_ses_nonsense", Some(have))
        .await;
    let refused = stream.refused().await;
    assert_eq!(refused.code, "token_malformed");
    assert!(refused.held);
    // The vault's changes still come.
    let service = sortie_proto::id::ServiceId::generate();
    let gone = sortie_proto::change::Tombstone::Service(fixture.vault, service);
    fixture.publish(Some(fixture.vault), gone).await;
    stream.change().await;
    // What is about the vault ends it.
    let path = "/v1/tenants/-/vaults/v";
    let off = serde_json::json!({ "enabled": false });
    fixture.owner.patch(path, off).await.expect(200);
    stream.change().await;
    stream
        .subscribe(fixture.vault, &fixture.token, Some(have))
        .await;
    let refused = stream.refused().await;
    assert_eq!(refused.code, "vault_disabled");
    assert!(!refused.held);
    fixture.stop().await;
}
