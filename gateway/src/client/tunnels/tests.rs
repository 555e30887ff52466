use sortie_proto::agent::{Revocation, RevokedSubject};

use super::*;

fn revoked(tenant: TenantId, credential: CredentialId, version: u32) -> State {
    let state = State::new();
    state.revoke([Revocation {
        tenant,
        subject: RevokedSubject::Credential(credential, version),
        expires_at: i64::MAX,
    }]);
    state
}

#[test]
fn a_connection_is_bound_to_each_credential_in_the_lowest_version_once() {
    let lease = Lease::default();
    let (one, other) = (CredentialId::generate(), CredentialId::generate());
    assert!(lease.uses((one, 2)), "the first use is news");
    assert!(!lease.uses((one, 2)) && !lease.uses((one, 3)));
    assert!(lease.uses((other, 5)));
    let tenant = TenantId::generate();
    for (credential, version, ended) in [
        (one, 1, false),
        (one, 2, true),
        (one, 9, true),
        (other, 4, false),
        (other, 5, true),
        (CredentialId::generate(), 9, false),
    ] {
        let state = revoked(tenant, credential, version);
        assert_eq!(lease.uses_ended(&state, tenant), ended);
        assert!(!lease.uses_ended(&state, TenantId::generate()));
    }
    // An earlier version may still be in what runs: it counts.
    assert!(lease.uses((one, 1)));
    assert!(lease.uses_ended(&revoked(tenant, one, 1), tenant));
}
