use proptest::prelude::*;

use super::*;
use crate::id::{ServiceId, VaultId};
use crate::service::Intercept;

/// Reads `name scheme://host[:port]/path METHOD,METHOD`; a name with `!` in front is disabled.
fn service(text: &str) -> Arc<Service> {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let (scheme, rest) = words.next().unwrap().split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().unwrap())),
        None => (authority, None),
    };
    Arc::new(Service {
        id: ServiceId::generate(),
        vault: VaultId::generate(),
        name: name.trim_start_matches('!').to_owned(),
        version: 1,
        enabled: !name.starts_with('!'),
        scheme: Scheme::from_name(scheme).unwrap(),
        host: HostPattern::parse(host).unwrap(),
        port,
        methods: words.next().map_or_else(Vec::new, |methods| {
            methods.split(',').map(str::to_owned).collect()
        }),
        path: PathPattern::parse(&format!("/{path}")).unwrap(),
        inject: vec![],
        placeholders: None,
        redact: true,
        intercept: Intercept::Always,
        encoded_slash: false,
        limits: crate::limits::Limits::default(),
    })
}

fn index(services: &[&str]) -> Index {
    Index::new(services.iter().map(|text| service(text)).collect())
}

/// Reads `METHOD scheme://host:port/path`.
fn found(index: &Index, request: &str) -> Option<String> {
    let (method, url) = request.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = Scheme::from_name(scheme).unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (host, port) = authority.split_once(':').map_or_else(
        || (authority, scheme.default_port()),
        |(host, port)| (host, port.parse().unwrap()),
    );
    index
        .find(Query {
            scheme,
            host: &Host::parse(host).unwrap(),
            port,
            method,
            path: Some(&CanonicalPath::parse(&format!("/{path}")).unwrap()),
        })
        .map(|service| service.name.clone())
}

#[test]
fn a_request_goes_to_the_service_that_says_most_about_it() {
    let index = index(&[
        "wild https://*.example.com/**",
        "exact https://a.example.com/**",
        "port https://a.example.com:8443/**",
        "repos https://a.example.com/repos/**",
        "repo https://a.example.com/repos/*/x",
        "reads https://a.example.com/repos/** GET,HEAD",
        "plain http://a.example.com/**",
        "!off https://a.example.com/off/**",
    ]);
    let check = |request: &str, expect: &str| {
        assert_eq!(
            found(&index, request).unwrap_or_default(),
            expect,
            "{request}"
        );
    };
    check("GET https://a.example.com/", "exact");
    check("GET https://b.example.com/", "wild");
    check("GET https://a.b.example.com/", "");
    check("GET https://example.com/", "");
    check("GET https://a.example.com:8443/", "port");
    check("GET https://b.example.com:8443/", "");
    check("POST https://a.example.com/repos/1", "repos");
    check("GET https://a.example.com/repos/1", "reads");
    check("get https://a.example.com/repos/1", "repos");
    check("GET https://a.example.com/repos/1/x", "repo");
    check("GET http://a.example.com/repos", "plain");
    check("GET https://a.example.com/off/1", "off");
}

#[test]
fn a_wildcard_is_used_where_no_exact_service_covers_the_request() {
    let index = index(&[
        "exact https://a.example.com/in/**",
        "wild https://*.example.com/**",
    ]);
    assert_eq!(
        found(&index, "GET https://a.example.com/in/1").as_deref(),
        Some("exact")
    );
    assert_eq!(
        found(&index, "GET https://a.example.com/out").as_deref(),
        Some("wild")
    );
}

#[test]
fn a_named_port_is_tried_before_the_schemes_own() {
    let index = index(&[
        "own https://a.example.com/x/**",
        "named https://a.example.com:443/**",
    ]);
    assert_eq!(
        found(&index, "GET https://a.example.com/x/1").as_deref(),
        Some("named")
    );
}

#[test]
fn a_tunnel_finds_what_it_could_be_for() {
    let index = index(&[
        "a https://a.example.com/x",
        "b https://a.example.com/y/z",
        "c https://b.example.com/**",
    ]);
    let host = Host::parse("a.example.com").unwrap();
    let names: Vec<_> = index
        .at(Scheme::Https, &host, 443)
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(index.at(Scheme::Http, &host, 80).count(), 0);
    assert_eq!(index.iter().count(), 3);
}

fn check_ambiguous(services: [&str; 2], expect: bool) {
    for services in [services, [services[1], services[0]]] {
        let refused = index(&services)
            .check()
            .err()
            .map(|ambiguous| (ambiguous.first, ambiguous.second));
        let pair = expect.then(|| ("a".to_owned(), "b".to_owned()));
        assert_eq!(refused, pair, "{services:?}");
    }
}

#[test]
fn only_services_that_nothing_tells_apart_are_ambiguous() {
    check_ambiguous(["a https://x.test/**", "b https://x.test/**"], true);
    check_ambiguous(["a https://x.test/**", "b https://x.test:443/**"], true);
    check_ambiguous(["a https://x.test/a-b", "b https://x.test/a%2Db"], true);
    check_ambiguous(["a https://*.x.test/**", "b https://*.x.test/**"], true);
    check_ambiguous(
        [
            "a https://x.test/** GET,POST",
            "b https://x.test/** POST,PUT",
        ],
        true,
    );
    check_ambiguous(
        ["a https://x.test/** GET", "b https://x.test/** POST"],
        false,
    );
    check_ambiguous(["a https://x.test/** GET", "b https://x.test/**"], false);
    check_ambiguous(["a https://x.test/**", "!b https://x.test/**"], false);
    check_ambiguous(["a https://x.test/**", "b http://x.test/**"], false);
    check_ambiguous(["a https://x.test/**", "b https://x.test:8443/**"], false);
    check_ambiguous(["a https://x.test/**", "b https://x.test/a/**"], false);
    check_ambiguous(["a https://x.test/a/*", "b https://x.test/*/a"], false);
    check_ambiguous(["a https://x.test/**", "b https://*.x.test/**"], false);
}

#[test]
fn a_service_that_names_a_method_twice_is_not_ambiguous_with_itself() {
    index(&["a https://x.test/** GET,GET"]).check().unwrap();
}

proptest! {
    /// Every service that `find` passes over either does not match or has no more to say about the request.
    #[test]
    fn the_order_of_services_does_not_matter(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
        let services = [
            "a https://x.demo.test/**", "b https://x.demo.test/a/**", "c https://*.demo.test/a/b/**",
            "d https://x.demo.test/a/** GET", "e https://x.demo.test:443/a/*", "f https://x.demo.test/*/b",
        ];
        let index = Index::new(order.iter().map(|&i| service(services[i])).collect());
        let names = ["/", "/a", "/a/b", "/a/b/c", "/c/b"]
            .map(|path| found(&index, &format!("GET https://x.demo.test{path}")).unwrap());
        prop_assert_eq!(names.join(""), "adedf");
    }
}
