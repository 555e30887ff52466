use std::time::Duration;

use sortie_proto::host::PathPattern;
use sortie_proto::service::{Injection as How, Placeholders};

use super::*;
use crate::exchange::credential::Config;
use crate::fixture;
use crate::snapshot::VaultState;

struct Case {
    service: Option<Service>,
    vault: VaultState,
}

/// A vault with KEY (`val/ue+0123`) and TRICK (`__KEY__-1234`) for a.test, OTHER for b.test and BROKEN, which cannot
/// stand in a header.
fn case(inject: Vec<How>, surfaces: &[Surface]) -> Case {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    fixture::credential(
        &mut vault,
        "KEY",
        "val/ue+0123",
        fixture::destination("a.test"),
    );
    fixture::credential(
        &mut vault,
        "TRICK",
        "__KEY__-1234",
        fixture::destination("a.test"),
    );
    fixture::credential(
        &mut vault,
        "OTHER",
        "other-value",
        fixture::destination("b.test"),
    );
    fixture::credential(
        &mut vault,
        "BROKEN",
        "two\r\nlines: x",
        fixture::destination("a.test"),
    );
    let mut service = fixture::service("api", "https://a.test/**");
    service.inject = inject;
    service.placeholders = (!surfaces.is_empty()).then(|| Placeholders {
        credentials: ["KEY", "TRICK", "OTHER", "BROKEN"]
            .map(str::to_owned)
            .to_vec(),
        surfaces: surfaces.to_vec(),
    });
    Case {
        service: Some(service),
        vault,
    }
}

impl Case {
    /// What leaves: the target, and the headers one a line.
    fn sent(
        self,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> std::result::Result<String, Code> {
        let (target, path) = fixture::target(url);
        let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        let mut tenant = fixture::tenant();
        tenant.id = self.vault.vault.tenant;
        let permit = Permit::for_test(tenant.into(), self.vault.into(), self.service.map(Arc::new));
        let credentials = Credentials::new(&Config {
            open_max: 8,
            idle: Duration::from_secs(60),
        });
        let injection =
            prepare(&permit, &credentials, &target, &request).map_err(|error| error.code())?;
        for leak in ["val/ue", "other-value"] {
            assert!(!format!("{injection:?}").contains(leak));
        }
        // In the order of the stage.
        strip(&mut request);
        injection
            .apply(&mut request)
            .map_err(|error| error.code())?;
        let mut lines = vec![String::from_utf8(request.raw_path().to_vec()).unwrap()];
        for (name, value) in &request.headers {
            lines.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        Ok(lines.join("\n"))
    }
}

fn bearer(name: &str) -> Vec<How> {
    vec![How::Bearer {
        credential: name.to_owned(),
    }]
}

fn header(name: &str, template: &str) -> How {
    How::Header {
        name: name.to_owned(),
        template: Template::parse(template).unwrap(),
    }
}

fn query() -> Vec<How> {
    vec![How::Query {
        name: "key".to_owned(),
        credential: "KEY".to_owned(),
    }]
}

#[test]
fn a_value_takes_the_place_of_what_the_agent_sent() {
    let sent = |inject, url: &str, headers: &[(&'static str, &str)]| {
        case(inject, &[]).sent(url, headers).unwrap()
    };
    let fake = [("authorization", "Bearer __KEY__"), ("authorization", "x")];
    assert_eq!(
        sent(bearer("KEY"), "https://a.test/x", &fake),
        "/x\nauthorization: Bearer val/ue+0123"
    );
    let basic = vec![How::Basic {
        username: "me".to_owned(),
        credential: "KEY".to_owned(),
    }];
    assert_eq!(
        sent(basic, "https://a.test/x", &fake),
        "/x\nauthorization: Basic bWU6dmFsL3VlKzAxMjM="
    );
    let two = vec![
        header("x-key", "k {{ KEY }}"),
        header("x-two", "{{ KEY }}{{ TRICK }}"),
    ];
    assert_eq!(
        sent(
            two,
            "https://a.test/x",
            &[("x-key", "mine"), ("x-other", "stays")]
        ),
        "/x\nx-other: stays\nx-key: k val/ue+0123\nx-two: val/ue+0123__KEY__-1234"
    );
    assert_eq!(
        sent(query(), "https://a.test/x", &[]),
        "/x?key=val%2Fue%2B0123"
    );
    assert_eq!(
        sent(
            query(),
            "https://a.test/x?a=1&key=__KEY__&k%65y=2&b=%20&key",
            &[]
        ),
        "/x?a=1&b=%20&key=val%2Fue%2B0123"
    );
}

#[test]
fn placeholders_are_replaced_where_the_service_says() {
    let sent = |surface, url: &str, headers: &[(&'static str, &str)]| {
        case(vec![], &[surface]).sent(url, headers)
    };
    assert_eq!(
        sent(
            Surface::Header,
            "https://a.test/",
            &[("x-a", "1"), ("x-a", "k=__KEY__;__KEY__")]
        )
        .unwrap(),
        "/\nx-a: 1\nx-a: k=val/ue+0123;val/ue+0123"
    );
    // me:__KEY__
    assert_eq!(
        sent(
            Surface::Header,
            "https://a.test/",
            &[("authorization", "basic bWU6X19LRVlfXw==")]
        )
        .unwrap(),
        "/\nauthorization: Basic bWU6dmFsL3VlKzAxMjM="
    );
    assert_eq!(
        sent(Surface::Path, "https://a.test/bot__KEY__/x?q=1", &[]).unwrap(),
        "/botval%2Fue%2B0123/x?q=1"
    );
    assert_eq!(
        sent(Surface::Query, "https://a.test/x?a=__KEY__&b", &[]).unwrap(),
        "/x?a=val%2Fue%2B0123&b"
    );
    assert_eq!(
        sent(Surface::Query, "https://a.test/x?a=__b__&__=_____", &[]).unwrap(),
        "/x?a=__b__&__=_____"
    );
}

#[test]
fn a_placeholder_brings_no_stripped_header_back() {
    let placed = || case(bearer("KEY"), &[Surface::Header]);
    let injected = "/\nauthorization: Bearer val/ue+0123";
    for name in [
        "connection",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "via",
        "forwarded",
        "x-forwarded-for",
        "http2-settings",
    ] {
        let sent = placed().sent("https://a.test/", &[(name, "authorization, __KEY__")]);
        assert_eq!(sent.unwrap(), injected, "{name}");
    }
    let nominated = [("connection", "X-Mine"), ("x-mine", "__KEY__")];
    assert_eq!(
        placed().sent("https://a.test/", &nominated).unwrap(),
        injected
    );
    // It is never sent, so that it need not resolve.
    let unknown = [("via", "__NO_SUCH__")];
    assert_eq!(
        placed().sent("https://a.test/", &unknown).unwrap(),
        injected
    );
}

#[test]
fn basic_is_decoded_with_padding_and_without() {
    // me:__KEY__ and its own end, of each length; the last one with bits that mean nothing.
    for (token, rest) in [
        ("bWU6X19LRVlfXw==", ""),
        ("bWU6X19LRVlfXw=", ""),
        ("bWU6X19LRVlfXw", ""),
        ("bWU6X19LRVlfX3g", "x"),
        ("bWU6X19LRVlfXx", ""),
    ] {
        let value = format!("Basic {token}");
        let sent = case(vec![], &[Surface::Header])
            .sent("https://a.test/", &[("authorization", &value)])
            .unwrap();
        let pair = STANDARD.encode(format!("me:val/ue+0123{rest}"));
        assert_eq!(sent, format!("/\nauthorization: Basic {pair}"), "{token}");
        let headers = [("authorization", value.as_str())];
        assert_eq!(
            refused(case(vec![], &[]), "https://a.test/", &headers),
            Code::PlaceholderUnresolved,
            "{token}"
        );
    }
}

#[test]
fn cookies_are_one_header_where_one_of_them_changed() {
    let sent = case(vec![], &[Surface::Header]).sent(
        "https://a.test/",
        &[
            ("cookie", "a=1"),
            ("cookie", "k=__KEY__"),
            ("cookie", "b=2"),
        ],
    );
    assert_eq!(sent.unwrap(), "/\ncookie: a=1; k=val/ue+0123; b=2");
}

#[test]
fn an_inserted_value_is_never_searched() {
    let sent = case(vec![], &[Surface::Header]).sent("https://a.test/", &[("x-a", "__TRICK__")]);
    assert_eq!(sent.unwrap(), "/\nx-a: __KEY__-1234");
    let sent = case(bearer("TRICK"), &[Surface::Header]).sent("https://a.test/", &[]);
    assert_eq!(sent.unwrap(), "/\nauthorization: Bearer __KEY__-1234");
}

fn refused(case: Case, url: &str, headers: &[(&'static str, &str)]) -> Code {
    case.sent(url, headers).unwrap_err()
}

#[test]
fn a_placeholder_that_does_not_resolve_is_never_sent() {
    let unresolved = |case, url, headers: &[(&'static str, &str)]| {
        assert_eq!(
            refused(case, url, headers),
            Code::PlaceholderUnresolved,
            "{url} {headers:?}"
        );
    };
    let none = || case(vec![], &[]);
    unresolved(none(), "https://a.test/__KEY__", &[]);
    unresolved(none(), "https://a.test/x?a=__NO_SUCH__", &[]);
    unresolved(none(), "https://a.test/", &[("x-a", "___NO__")]);
    unresolved(
        case(vec![], &[Surface::Query]),
        "https://a.test/?__KEY__=1",
        &[],
    );
    unresolved(
        none(),
        "https://a.test/",
        &[("authorization", "Basic bWU6X19LRVlfXw==")],
    );
    unresolved(
        case(vec![], &[Surface::Path]),
        "https://a.test/",
        &[("x-a", "__KEY__")],
    );
    unresolved(
        case(vec![], &[Surface::Header]),
        "https://a.test/",
        &[("x-a", "__KEY__ __NO_SUCH__")],
    );
}

#[test]
fn what_passes_without_a_service_names_no_credential() {
    let pass = || Case {
        service: None,
        ..case(vec![], &[])
    };
    assert_eq!(
        refused(pass(), "https://c.test/?a=__KEY__", &[]),
        Code::PlaceholderUnresolved
    );
    let basic = [("authorization", "Basic bWU6X19LRVlfXw==")];
    assert_eq!(
        refused(pass(), "https://c.test/", &basic),
        Code::PlaceholderUnresolved
    );
    assert_eq!(
        pass().sent("https://c.test/__NO_SUCH__", &[]).unwrap(),
        "/__NO_SUCH__"
    );
}

#[test]
fn a_credential_goes_where_its_destinations_say_and_nowhere_else() {
    assert_eq!(
        refused(case(bearer("OTHER"), &[]), "https://a.test/", &[]),
        Code::DestinationRefused
    );
    assert_eq!(
        refused(case(bearer("KEY"), &[]), "https://b.test/", &[]),
        Code::DestinationRefused
    );
    assert_eq!(
        refused(case(bearer("NONE"), &[]), "https://a.test/", &[]),
        Code::CredentialMissing
    );
    assert_eq!(
        refused(case(bearer("KEY"), &[]), "http://a.test/", &[]),
        Code::CleartextRefused
    );
    let placed = case(vec![], &[Surface::Header]);
    assert_eq!(
        refused(placed, "https://a.test/", &[("x-a", "__OTHER__")]),
        Code::DestinationRefused
    );

    let check = |alter: &dyn Fn(&mut Destination), allowed: bool| {
        let mut case = case(bearer("KEY"), &[]);
        let mut to = fixture::destination("a.test");
        alter(&mut to);
        fixture::credential(&mut case.vault, "KEY", "val/ue+0123", to);
        assert_eq!(case.sent("https://a.test/in//x?y", &[]).is_ok(), allowed);
    };
    check(&|to| to.port = Some(443), true);
    check(&|to| to.port = Some(8443), false);
    check(&|to| to.methods = vec!["GET".to_owned()], true);
    check(&|to| to.methods = vec!["POST".to_owned()], false);
    check(&|to| to.path = PathPattern::parse("/in/**").ok(), true);
    check(&|to| to.path = PathPattern::parse("/out/**").ok(), false);
    // The request is for `/in//x`, which a server may read as `/in/x`.
    check(&|to| to.path = PathPattern::parse("/in//**").ok(), false);
    check(&|to| to.surfaces = vec![Surface::Header], true);
    check(&|to| to.surfaces = vec![Surface::Query], false);
}

#[test]
fn cleartext_needs_the_word_of_both() {
    let sent = |cleartext: bool| {
        let mut case = case(bearer("KEY"), &[]);
        case.service.as_mut().unwrap().scheme = Scheme::Http;
        let to = Destination {
            cleartext,
            ..fixture::destination("a.test")
        };
        fixture::credential(&mut case.vault, "KEY", "val/ue+0123", to);
        case.sent("http://a.test/", &[])
    };
    assert!(sent(true).is_ok());
    assert_eq!(sent(false).unwrap_err(), Code::DestinationRefused);
}

#[test]
fn a_value_that_cannot_stand_in_a_header_is_not_sent() {
    assert_eq!(
        refused(case(bearer("BROKEN"), &[]), "https://a.test/", &[]),
        Code::CredentialUnusable
    );
    let placed = case(vec![], &[Surface::Header]);
    assert_eq!(
        refused(placed, "https://a.test/", &[("x-a", "__BROKEN__")]),
        Code::CredentialUnusable
    );
    let sent = case(vec![], &[Surface::Query]).sent("https://a.test/?a=__BROKEN__", &[]);
    assert_eq!(sent.unwrap(), "/?a=two%0D%0Alines%3A%20x");
}

#[test]
fn a_service_that_is_not_intercepted_gets_nothing() {
    let mut case = case(bearer("KEY"), &[]);
    case.service.as_mut().unwrap().intercept = Intercept::Never;
    assert_eq!(
        case.sent("https://a.test/", &[("x-a", "__KEY__")]).unwrap(),
        "/\nx-a: __KEY__"
    );
}

#[test]
fn hop_by_hop_and_proxy_headers_are_stripped() {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in [
        ("host", "a.test"),
        ("connection", "close, X-Mine"),
        ("connection", "host"),
        ("x-mine", "1"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("via", "1.1 x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=x"),
        ("upgrade", "h2c"),
        ("keep-alive", "1"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("accept", "*/*"),
        ("content-length", "0"),
    ] {
        request.append_header(name, value).unwrap();
    }
    strip(&mut request);
    let mut left: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            "accept: */*",
            "content-length: 0",
            "cookie: a=1; b=2",
            "host: a.test"
        ]
    );
}

#[test]
fn websocket_and_grpc_keep_what_they_need() {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    request
        .append_header("connection", "Upgrade, keep-alive")
        .unwrap();
    request.append_header("upgrade", "WebSocket").unwrap();
    strip(&mut request);
    assert_eq!(request.headers["connection"], "upgrade");
    assert_eq!(request.headers["upgrade"], "websocket");

    let mut request = RequestHeader::build("POST", b"/", None).unwrap();
    request.set_version(http::Version::HTTP_2);
    request.append_header("te", "trailers").unwrap();
    strip(&mut request);
    assert_eq!(request.headers["te"], "trailers");
}
