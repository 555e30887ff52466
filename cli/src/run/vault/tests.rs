use super::*;

#[test]
fn a_page_of_the_gateway_says_what_control_would() {
    let page = json!({"session": {"id": "ses_01"}, "vaults": [
        {
            "name": "one",
            "credentials": [{"name": "KEY", "placeholder": "__ONE__"}],
            "services": [
                {"name": "api", "scheme": "https", "host": "api.example.com", "port": 8443},
                {"name": "plain", "scheme": "http", "host": "*.example.org", "port": 80},
                {"name": "newer", "scheme": "quic", "host": "api.example.net", "port": 443},
            ],
        },
        {"name": "two", "credentials": [
            {"name": "KEY", "placeholder": "__TWO__"},
            {"name": "OTHER", "placeholder": "__OTHER__"},
        ]},
    ]});
    let vaults = Vaults::of_page(&page);
    let credentials: Vec<_> = vaults
        .credentials
        .iter()
        .map(|one| one.placeholder.as_str())
        .collect();
    assert_eq!(
        credentials,
        ["__ONE__", "__OTHER__"],
        "the first vault's is meant"
    );
    let services: Vec<_> = vaults
        .services
        .iter()
        .map(|one| (one.name.as_str(), one.port))
        .collect();
    assert_eq!(services, [("api", Some(8443)), ("plain", Some(80))]);
    assert_eq!(vaults.services.first().unwrap().scheme, Scheme::Https);
    assert_eq!(vaults.hosts().len(), 2);
    assert_eq!(vaults.ports().collect::<Vec<_>>(), [8443, 80]);
    assert!(Vaults::of_page(&json!("odd")).credentials.is_empty());
}

#[test]
fn what_is_no_name_or_no_placeholder_becomes_no_variable() {
    let one = |name: &str, placeholder: &str| {
        credential(&json!({"name": name, "placeholder": placeholder}))
    };
    for (name, placeholder) in [("KEY", "__KEY__"), ("_k9", "ghp_0aZ.~-"), ("K", "abcd")] {
        assert!(one(name, placeholder).is_some(), "{name} {placeholder}");
    }
    let long = "x".repeat(129);
    for (name, placeholder) in [
        ("", "__KEY__"),
        ("9KEY", "__KEY__"),
        ("A=B", "__KEY__"),
        ("A\nB", "__KEY__"),
        ("A-B", "__KEY__"),
        (long.as_str(), "__KEY__"),
        ("KEY", ""),
        ("KEY", "abc"),
        ("KEY", "line\nbreak"),
        ("KEY", "$(touch x)"),
        ("KEY", "quo\"te"),
        ("KEY", long.as_str()),
    ] {
        assert_eq!(one(name, placeholder), None, "{name:?} {placeholder:?}");
    }
    let page = json!({"vaults": [{"credentials": [{"name": "A B", "placeholder": "__A__"}]}]});
    assert!(Vaults::of_page(&page).credentials.is_empty());
}
