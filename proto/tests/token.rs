//! Session tokens with real keys: what is accepted, and everything that is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519};
use sortie_proto::id::{AgentId, SessionId, TenantId, VaultId};
use sortie_proto::secret::Secret;
use sortie_proto::token::{
    Claims, NotMinted, PREFIX, RefusedToken, SigningKey, TOKEN_MAX, VAULTS_MAX, VaultClaim,
    VerifyingKey, VerifyingKeys,
};

const NOW: i64 = 1_800_000_000;

fn keys(kid: &str) -> (SigningKey, VerifyingKey) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = pair.public_key_raw().try_into().unwrap();
    let signing = SigningKey::from_pkcs8(kid.to_owned(), &Secret::new(pair.serialize_der()));
    (
        signing,
        VerifyingKey {
            kid: kid.to_owned(),
            public,
            not_after: NOW + 7200,
        },
    )
}

fn claims() -> Claims {
    Claims {
        epoch: 3,
        tenant: TenantId::generate(),
        tenant_generation: 1,
        session: SessionId::generate(),
        agent: AgentId::generate(),
        agent_generation: 2,
        vaults: vec![vault()],
        user: Some("ada@example.com".to_owned()),
        labels: [("run".to_owned(), "42".to_owned())].into(),
        parent: Some(SessionId::generate()),
        ancestors: vec![SessionId::generate()],
        subjects_generation: 5,
        scope: Vec::new(),
        source: Some("10.0.0.0/8".parse().unwrap()),
        iat: NOW,
        exp: NOW + 3600,
    }
}

fn vault() -> VaultClaim {
    VaultClaim {
        id: VaultId::generate(),
        name: "default".to_owned(),
        generation: 4,
    }
}

fn mint(key: &SigningKey, claims: &Claims) -> String {
    String::from_utf8(key.mint(claims).unwrap().expose().to_vec()).unwrap()
}

fn refused(keys: &VerifyingKeys, text: &str) -> RefusedToken {
    keys.verify(text, NOW).unwrap_err()
}

/// A token of these three parts.
fn assemble(header: &str, payload: &str, signature: &[u8]) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!(
        "{PREFIX}{header}.{payload}.{}",
        URL_SAFE_NO_PAD.encode(signature)
    )
}

#[test]
fn a_minted_token_verifies_to_its_claims() {
    let (signing, verifying) = keys("k1");
    let (_, other) = keys("k0");
    let claims = claims();
    let token = mint(&signing, &claims);
    assert!(token.starts_with(PREFIX));
    assert_eq!(
        VerifyingKeys::new([other, verifying]).verify(&token, NOW),
        Ok(claims)
    );
}

#[test]
fn a_token_ends_with_its_last_second() {
    let (signing, verifying) = keys("k1");
    let token = mint(&signing, &claims());
    let keys = VerifyingKeys::new([verifying]);
    assert!(keys.verify(&token, NOW + 3599).is_ok());
    assert_eq!(keys.verify(&token, NOW + 3600), Err(RefusedToken::Expired));
}

#[test]
fn no_byte_of_a_token_can_be_altered() {
    let (signing, verifying) = keys("k1");
    let token = mint(&signing, &claims());
    let keys = VerifyingKeys::new([verifying]);
    for at in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(keys.verify(&altered, NOW).is_err(), "byte {at}");
    }
}

#[test]
fn a_token_of_another_key_is_refused_whatever_its_name() {
    let (_, verifying) = keys("k1");
    let (stranger, _) = keys("k1");
    let (unknown, _) = keys("k9");
    let keys = VerifyingKeys::new([verifying]);
    assert_eq!(
        refused(&keys, &mint(&stranger, &claims())),
        RefusedToken::Signature
    );
    assert_eq!(
        refused(&keys, &mint(&unknown, &claims())),
        RefusedToken::Signature
    );
    let none = VerifyingKeys::default();
    assert_eq!(
        refused(&none, &mint(&stranger, &claims())),
        RefusedToken::Signature
    );
}

#[test]
fn the_algorithm_is_never_the_tokens_choice() {
    let (_, verifying) = keys("k1");
    let payload = serde_json::to_string(&claims()).unwrap();
    let public = verifying.public;
    let keys = VerifyingKeys::new([verifying]);
    for alg in ["none", "None", "", "EdDSA2"] {
        let token = assemble(&format!(r#"{{"alg":"{alg}","kid":"k1"}}"#), &payload, b"");
        assert_eq!(refused(&keys, &token), RefusedToken::Malformed, "{alg}");
    }
    // The public key as a shared secret: the classic confusion.
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let secret = jsonwebtoken::EncodingKey::from_secret(&public);
    let jwt = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(
        refused(&keys, &format!("{PREFIX}{jwt}")),
        RefusedToken::Malformed
    );
    // The right algorithm without a signature, and without a key's name.
    let unsigned = assemble(r#"{"alg":"EdDSA","kid":"k1"}"#, &payload, b"");
    assert_eq!(refused(&keys, &unsigned), RefusedToken::Signature);
    let nameless = assemble(r#"{"alg":"EdDSA"}"#, &payload, &[0; 64]);
    assert_eq!(refused(&keys, &nameless), RefusedToken::Signature);
}

#[test]
fn what_is_no_token_is_malformed() {
    let (signing, verifying) = keys("k1");
    let keys = VerifyingKeys::new([verifying]);
    let token = mint(&signing, &claims());
    let bare = token.strip_prefix(PREFIX).unwrap();
    let long = format!("{token}{}", "A".repeat(TOKEN_MAX));
    for text in [
        "",
        PREFIX,
        "sortie_ses_a.b.c",
        bare,
        "sortie_agt_x",
        long.as_str(),
    ] {
        assert_eq!(refused(&keys, text), RefusedToken::Malformed, "{text}");
    }
}

#[test]
fn a_token_has_one_to_eight_vaults() {
    let (signing, verifying) = keys("k1");
    let keys = VerifyingKeys::new([verifying]);
    for (count, accepted) in [
        (0, false),
        (1, true),
        (VAULTS_MAX, true),
        (VAULTS_MAX + 1, false),
    ] {
        let vaults = std::iter::repeat_with(vault).take(count).collect();
        let token = mint(&signing, &Claims { vaults, ..claims() });
        assert_eq!(keys.verify(&token, NOW).is_ok(), accepted, "{count}");
    }
}

#[test]
fn claims_that_this_version_does_not_know_are_refused() {
    let (_, verifying) = keys("k1");
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = pair.public_key_raw().try_into().unwrap();
    let keys = VerifyingKeys::new([VerifyingKey {
        public,
        ..verifying
    }]);
    let mut payload = serde_json::to_value(claims()).unwrap();
    payload["restriction"] = true.into();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some("k1".to_owned());
    let key = jsonwebtoken::EncodingKey::from_ed_der(&pair.serialize_der());
    let jwt = jsonwebtoken::encode(&header, &payload, &key).unwrap();
    assert!(keys.verify(&format!("{PREFIX}{jwt}"), NOW).is_err());
}

#[test]
fn claims_that_do_not_fit_are_not_minted() {
    let (signing, _) = keys("k1");
    let labels = [("note".to_owned(), "x".repeat(TOKEN_MAX))].into();
    assert_eq!(
        signing.mint(&Claims { labels, ..claims() }).unwrap_err(),
        NotMinted::TooLong
    );
}

#[test]
fn neither_half_of_a_key_is_printed() {
    let (signing, verifying) = keys("k1");
    assert_eq!(format!("{signing:?}"), r#"SigningKey { kid: "k1", .. }"#);
    let printed = format!("{:?}", VerifyingKeys::new([verifying]));
    assert!(!printed.contains("DecodingKey {"), "{printed}");
}
