use sortie_proto::agent::{Revocation, RevokedSubject};

use super::*;
use crate::fixture;

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

#[test]
fn a_connection_ends_with_the_leases_of_the_vaults_that_it_is_bound_to() {
    let tenant = fixture::tenant();
    let vault = fixture::vault(&tenant, vec![]);
    let state = State::with_clock(|| 20_000);
    let lease = Lease::default();
    assert!(lease.holds(&state), "it is bound to nothing");
    let nonce = state.lease().beat();
    state.lease().echo(nonce);
    lease.bind(&vault.vault);
    lease.bind(&vault.vault);
    assert!(
        lease.holds(&state),
        "a vault that is not in memory is judged by what it said"
    );
    let id = vault.vault.id;
    let mut stale = fixture::vault(&tenant, vec![]);
    stale.vault.id = id;
    state.put_vault(Arc::new(vault));
    assert!(lease.holds(&state) && state.take_used(id));
    // It is served from its last good version, and that is too old.
    stale.frozen_at = Some(1);
    stale.vault.staleness = Duration::from_secs(10);
    state.put_vault(Arc::new(stale));
    assert!(!lease.holds(&state));
}
