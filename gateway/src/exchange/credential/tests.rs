use super::*;
use crate::fixture;
use crate::snapshot::VaultState;

fn credentials() -> Credentials {
    Credentials::new(&Config {
        open_max: 8,
        idle: Duration::from_secs(60),
    })
}

#[test]
fn a_credential_opens_in_its_vault_only() {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    fixture::credential(
        &mut vault,
        "KEY",
        "a-long-value",
        fixture::destination("a.test"),
    );
    let credential = Arc::clone(&vault.credentials["KEY"]);
    let tenant = Arc::new(tenant);
    let permit = |vault| Permit::for_test(Arc::clone(&tenant), Arc::new(vault), None);

    let right = permit(vault);
    let cache = credentials();
    let opened = cache.open(&right, &credential).unwrap();
    assert!(opened.opened.value.same_as(b"a-long-value"));
    assert!(Arc::ptr_eq(
        &opened,
        &cache.open(&right, &credential).unwrap()
    ));
    let paired = cache.open_pair(&right, &credential, "user").unwrap();
    assert!(!Arc::ptr_eq(&opened, &paired));
    assert!(!format!("{opened:?} {cache:?}").contains("a-long"));

    let wrong = permit(fixture::vault(&tenant, vec![]));
    let code = cache.open(&wrong, &credential).unwrap_err().code();
    assert_eq!(code, Code::CredentialUnusable);
}

#[test]
fn a_credential_that_was_moved_or_whose_key_is_gone_does_not_open() {
    let tenant = fixture::tenant();
    let check = |alter: &dyn Fn(&mut VaultState, &mut Credential)| {
        let mut vault = fixture::vault(&tenant, vec![]);
        fixture::credential(
            &mut vault,
            "KEY",
            "a-long-value",
            fixture::destination("a.test"),
        );
        let mut credential = (*vault.credentials["KEY"]).clone();
        alter(&mut vault, &mut credential);
        let permit = Permit::for_test(Arc::new(tenant.clone()), Arc::new(vault), None);
        let refused = credentials().open(&permit, &Arc::new(credential)).err();
        assert_eq!(
            refused.map(|error| error.code()),
            Some(Code::CredentialUnusable)
        );
    };
    check(&|vault, _| vault.data_keys.clear());
    check(&|_, credential| credential.id = CredentialId::generate());
    check(&|_, credential| credential.version = 2);
}

#[test]
fn a_revoked_credential_does_not_open_though_the_cache_still_has_it() {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    let destination = fixture::destination("a.test");
    fixture::credential(&mut vault, "KEY", "a-long-value", destination);
    let credential = Arc::clone(&vault.credentials["KEY"]);
    let permit = Permit::for_test(Arc::new(tenant), Arc::new(vault), None);
    let cache = credentials();
    let opened = cache.open(&permit, &credential).unwrap();
    assert_eq!(opened.key.version(), (credential.id, 1));
    let revoked = Arc::new(Credential {
        sealed: None,
        ..(*credential).clone()
    });
    for refused in [
        cache.open(&permit, &revoked),
        cache.open_pair(&permit, &revoked, "user"),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::CredentialRevoked);
    }
}

#[test]
fn what_finds_several_credentials_is_made_once_and_bounded() {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    let names = ["A", "B", "C"];
    for name in names {
        let value = format!("a-long-value-{name}");
        fixture::credential(&mut vault, name, &value, fixture::destination("a.test"));
    }
    let permit = Permit::for_test(Arc::new(tenant), Arc::new(vault), None);
    let cache = Credentials::new(&Config {
        open_max: 3,
        idle: Duration::from_secs(60),
    });
    let [a, b, c] = names.map(|name| {
        let credential = &permit.vault().credentials[name];
        cache.open(&permit, credential).unwrap()
    });
    let finder = |used: &[&Arc<Opened>]| {
        let used: Vec<_> = used.iter().copied().map(Arc::clone).collect();
        cache.finder(&used)
    };
    assert!(finder(&[]).is_none());
    assert!(Arc::ptr_eq(
        &finder(&[&a]).unwrap(),
        &finder(&[&a]).unwrap()
    ));
    let both = finder(&[&a, &b]).unwrap();
    assert!(Arc::ptr_eq(&both, &finder(&[&b, &a]).unwrap()));
    assert!(!Arc::ptr_eq(&both, &finder(&[&a, &c]).unwrap()));
    // Two pairs are four credentials, and there is room for three.
    cache.expire();
    assert_eq!(cache.finders.entry_count(), 1);
    let masked = Redactor::new(both).body(bytes::Bytes::from_static(b"a-long-value-A."), true);
    assert_eq!(masked, "**************.");
}
