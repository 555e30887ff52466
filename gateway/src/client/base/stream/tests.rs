use super::super::super::authenticate::Caller;
use super::super::super::tunnels::Tunnels;
use super::super::{Form, Named};
use super::*;
use crate::fixture;

/// What leaves of a request to `/r/main/api/…` with these headers.
fn written(path: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut vault = fixture::vault(&fixture::tenant(), vec![]);
    let caller = Caller::for_test(fixture::session(&mut vault));
    let line = Line::Stream(Arc::default());
    let opened = Opened {
        form: Form::read(path).unwrap(),
        named: Named {
            service: sortie_proto::id::ServiceId::generate(),
            target: fixture::target("https://a.test:8443/").0,
        },
        registered: Arc::new(Tunnels::new(1, 8))
            .register(&caller, &line)
            .unwrap(),
        caller,
    };
    let mut head = RequestHeader::build("POST", b"/", None).unwrap();
    head.set_uri(format!("https://gateway.test{path}").parse().unwrap());
    for (name, value) in headers {
        head.append_header(*name, *value).unwrap();
    }
    write(&mut head, &opened).unwrap();
    head
}

#[test]
fn the_head_is_written_for_the_service_with_the_bytes_of_its_path() {
    for (path, expect) in [
        ("/r/main/api/v1/x?y=/z", "/v1/x?y=/z"),
        ("/r/main/api", "/"),
        ("/r/main/api?a=b", "/?a=b"),
        ("/r/main/api//x", "//x"),
        ("/r/main/api/a%2Fb/%7e", "/a%2Fb/%7e"),
    ] {
        let head = written(path, &[("host", "gateway.test")]);
        assert_eq!(head.uri.to_string(), expect);
        assert_eq!(head.raw_path(), expect.as_bytes());
        let hosts: Vec<_> = head.headers.get_all("host").iter().collect();
        assert_eq!(hosts, ["a.test:8443"]);
    }
}

#[test]
fn every_header_with_a_token_stays_here_and_no_other() {
    let head = written(
        "/r/main/api/",
        &[
            ("authorization", "Bearer sortie_ses_a"),
            ("x-api-key", "sortie_ses_a"),
            ("api-key", "the service's own"),
            ("x-other", "one"),
            ("x-other", "sortie_ses_a"),
            ("x-other", "two"),
            ("proxy-anything", "x"),
        ],
    );
    let mut left: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    left.sort();
    let expect = [
        "api-key: the service's own",
        "host: a.test:8443",
        "x-other: one",
        "x-other: two",
    ];
    assert_eq!(left, expect);
}
