use super::*;
use crate::fixture::{self, service, tenant};

fn vault(mode: VaultMode, services: Vec<Service>) -> Arc<VaultState> {
    let mut vault = fixture::vault(&tenant(), services);
    vault.vault.mode = mode;
    Arc::new(vault)
}

fn check(vaults: &[Arc<VaultState>], request: &str, expect: std::result::Result<&str, Code>) {
    let (target, path) = fixture::target(request);
    let found = find(vaults, &target, "GET", &path)
        .map(|found| {
            found
                .service
                .map_or_else(String::new, |service| service.name.clone())
        })
        .map_err(|error| error.code());
    assert_eq!(found, expect.map(str::to_owned), "{request}");
}

#[test]
fn a_name_leads_to_the_one_host_of_its_service() {
    let mut wide = service("wide", "https://a.test/**");
    wide.host = HostPattern::parse("*.b.test").unwrap();
    let mut untouched = service("untouched", "https://c.test/**");
    untouched.intercept = Intercept::Never;
    let mut plain = service("plain", "http://d.test:8080/x/**");
    plain.port = Some(8080);
    let id = plain.id;
    let vault = vault(VaultMode::Observe, vec![wide, untouched, plain]);
    let found = named(&vault, "plain").unwrap();
    assert_eq!(found.service, id);
    assert_eq!(found.target, fixture::target("http://d.test:8080/").0);
    for (name, code) in [
        ("wide", Code::BaseUrlUnsupported),
        ("untouched", Code::BaseUrlUnsupported),
        ("none", Code::ServiceUnknown),
    ] {
        assert_eq!(named(&vault, name).unwrap_err().code(), code, "{name}");
    }
}

#[test]
fn a_request_is_matched_or_refused_with_the_reason() {
    let disabled = Service {
        enabled: false,
        ..service("off", "https://a.test/off/**")
    };
    let slashes = Service {
        encoded_slash: true,
        limits: sortie_proto::limits::Limits::default(),
        ..service("npm", "https://npm.test/**")
    };
    let posts = Service {
        methods: vec!["POST".to_owned()],
        ..service("posts", "https://p.test/**")
    };
    let services = vec![
        service("in", "https://a.test/in/**"),
        disabled,
        slashes,
        posts,
    ];
    for mode in [VaultMode::Deny, VaultMode::Observe] {
        let vaults = [vault(mode, services.clone())];
        check(&vaults, "https://a.test/in/x", Ok("in"));
        check(&vaults, "https://a.test/off/x", Err(Code::ServiceDisabled));
        check(&vaults, "https://a.test/out", Err(Code::RequestUnmatched));
        check(&vaults, "https://p.test/x", Err(Code::RequestUnmatched));
        check(&vaults, "https://a.test/in/../x", Err(Code::PathRefused));
        check(&vaults, "https://a.test/in/a%2Fb", Err(Code::PathRefused));
        check(&vaults, "https://npm.test/@a%2Fb", Ok("npm"));
        check(&vaults, "http://a.test/in/x", Err(Code::CleartextRefused));
        let other = match mode {
            VaultMode::Deny => Err(Code::HostUnmatched),
            VaultMode::Observe => Ok(""),
        };
        check(&vaults, "https://other.test/", other);
        check(&vaults, "https://other.test/a/../%252e\\", other);
        check(&vaults, "http://other.test/", other);
    }
}

#[test]
fn no_spelling_of_a_path_steps_around_a_service() {
    let off = |name, url| Service {
        enabled: false,
        ..service(name, url)
    };
    let all = || service("all", "https://a.test/**");
    let admin = || off("admin", "https://a.test/admin/**");
    let one = [vault(VaultMode::Deny, vec![all(), admin()])];
    // The more specific one may be in another vault too: the order of vaults is the same for all readings.
    let two = [
        vault(VaultMode::Deny, vec![admin()]),
        vault(VaultMode::Deny, vec![all()]),
    ];
    for vaults in [&one[..], &two[..]] {
        for path in [
            "//admin/x",
            "/admin;a/x",
            "/;/admin/x",
            "//admin%3Ba=1//x",
            "/admin;",
        ] {
            let request = format!("https://a.test{path}");
            check(vaults, &request, Err(Code::PathRefused));
        }
        check(
            vaults,
            "https://a.test/admin//x",
            Err(Code::ServiceDisabled),
        );
        check(vaults, "https://a.test/x//y;a/", Ok("all"));
    }
    let only = [vault(
        VaultMode::Deny,
        vec![service("in", "https://a.test/in/**")],
    )];
    check(&only, "https://a.test/in//x", Ok("in"));
    check(&only, "https://a.test//in/x", Err(Code::RequestUnmatched));
    check(&only, "https://a.test/in/;a", Ok("in"));
}

#[test]
fn the_first_vault_that_covers_the_request_decides() {
    let vaults = [
        vault(
            VaultMode::Observe,
            vec![service("first", "https://a.test/x/**")],
        ),
        vault(
            VaultMode::Deny,
            vec![service("second", "https://a.test/**")],
        ),
    ];
    check(&vaults, "https://a.test/x/1", Ok("first"));
    check(&vaults, "https://a.test/y", Ok("second"));
    check(&vaults, "https://b.test/y", Ok(""));
    check(&[], "https://a.test/", Err(Code::HostUnmatched));
}

#[test]
fn what_no_vault_covers_passes_only_if_the_first_observes() {
    use VaultMode::{Deny, Observe};
    for (modes, passes) in [
        (&[Observe][..], true),
        (&[Deny], false),
        (&[Observe, Deny], true),
        (&[Deny, Observe], false),
        (&[], false),
    ] {
        let vaults: Vec<_> = modes
            .iter()
            .map(|mode| vault(*mode, vec![service("in", "http://a.test:81/x")]))
            .collect();
        let expect = if passes {
            Ok("")
        } else {
            Err(Code::HostUnmatched)
        };
        check(&vaults, "https://b.test/", expect);
        let may = |url| may_match(&vaults, &fixture::target(url).0);
        assert_eq!(may("https://b.test/"), passes, "{modes:?}");
        assert_eq!(may("https://a.test:81/"), !modes.is_empty(), "{modes:?}");
        assert_eq!(may("https://a.test/"), passes, "{modes:?}");
    }
}

#[test]
fn a_tunnel_passes_untouched_only_if_nothing_wants_it_opened() {
    let never = |name| Service {
        intercept: Intercept::Never,
        ..service(name, "https://a.test/**")
    };
    let check = |services: Vec<Service>, expect: Option<&str>| {
        let vaults = [vault(VaultMode::Deny, services)];
        let (target, _) = fixture::target("https://a.test/");
        let found = passes_untouched(&vaults, &target).and_then(|found| found.service);
        assert_eq!(found.map(|service| service.name.clone()).as_deref(), expect);
    };
    check(vec![], None);
    check(vec![never("never")], Some("never"));
    check(
        vec![Service {
            enabled: false,
            ..never("off")
        }],
        None,
    );
    check(
        vec![never("never"), service("in", "https://a.test/x")],
        None,
    );
    let off = Service {
        enabled: false,
        ..service("off", "https://a.test/x")
    };
    check(vec![never("never"), off], None);
}

#[test]
fn a_host_of_which_a_service_was_not_understood_is_refused_unless_a_vault_before_decides() {
    let first = vault(
        VaultMode::Observe,
        vec![service("in", "https://a.test/in/**")],
    );
    let mut poisoned = fixture::vault(
        &tenant(),
        vec![
            service("a", "https://a.test/**"),
            service("c", "https://c.test/**"),
        ],
    );
    poisoned.vault.mode = VaultMode::Observe;
    poisoned.refused_hosts = vec![HostPattern::parse("a.test").unwrap()];
    let poisoned = Arc::new(poisoned);
    let unread = Err(Code::VaultUnavailable);
    let alone = [Arc::clone(&poisoned)];
    check(&alone, "https://a.test/x", unread);
    check(&alone, "https://c.test/x", Ok("c"));
    check(&alone, "https://elsewhere.test/x", Ok(""));
    let behind = [Arc::clone(&first), Arc::clone(&poisoned)];
    check(&behind, "https://a.test/in/x", Ok("in"));
    check(&behind, "https://a.test/x", unread);
    let before = [poisoned, first];
    check(&before, "https://a.test/in/x", unread);
}
