use sortie_proto::id::{CredentialId, SessionId, TenantId, VaultId};

use super::*;

const fn at(n: u64) -> Revision {
    Revision { epoch: 1, n }
}

fn revocation(subject: Subject) -> v1::Revocation {
    v1::Revocation {
        tenant_id: TenantId::generate().to_bytes(),
        subject: Some(subject),
        generation: 1,
        expires_at: 0,
    }
}

fn change(object: Object) -> v1::Change {
    v1::Change {
        object: Some(object),
        ..v1::Change::default()
    }
}

fn dialect(capabilities: &[&str]) -> Dialect {
    Dialect::of(&v1::Hello {
        capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        ..v1::Hello::default()
    })
}

fn revoked_credential() -> v1::Credential {
    v1::Credential {
        id: CredentialId::generate().to_bytes(),
        vault_id: VaultId::generate().to_bytes(),
        ..v1::Credential::default()
    }
}

#[test]
fn a_gateway_that_understands_all_gets_all_as_it_is_and_its_word_counts() {
    let mut dialect = dialect(&capability::ALL);
    let subjects = [
        Subject::User("ada".to_owned()),
        Subject::ParentSessionId(SessionId::generate().to_bytes()),
        Subject::CredentialId(CredentialId::generate().to_bytes()),
    ];
    for subject in subjects {
        let sent = change(Object::Revocation(revocation(subject)));
        assert_eq!(dialect.change(at(5), &sent), Some(sent));
    }
    let sent = change(Object::Credential(revoked_credential()));
    assert_eq!(dialect.change(at(6), &sent), Some(sent));
    assert_eq!(dialect.counts(at(9)), at(9));
}

#[test]
fn an_older_gateway_is_told_that_a_revoked_credential_is_gone() {
    let mut dialect = dialect(&[]);
    let credential = revoked_credential();
    let told = dialect.change(at(5), &change(Object::Credential(credential.clone())));
    let expect = change(Object::Tombstone(gone(&credential)));
    assert_eq!(told, Some(expect));
    let mut snapshot = v1::VaultSnapshot {
        credentials: vec![credential],
        ..v1::VaultSnapshot::default()
    };
    dialect.vault(&mut snapshot);
    assert!(snapshot.credentials.is_empty());
    let id = CredentialId::generate().to_bytes();
    let entry = change(Object::Revocation(revocation(Subject::CredentialId(id))));
    assert_eq!(dialect.change(at(6), &entry), None);
}

#[test]
fn what_an_older_gateway_cannot_enforce_its_word_does_not_reach() {
    for subject in [
        Subject::User("ada".to_owned()),
        Subject::ParentSessionId(SessionId::generate().to_bytes()),
        Subject::CredentialId(CredentialId::generate().to_bytes()),
    ] {
        let mut dialect = dialect(&[]);
        let session = Subject::SessionId(SessionId::generate().to_bytes());
        let known = change(Object::Revocation(revocation(session)));
        assert_eq!(dialect.change(at(5), &known), Some(known));
        assert_eq!(dialect.counts(at(9)), at(9));
        let _told = dialect.change(at(7), &change(Object::Revocation(revocation(subject))));
        assert_eq!(dialect.counts(at(6)), at(6));
        assert_eq!(dialect.counts(at(9)), at(6));
    }
}

#[test]
fn a_user_that_was_revoked_has_an_older_gateway_refuse_the_tenant() {
    let mut dialect = dialect(&[]);
    let entry = revocation(Subject::User("ada".to_owned()));
    let mut state = v1::TenantState {
        revocations: vec![
            entry.clone(),
            revocation(Subject::CredentialId(CredentialId::generate().to_bytes())),
        ],
        ..v1::TenantState::default()
    };
    dialect.tenant(at(7), &mut state);
    // It cannot read this one, and so serves nothing of the tenant.
    assert_eq!(state.revocations, [entry]);
    // When the user was revoked the state does not say.
    assert_eq!(dialect.counts(at(9)), at(0));
}

#[test]
fn of_two_tenants_the_lower_bound_counts_whichever_is_told_first() {
    let user = || revocation(Subject::User("ada".to_owned()));
    let mut dialect = dialect(&[]);
    let _told = dialect.change(at(7), &change(Object::Revocation(user())));
    assert_eq!(dialect.counts(at(9)), at(6));
    let mut state = v1::TenantState {
        revocations: vec![user()],
        ..v1::TenantState::default()
    };
    dialect.tenant(at(8), &mut state);
    assert_eq!(dialect.counts(at(9)), at(0));
    let _told = dialect.change(at(9), &change(Object::Revocation(user())));
    assert_eq!(dialect.counts(at(9)), at(0));
}

#[test]
fn an_older_gateway_that_resumes_does_not_enforce_what_it_could_not_before() {
    let state = |subject| v1::TenantState {
        revocations: vec![revocation(subject)],
        ..v1::TenantState::default()
    };
    let harmless = state(Subject::SessionId(SessionId::generate().to_bytes()));
    let credential = state(Subject::CredentialId(CredentialId::generate().to_bytes()));
    assert!(!dialect(&capability::ALL).asks_when_resumed());
    let mut dialect = dialect(&[]);
    assert!(dialect.asks_when_resumed());
    dialect.resumed(at(7), Some(&harmless));
    assert_eq!(dialect.counts(at(9)), at(9));
    dialect.resumed(at(7), Some(&credential));
    assert_eq!(dialect.counts(at(9)), at(0));
}

#[test]
fn the_word_of_an_older_gateway_counts_for_nothing_where_a_tenant_cannot_be_read() {
    let mut dialect = dialect(&[]);
    dialect.resumed(at(7), None);
    assert_eq!(dialect.counts(at(9)), at(0));
}
