use proptest::prelude::*;

use super::*;

fn connect(authority: &str) -> Option<(String, u16)> {
    Target::of_connect(authority)
        .ok()
        .map(|target| (target.host.to_string(), target.port))
}

#[test]
fn authorities_of_connect_are_read_in_canonical_form() {
    let found = |host: &str, port| Some((host.to_owned(), port));
    assert_eq!(
        connect("API.Example.com:443"),
        found("api.example.com", 443)
    );
    assert_eq!(connect("example.com.:443"), found("example.com", 443));
    assert_eq!(connect("10.0.0.1:8443"), found("10.0.0.1", 8443));
    assert_eq!(connect("[::1]:443"), found("[::1]", 443));
    assert_eq!(
        Target::of_connect("a.test:80").unwrap().scheme,
        Scheme::Http
    );
    assert_eq!(
        Target::of_connect("a.test:444").unwrap().scheme,
        Scheme::Https
    );
}

#[test]
fn odd_authorities_are_refused() {
    for authority in [
        "example.com",
        "example.com:",
        ":443",
        "example.com:0",
        "example.com:65536",
        "example.com:+443",
        "example.com:443:443",
        "user@example.com:443",
        "https://example.com:443",
        "::1:443",
        "[::1:443",
        "[::1]443",
        "[example.com]:443",
        "[127.0.0.1]:443",
        "exa mple.com:443",
        "exa%6dple.com:443",
        "example.com/:443",
        "*.example.com:443",
    ] {
        assert_eq!(connect(authority), None, "{authority}");
    }
}

#[test]
fn absolute_form_is_split_where_the_path_starts() {
    let (target, path) = Target::of_absolute("HTTP://A.test:8080/x?y").unwrap();
    assert_eq!((target.authority().as_str(), path), ("a.test:8080", "/x?y"));
    assert_eq!(Target::of_absolute("http://a.test").unwrap().1, "/");
    for uri in [
        "https://a.test/",
        "/x",
        "a.test/x",
        "http://u@a.test/",
        "http:///x",
        "ftp://a/",
    ] {
        assert!(Target::of_absolute(uri).is_err(), "{uri}");
    }
}

#[test]
fn only_the_tunnel_s_own_authority_agrees() {
    let target = Target::of_connect("api.test:443").unwrap();
    for same in ["api.test", "API.test", "api.test:443", "api.test."] {
        assert!(target.agrees(same), "{same}");
    }
    for other in [
        "evil.test",
        "api.test:444",
        "api.test:80",
        "",
        "api.test@evil.test",
        "x.api.test",
    ] {
        assert!(!target.agrees(other), "{other}");
    }
    let odd = Target::of_connect("api.test:8443").unwrap();
    assert!(odd.agrees("api.test:8443") && !odd.agrees("api.test"));
    assert_eq!(odd.authority(), "api.test:8443");
}

#[test]
fn inside_a_tunnel_only_its_own_absolute_form_passes() {
    let target = Target::of_connect("api.test:443").unwrap();
    assert_eq!(target.path_in("/a?b").unwrap(), "/a?b");
    assert_eq!(target.path_in("https://api.test/a").unwrap(), "/a");
    let code = |text| target.path_in(text).unwrap_err().code();
    assert_eq!(code("https://evil.test/a"), Code::AuthorityMismatch);
    assert_eq!(code("http://api.test/a"), Code::RequestMalformed);
    assert_eq!(code("api.test:443"), Code::RequestMalformed);
    assert_eq!(code("*"), Code::RequestMalformed);
}

proptest! {
    #[test]
    fn what_is_read_agrees_with_itself(text in "\\PC{0,40}") {
        if let Ok(target) = Target::of_connect(&text) {
            prop_assert!(target.agrees(&target.authority()));
        }
    }
}
