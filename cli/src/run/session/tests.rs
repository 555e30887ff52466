use sortie_proto::id::{AgentId, SessionId, TenantId, VaultId};
use sortie_proto::token::VaultClaim;

use super::*;

fn token(exp: i64) -> (Secret, Claims) {
    let claims = Claims {
        epoch: 1,
        tenant: TenantId::generate(),
        tenant_generation: 1,
        session: SessionId::generate(),
        agent: AgentId::generate(),
        agent_generation: 1,
        vaults: vec![VaultClaim {
            id: VaultId::generate(),
            name: "main".to_owned(),
            generation: 1,
        }],
        user: None,
        labels: std::collections::BTreeMap::new(),
        parent: None,
        ancestors: Vec::new(),
        subjects_generation: 0,
        scope: Vec::new(),
        source: None,
        iat: 0,
        exp,
    };
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap());
    let text = format!("{PREFIX}e30.{payload}.c2ln");
    (Secret::new(text.into_bytes()), claims)
}

#[test]
fn a_given_token_says_what_it_is_for() {
    let (token, claims) = token(4_102_444_800);
    let session = given(&token).unwrap();
    assert_eq!(session.id, claims.session.to_string());
    assert_eq!(session.vaults, [claims.vaults[0].id.to_string()]);
    assert_eq!(session.ends, "2100-01-01T00:00:00Z");
    assert!(!session.is_ours);
}

#[test]
fn what_is_no_token_or_has_ended_is_refused_without_being_shown() {
    let (ended, _) = token(1);
    let junk =
        ["", "sortie_ses_", "sortie_ses_a.b.c", "ghp_x"].map(|text| Secret::new(text.into()));
    for token in junk.iter().chain([&ended]) {
        let error = given(token).unwrap_err().to_string();
        assert!(!error.contains("sortie_ses_e30"), "{error}");
    }
}

#[test]
fn whoever_says_what_a_session_may_do_asks_for_one_of_their_own() {
    #[derive(Debug, clap::Parser)]
    struct Told {
        #[command(flatten)]
        terms: Terms,
    }
    let asks = |words: &[&str]| {
        let told: Told = clap::Parser::parse_from([&["run"], words].concat());
        told.terms.asks_for_another()
    };
    for word in [
        "--vault=v",
        "--agent=a",
        "--user=u",
        "--service=s",
        "--label=k=v",
    ] {
        assert!(asks(&[word]), "{word}");
    }
    assert!(!asks(&[]) && !asks(&["--ttl=8h"]));
}
