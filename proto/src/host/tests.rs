use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

fn check_host(text: &str, expect: Option<&str>) {
    let parsed = Host::parse(text).ok().map(|host| host.to_string());
    assert_eq!(parsed.as_deref(), expect, "{text:?}");
}

#[test]
fn a_host_has_one_spelling() {
    check_host("api.github.com", Some("api.github.com"));
    check_host("API.GitHub.com.", Some("api.github.com"));
    check_host("bücher.example", Some("xn--bcher-kva.example"));
    check_host("XN--BCHER-KVA.example", Some("xn--bcher-kva.example"));
    check_host("example。com", Some("example.com"));
    check_host("my_bucket.s3.example", Some("my_bucket.s3.example"));
    check_host("r3---sn-x.example", Some("r3---sn-x.example"));
    check_host("localhost", Some("localhost"));
    check_host("127.0.0.1", Some("127.0.0.1"));
    check_host("[::1]", Some("[::1]"));
    check_host("::1", Some("[::1]"));
    check_host("[2001:DB8:0::1]", Some("[2001:db8::1]"));
    check_host("1.example", Some("1.example"));
    check_host("0xcafe.example", Some("0xcafe.example"));
}

#[test]
fn what_is_not_a_host_is_refused() {
    for text in [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a..",
        "a b",
        "a\0b",
        "a/b",
        "a:80",
        "a@b",
        "a%2eb",
        "*",
        "*.a",
        "-a.example",
        "a-.example",
        "a\\b",
        "xn--a.example",
        "[::1",
        "::1]",
        "[127.0.0.1]",
        "[fe80::1%eth0]",
        "fe80::1%25eth0",
        "[::1].",
        "[]",
        "a,b",
        "a\u{ad}\u{ad}..b",
    ] {
        check_host(text, None);
    }
    check_host(
        &format!("{}.example", "a".repeat(63)),
        Some(&format!("{}.example", "a".repeat(63))),
    );
    check_host(&format!("{}.example", "a".repeat(64)), None);
    check_host(&"a.".repeat(128), None);
    check_host(&"a".repeat(100_000), None);
}

#[test]
fn an_odd_spelling_of_an_address_is_neither_name_nor_address() {
    for text in [
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "1.2.3.4.5",
        "256.1.1.1",
        "0x",
        "a.0x",
        "a.0X1F",
        "example.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "1.2.3.",
    ] {
        check_host(text, None);
    }
}

fn check_readings(raw: &str, expect: &[&str]) {
    let path = CanonicalPath::parse(raw).unwrap();
    let readings: Vec<_> = path
        .readings()
        .iter()
        .map(|reading| format!("/{}", reading.segments_for_test().join("/")))
        .collect();
    assert_eq!(readings, expect, "{raw}");
}

#[test]
fn a_path_that_servers_read_in_several_ways_says_so() {
    for plain in ["/", "/a", "/a/", "/a/b.c/d", "/a%2Fb"] {
        check_readings(plain, &[]);
    }
    check_readings("//", &["/"]);
    check_readings("//admin/x", &["/admin/x"]);
    check_readings("/a//b///c//", &["/a/b/c/"]);
    check_readings("/admin;a/x", &["/admin/x"]);
    check_readings("/admin%3Ba=1;b/x;", &["/admin/x"]);
    check_readings("/;a/admin", &["/admin", "//admin"]);
    check_readings("//admin;a/x", &["/admin;a/x", "/admin/x", "//admin/x"]);
}

#[test]
fn what_is_allowed_is_allowed_however_it_is_read() {
    let check = |pattern: &str, raw: &str, expect: bool| {
        let pattern = PathPattern::parse(pattern).unwrap();
        let path = CanonicalPath::parse(raw).unwrap();
        assert_eq!(
            pattern.matches_all_readings(&path),
            expect,
            "{pattern} {raw}"
        );
    };
    check("/**", "//admin;a/x", true);
    check("/in/**", "/in//x;a", true);
    check("/in/**", "//in/x", false);
    check("/in;a/**", "/in;a/x", false);
    check("/*/x", "/in;a/x", true);
    check("/*/x", "/;a/x", false);
}

fn check_pattern(text: &str, expect: Result<&str, InvalidHostPattern>) {
    let parsed = HostPattern::parse(text).map(|pattern| pattern.to_string());
    assert_eq!(parsed, expect.map(str::to_owned), "{text:?}");
}

#[test]
fn a_wildcard_never_covers_a_public_suffix() {
    use InvalidHostPattern as Invalid;

    check_pattern("*.Example.com.", Ok("*.example.com"));
    check_pattern("*.demo.test", Ok("*.demo.test"));
    check_pattern("*.me.github.io", Ok("*.me.github.io"));
    check_pattern("*.com", Err(Invalid::PublicSuffix));
    check_pattern("*.co.uk", Err(Invalid::PublicSuffix));
    check_pattern("*.github.io", Err(Invalid::PublicSuffix));
    check_pattern("*.kawasaki.jp", Err(Invalid::PublicSuffix));
    check_pattern("*.test", Err(Invalid::PublicSuffix));
    check_pattern("*.", Err(Invalid::Host));
    check_pattern("*", Err(Invalid::Host));
    check_pattern("*.*.example.com", Err(Invalid::Host));
    check_pattern("a.*.example.com", Err(Invalid::Host));
    check_pattern("*a.example.com", Err(Invalid::Host));
    check_pattern("*.127.0.0.1", Err(Invalid::Host));
    check_pattern("*.0.0.1", Err(Invalid::Host));
}

#[test]
fn a_wildcard_covers_exactly_one_label() {
    let check = |pattern: &str, host: &str, expect: bool| {
        let covers = HostPattern::parse(pattern)
            .unwrap()
            .matches(&Host::parse(host).unwrap());
        assert_eq!(covers, expect, "{pattern} {host}");
    };
    check("*.example.com", "a.example.com", true);
    check("*.example.com", "A.EXAMPLE.com.", true);
    check("*.example.com", "example.com", false);
    check("*.example.com", "a.b.example.com", false);
    check("*.example.com", "aexample.com", false);
    check("*.example.com", "a.example.com.evil.net", false);
    check("*.example.com", "127.0.0.1", false);
    check("a.example.com", "a.example.com", true);
    check("127.0.0.1", "127.0.0.1", true);
    check("127.0.0.1", "[::ffff:127.0.0.1]", false);
}

fn check_path(raw: &str, expect: Result<&[&str], RefusedPath>) {
    let parsed = CanonicalPath::parse(raw).map(|path| path.segments_for_test());
    assert_eq!(
        parsed,
        expect.map(|segments| segments.iter().map(|&s| s.to_owned()).collect()),
        "{raw:?}"
    );
}

#[test]
fn a_path_is_decoded_once_and_kept_in_segments() {
    check_path("/", Ok(&[""]));
    check_path("/a/b", Ok(&["a", "b"]));
    check_path("/a//b/", Ok(&["a", "", "b", ""]));
    check_path("/%61/caf%C3%A9", Ok(&["a", "café"]));
    check_path("/a%2Fb/c%2fd", Ok(&["a\0b", "c\0d"]));
    check_path("/100%25/x", Ok(&["100%", "x"]));
    check_path("/%25zz", Ok(&["%zz"]));
    check_path("/...", Ok(&["..."]));
    check_path("/.git/..a/a..", Ok(&[".git", "..a", "a.."]));
    check_path("/a;v=1/b", Ok(&["a;v=1", "b"]));
    check_path("/a%3Fb%23c", Ok(&["a?b#c"]));
}

#[test]
fn a_path_that_could_be_read_in_two_ways_is_refused() {
    use RefusedPath as Refused;

    check_path("", Err(Refused::Relative));
    check_path("a", Err(Refused::Relative));
    check_path("*", Err(Refused::Relative));
    for raw in [
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/%2e%2E/b",
        "/.%2e",
        "/a%2F..%2Fb",
        "/..%2f",
        "/..;/b",
        "/.;x=1/b",
        "/..%3Bx",
    ] {
        check_path(raw, Err(Refused::DotSegment));
    }
    for raw in [
        "/%252e%252e/",
        "/%252F",
        "/%2541",
        "/%25%34%31",
        "/%25%32%66",
    ] {
        check_path(raw, Err(Refused::DoubleEncoding));
    }
    for raw in ["/%", "/%2", "/%zz", "/a%", "/%é0", "/%+1"] {
        check_path(raw, Err(Refused::Percent));
    }
    for raw in [
        "/a\\b", "/a%5Cb", "/%5c", "/\0", "/%00", "/\t", "/%0d%0a", "/%7F", "/%C2%85",
    ] {
        check_path(raw, Err(Refused::Control));
    }
    check_path("/%ff", Err(Refused::Utf8));
    check_path("/%c0%af", Err(Refused::Utf8));
    check_path("/a?b", Err(Refused::Delimiter));
    check_path("/a#b", Err(Refused::Delimiter));
}

#[test]
fn a_path_says_whether_it_has_an_encoded_slash() {
    assert!(
        CanonicalPath::parse("/@scope%2fname")
            .unwrap()
            .encoded_slash()
    );
    assert!(
        !CanonicalPath::parse("/@scope/name")
            .unwrap()
            .encoded_slash()
    );
}

fn covers(pattern: &str, raw: &str) -> bool {
    PathPattern::parse(pattern)
        .unwrap()
        .matches(&CanonicalPath::parse(raw).unwrap())
}

#[test]
fn a_path_pattern_covers_what_it_says() {
    let check = |pattern: &str, raw: &str, expect: bool| {
        assert_eq!(covers(pattern, raw), expect, "{pattern} {raw}");
    };
    check("/**", "/", true);
    check("/**", "/a//b", true);
    check("/", "/", true);
    check("/", "/a", false);
    check("/a/**", "/a", true);
    check("/a/**", "/a/", true);
    check("/a/**", "/a/b/c", true);
    check("/a/**", "/ab", false);
    check("/a/**", "//a", false);
    check("/a/**", "/a%2Fb", false);
    check("/a/*", "/a/b", true);
    check("/a/*", "/a", false);
    check("/a/*", "/a/", false);
    check("/a/*", "/a/b/", false);
    check("/a/*/c", "/a/b/c", true);
    check("/a/*/c", "/a/b%2Fx/c", true);
    check("/a/*/c", "/a/b/x/c", false);
    check("/a b", "/a%20b", true);
    check("/a%2Fb", "/a%2fb", true);
    check("/a%2Fb", "/a/b", false);
    check("/%2A", "/*", true);
    check("/%2A", "/a", false);
    check("/A", "/a", false);
}

#[test]
fn two_patterns_meet_where_one_path_or_host_is_of_both() {
    let path = |one: &str, other: &str, expect: bool| {
        let pattern = |text| PathPattern::parse(text).unwrap();
        assert_eq!(pattern(one).meets(&pattern(other)), expect, "{one} {other}");
        assert_eq!(pattern(other).meets(&pattern(one)), expect, "{other} {one}");
    };
    path("/**", "/a/b", true);
    path("/a/**", "/a", true);
    path("/a/**", "/*/b/**", true);
    path("/a/*", "/a/**", true);
    path("/a/*", "/a/", false);
    path("/a", "/a/b", false);
    path("/a/**", "/b/**", false);
    path("/a/*", "/*/b", true);
    path("/a/b/*", "/a", false);
    let host = |one: &str, other: &str, expect: bool| {
        let pattern = |text| HostPattern::parse(text).unwrap();
        assert_eq!(pattern(one).meets(&pattern(other)), expect, "{one} {other}");
        assert_eq!(pattern(other).meets(&pattern(one)), expect, "{other} {one}");
    };
    host("a.example.com", "a.example.com", true);
    host("*.example.com", "a.example.com", true);
    host("*.example.com", "*.example.com", true);
    host("*.example.com", "*.a.example.com", false);
    host("a.example.com", "b.example.com", false);
    host("*.example.com", "a.b.example.com", false);
}

#[test]
fn what_is_not_a_path_pattern_is_refused() {
    for text in [
        "", "a", "**", "*", "/***", "/a**", "/a*", "/*a", "/**/a", "/a/**/", "/../a", "/a/./b",
        "/a\\b", "/%zz", "/a?b", "/%2541",
    ] {
        assert_eq!(
            PathPattern::parse(text),
            Err(InvalidPathPattern::for_test()),
            "{text:?}"
        );
    }
}

#[test]
fn the_longer_and_more_literal_pattern_is_more_specific() {
    let check = |greater: &str, lesser: &str| {
        let [greater, lesser] = [greater, lesser].map(|text| PathPattern::parse(text).unwrap());
        assert_eq!(
            greater.specificity(&lesser),
            Ordering::Greater,
            "{greater} {lesser}"
        );
        assert_eq!(
            lesser.specificity(&greater),
            Ordering::Less,
            "{lesser} {greater}"
        );
    };
    check("/a/**", "/**");
    check("/a/b", "/a/**");
    check("/a/*", "/a/**");
    check("/a/*/**", "/a/**");
    check("/a/b", "/a/*");
    check("/a/*", "/*/a");
    check("/a/*/c", "/a/b/**");
    check("/a", "/a/**");
}

fn pattern_text() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => "[a-c%.;é ]{0,3}", 1 => Just("*".to_owned()), 1 => Just("%2F%2a".to_owned())];
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, open)| {
        format!("/{}{}", segments.join("/"), if open { "/**" } else { "" })
    })
}

proptest! {
    #[test]
    fn parsers_never_panic(text in any::<String>()) {
        drop(Host::parse(&text));
        drop(HostPattern::parse(&text));
        drop(CanonicalPath::parse(&text));
        drop(PathPattern::parse(&text));
    }

    #[test]
    fn a_host_reads_back_equal(text in r"(\*\.)?[a-zA-Z0-9.\-_:\[\]ßé]{0,24}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
        }
        if let Ok(pattern) = HostPattern::parse(&text) {
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }

    #[test]
    fn a_path_pattern_reads_back_equal(text in pattern_text()) {
        if let Ok(pattern) = PathPattern::parse(&text) {
            prop_assert_eq!(PathPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }

    #[test]
    fn patterns_that_cover_one_path_are_ordered(
        first in pattern_text(), second in pattern_text(), raw in "(/[a-c]{1,2}){1,3}"
    ) {
        let path = CanonicalPath::parse(&raw).unwrap();
        if let (Ok(first), Ok(second)) = (PathPattern::parse(&first), PathPattern::parse(&second))
            && first.matches(&path) && second.matches(&path)
        {
            prop_assert_eq!(first.specificity(&second) == Ordering::Equal, first == second);
        }
    }

    /// Whatever a climbing path is made of, after an upstream has decoded it up to three times and resolved its dots
    /// it is still below the pattern that matched.
    #[test]
    fn a_path_never_climbs_out_of_its_pattern(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b", "..", ".", "%2e", "%2e%2e", "%252e", "%2F", "%252F", "/", "\\", "%5c", ";", "%", "25", "2e",
            ]),
            0..8,
        )
    ) {
        let raw = format!("/safe/{}", parts.concat());
        if let Ok(path) = CanonicalPath::parse(&raw)
            && PathPattern::parse("/safe/**").unwrap().matches(&path)
        {
            let mut seen = raw;
            for _ in 0..3 {
                prop_assert!(resolved(&seen).starts_with(&["safe".to_owned()]), "{seen}");
                seen = decoded_loosely(&seen);
            }
        }
    }
}

/// Resolves dot segments as a careless upstream does: backslashes are slashes, parameters are dropped.
fn resolved(path: &str) -> Vec<String> {
    let mut stack = Vec::new();
    for part in path.split(['/', '\\']) {
        match part.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(stack.pop()),
            name => stack.push(name.to_owned()),
        }
    }
    stack
}

fn decoded_loosely(text: &str) -> String {
    let mut rest = text;
    let mut decoded = String::new();
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        match after
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded + rest
}
