//! What a gateway must show, call by call, over mutual TLS.

use sortie_proto::id::{TenantId, VaultId};

use crate::support::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_vault_is_released_without_a_token_for_it() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = gateway.follow(None, &[]).await;
    stream.welcome().await;
    stream
        .subscribe(fixture.vault, "sortie_ses_nonsense", None)
        .await;
    assert_eq!(stream.refused().await.code, "token_malformed");
    let other = fixture.mint(VaultId::generate()).await;
    stream.subscribe(fixture.vault, &other, None).await;
    assert_eq!(stream.refused().await.code, "vault_mismatch");
    let token = fixture.mint(fixture.vault).await;
    fixture
        .alter("UPDATE sessions SET revoked_at = now()")
        .await;
    stream.subscribe(fixture.vault, &token, None).await;
    assert_eq!(stream.refused().await.code, "session_revoked");
    assert_eq!(fixture.count("vault_releases").await, 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_needs_a_session_of_that_tenant() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let token = fixture.mint(fixture.vault).await;
    let signed = gateway
        .sign_intermediate(fixture.tenant, &token)
        .await
        .unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&signed.certificate).unwrap();
    let limits = parsed.basic_constraints().unwrap().unwrap();
    assert!(limits.value.ca && limits.critical);
    assert_eq!(limits.value.path_len_constraint, Some(0));
    let (_, root) = x509_parser::parse_x509_certificate(&signed.root).unwrap();
    parsed.verify_signature(Some(root.public_key())).unwrap();
    assert!(
        gateway
            .sign_intermediate(TenantId::generate(), &token)
            .await
            .is_err()
    );
    fixture
        .alter("UPDATE sessions SET revoked_at = now()")
        .await;
    assert!(
        gateway
            .sign_intermediate(fixture.tenant, &token)
            .await
            .is_err()
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_certificate_are_refused() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    gateway.forget_certificate().await;
    let refused = gateway.ship(0, 0, vec![]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    fixture.stop().await;
}
