use super::*;

#[test]
fn a_name_stays_one_segment() {
    let base = Url::parse("http://127.0.0.1:7300").unwrap();
    let check = |path: &[&str], verb, expect: &str| {
        assert_eq!(join(&base, path, verb).unwrap().as_str(), expect);
    };
    check(
        &["tenants", "-", "vaults"],
        "",
        "http://127.0.0.1:7300/v1/tenants/-/vaults",
    );
    check(
        &["tenants", "a/b?c"],
        "",
        "http://127.0.0.1:7300/v1/tenants/a%2Fb%3Fc",
    );
    check(
        &["tenants", "-", "sessions", "ses_1"],
        ":revoke",
        "http://127.0.0.1:7300/v1/tenants/-/sessions/ses_1:revoke",
    );
    check(
        &["gateways"],
        ":join",
        "http://127.0.0.1:7300/v1/gateways:join",
    );
}

#[test]
fn a_name_that_would_change_the_path_is_refused() {
    let base = Url::parse("http://127.0.0.1:7300").unwrap();
    for name in ["", ".", ".."] {
        assert!(matches!(
            join(&base, &["tenants", "-", "vaults", name], ""),
            Err(Error::Usage(_))
        ));
    }
}

#[test]
fn a_base_with_a_path_keeps_it() {
    let base = Url::parse("https://example.com/sortie/").unwrap();
    assert_eq!(
        join(&base, &["tenants"], "").unwrap().as_str(),
        "https://example.com/sortie/v1/tenants"
    );
}

#[test]
fn the_key_does_not_cross_a_network_in_the_clear() {
    for url in [
        "http://127.0.0.1:7300",
        "http://[::1]:1",
        "http://localhost",
        "https://x.example",
    ] {
        assert!(read_base(url, false).is_ok(), "{url}");
    }
    for url in ["http://control.internal", "ftp://127.0.0.1", "nonsense"] {
        assert!(
            matches!(read_base(url, false), Err(Error::Config(_))),
            "{url}"
        );
    }
    assert!(read_base("http://control.internal", true).is_ok());
}
