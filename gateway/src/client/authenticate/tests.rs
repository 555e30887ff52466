use std::collections::BTreeMap;

use sortie_proto::id::{AgentId, SessionId, TenantId};
use sortie_proto::token::{SigningKey, VaultClaim, VerifyingKey, VerifyingKeys};

use super::*;

fn basic(pair: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(pair)).into_bytes()
}

fn read(value: &[u8]) -> Option<(String, String)> {
    Presented::read(value).map(|found| (found.token.to_string(), found.hint))
}

fn claims() -> Claims {
    Claims {
        epoch: 1,
        tenant: TenantId::generate(),
        tenant_generation: 0,
        session: SessionId::generate(),
        agent: AgentId::generate(),
        agent_generation: 0,
        vaults: vec![
            VaultClaim {
                id: VaultId::generate(),
                name: "build".to_owned(),
                generation: 0,
            },
            VaultClaim {
                id: VaultId::generate(),
                name: "deploy".to_owned(),
                generation: 0,
            },
        ],
        user: None,
        labels: BTreeMap::new(),
        parent: None,
        ancestors: Vec::new(),
        subjects_generation: 0,
        scope: Vec::new(),
        source: None,
        iat: 0,
        exp: i64::MAX,
    }
}

#[test]
fn a_token_is_found_where_an_api_s_key_would_stand() {
    let key = |value: &[u8]| Presented::read_key(value).map(|found| found.token.to_string());
    let found = Some("sortie_ses_abc".to_owned());
    assert_eq!(key(b"sortie_ses_abc"), found);
    assert_eq!(key(b"Bearer sortie_ses_abc"), found);
    assert_eq!(key(&basic("sortie_ses_abc:whatever")), found);
    assert_eq!(key(&basic("whoever:sortie_ses_abc")), found);
    for other in [&b"sk-abc"[..], b"Bearer sk-abc", b"", b"\xff"] {
        assert_eq!(key(other), None, "{other:?}");
    }
}

#[test]
fn every_form_of_credentials_is_read() {
    let token = "sortie_ses_abc";
    let found = |hint: &str| Some((token.to_owned(), hint.to_owned()));
    assert_eq!(read(&basic("sortie_ses_abc:")), found(""));
    assert_eq!(read(&basic("sortie_ses_abc:build")), found("build"));
    assert_eq!(read(&basic("x:sortie_ses_abc")), found(""));
    assert_eq!(read(&basic(":sortie_ses_abc")), found(""));
    assert_eq!(read(b"Bearer sortie_ses_abc"), found(""));
    assert_eq!(read(b"bearer  sortie_ses_abc"), found(""));
    let unpadded = format!("Basic {}", STANDARD_NO_PAD.encode("sortie_ses_abc:b"));
    assert_eq!(read(unpadded.as_bytes()), found("b"));
}

#[test]
fn what_is_no_session_token_is_refused() {
    for value in [
        &b"Basic"[..],
        b"Basic !!!",
        b"Digest sortie_ses_abc",
        b"Bearer sortie_agt_abc",
        b"Bearer ",
        b"\xff\xfe",
        &basic("sortie_ses_abc"),
        &basic("user:password"),
        &basic(&format!("sortie_ses_{}:", "a".repeat(token::TOKEN_MAX))),
    ] {
        assert_eq!(read(value), None, "{value:?}");
    }
}

#[test]
fn a_hint_narrows_and_never_retargets() {
    let claims = claims();
    let of = |hint: &str| {
        Presented::of("sortie_ses_abc", hint)
            .unwrap()
            .hint_in(&claims)
    };
    assert_eq!(of("").unwrap(), None);
    assert_eq!(of("deploy").unwrap(), Some(claims.vaults[1].id));
    assert_eq!(
        of(&claims.vaults[0].id.to_string()).unwrap(),
        Some(claims.vaults[0].id)
    );
    let stranger = VaultId::generate().to_string();
    for wrong in ["other", "Build", stranger.as_str()] {
        assert_eq!(of(wrong).unwrap_err().code(), Code::VaultMismatch);
    }
    let presented = |hint: &str, source: [u8; 4], claims: &Claims| {
        let verified = Caller::for_test(claims.clone()).verified;
        Presented::of("sortie_ses_abc", hint)
            .unwrap()
            .caller(verified, source.into())
    };
    let home = [10, 0, 0, 1];
    assert_eq!(presented("deploy", home, &claims).wrong(), None);
    let wrong = presented("other", home, &claims);
    assert_eq!(wrong.wrong(), Some(Code::VaultMismatch));
    let mut bound = claims.clone();
    bound.source = Some("10.0.0.0/8".parse().unwrap());
    assert_eq!(presented("", home, &bound).wrong(), None);
    for hint in ["", "other"] {
        let away = presented(hint, [192, 0, 2, 1], &bound);
        assert_eq!(away.wrong(), Some(Code::SourceRefused));
    }
    let mut caller = Caller::for_test(claims.clone());
    assert_eq!(caller.vaults().count(), 2);
    caller.hint = Some(claims.vaults[1].id);
    assert_eq!(caller.vaults().collect::<Vec<_>>(), [claims.vaults[1].id]);
}

#[test]
fn what_a_renewed_session_has_open_goes_on_and_its_old_token_opens_nothing() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let signer = SigningKey::from_pkcs8("k".to_owned(), &Secret::new(pair.serialize_der()));
    let state = State::new();
    state.set_epoch(1);
    state.set_keys(VerifyingKeys::new([VerifyingKey {
        kid: "k".to_owned(),
        public: pair.public_key_raw().try_into().unwrap(),
        not_after: i64::MAX,
    }]));
    let config = Config {
        tokens_max: 8,
        sources_max: 8,
        failures_per_minute: 8,
    };
    let authenticator = Authenticator::new(&config, state.clone());
    // The cache forgets what has ended by the real clock.
    let start = crate::clock::seconds();
    let mut claims = claims();
    let mut show = |session: SessionId, end: i64, now: i64| {
        (claims.session, claims.exp) = (session, start + end);
        let token = signer.mint(&claims).unwrap();
        let value = [b"Bearer ".as_slice(), token.expose()].concat();
        authenticator.authenticate(
            std::iter::once(value.as_slice()),
            [127, 0, 0, 1].into(),
            start + now,
        )
    };
    let session = SessionId::generate();
    let opened = show(session, 100, 0).unwrap();
    let stranger = show(SessionId::generate(), 400, 0).unwrap();
    assert!(opened.check(&state, start + 99).is_ok());
    assert!(opened.check(&state, start + 100).is_err());

    let renewed = show(session, 200, 50).unwrap();
    assert_eq!((opened.end(), renewed.end()), (start + 200, start + 200));
    assert!(opened.check(&state, start + 199).is_ok());
    assert!(opened.check(&state, start + 200).is_err());
    assert_eq!(opened.latest().claims, *renewed.claims());
    assert_eq!(stranger.end(), start + 400);

    let late = show(session, 100, 150).map(|_caller| ()).unwrap_err();
    assert_eq!(late.code(), Code::TokenExpired);
    // The earlier one, shown again, shortens nothing.
    assert!(show(session, 100, 60).is_ok());
    assert_eq!(opened.end(), start + 200);
}
