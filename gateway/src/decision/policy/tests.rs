use sortie_proto::id::{ServiceId, TenantId, VaultId};
use sortie_proto::token::Claims;

use super::*;
use crate::fixture;

struct Case {
    tenant: Tenant,
    vault: VaultState,
    claims: Claims,
    service: Option<Service>,
    revoked: bool,
    lease: bool,
    now: i64,
    wrong: Option<Code>,
}

/// Alters a case in which everything is allowed.
fn check(alter: impl FnOnce(&mut Case), expect: std::result::Result<(), Code>) {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    let mut case = Case {
        claims: fixture::session(&mut vault),
        tenant,
        vault,
        service: Some(fixture::service("api", "https://a.test/**")),
        revoked: false,
        lease: true,
        now: 1_000,
        wrong: None,
    };
    alter(&mut case);
    let mut caller = Caller::for_test(case.claims);
    if let Some(code) = case.wrong {
        caller = caller.with_wrong(code);
    }
    let found = Match {
        vault: Arc::new(case.vault),
        service: case.service.map(Arc::new),
    };
    let known = Known {
        revoked: case.revoked,
        lease: case.lease,
        tenant: Some(&case.tenant),
        now: case.now,
    };
    assert_eq!(judge(&caller, &found, &known), expect);
}

#[test]
fn each_condition_refuses_alone() {
    check(|_| {}, Ok(()));
    check(|case| case.service = None, Ok(()));
    check(|case| case.now = 1_999, Ok(()));
    check(|case| case.now = 2_000, Err(Code::RoleMissing));
    check(|case| case.vault.grants.clear(), Err(Code::RoleMissing));
    check(|case| case.claims.exp = 1_000, Err(Code::TokenExpired));
    check(|case| case.revoked = true, Err(Code::SessionRevoked));
    check(
        |case| case.tenant.enabled = false,
        Err(Code::TenantDisabled),
    );
    check(
        |case| case.vault.vault.enabled = false,
        Err(Code::VaultDisabled),
    );
    check(|case| case.lease = false, Err(Code::StaleLease));
    for code in [Code::SourceRefused, Code::VaultMismatch] {
        check(|case| case.wrong = Some(code), Err(code));
    }
}

#[test]
fn nothing_crosses_a_tenant_or_a_vault() {
    check(
        |case| case.claims.tenant = TenantId::generate(),
        Err(Code::VaultMismatch),
    );
    check(
        |case| case.vault.vault.tenant = TenantId::generate(),
        Err(Code::VaultMismatch),
    );
    check(
        |case| case.vault.vault.id = VaultId::generate(),
        Err(Code::VaultMismatch),
    );
}

#[test]
fn a_narrowed_session_reaches_its_services_only() {
    let own = |case: &mut Case| case.claims.scope = vec![case.service.as_ref().unwrap().id];
    check(own, Ok(()));
    check(
        |case| case.claims.scope = vec![ServiceId::generate()],
        Err(Code::ScopeExcluded),
    );
    let none = |case: &mut Case| {
        own(case);
        case.service = None;
    };
    check(none, Err(Code::ScopeExcluded));
}

#[test]
fn a_revoked_caller_learns_nothing_else() {
    let all = |case: &mut Case| {
        case.revoked = true;
        case.vault.vault.enabled = false;
        case.lease = false;
    };
    check(all, Err(Code::SessionRevoked));
}
