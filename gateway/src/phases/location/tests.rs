use std::sync::{Arc, OnceLock};

use sortie_proto::id::ServiceId;

use super::*;
use crate::client::authenticate::Caller;
use crate::client::base::Base;
use crate::fixture;

fn rewritten(location: &str, base: Option<Base>) -> String {
    let mut vault = fixture::vault(&fixture::tenant(), vec![]);
    let context = Context {
        inbound: Some(Arc::new(Inbound {
            caller: Caller::for_test(fixture::session(&mut vault)),
            target: fixture::target("https://a.test:8443/").0,
            tunnelled: false,
            agreed: true,
            known: true,
            refused: None,
            lease: Arc::default(),
            base,
            origin: OnceLock::new(),
        })),
        ..Context::default()
    };
    let mut answer = ResponseHeader::build(302, None).unwrap();
    answer.insert_header("location", location).unwrap();
    rewrite(&mut answer, &context).unwrap();
    answer.headers[LOCATION].to_str().unwrap().to_owned()
}

#[test]
fn what_points_to_the_service_s_host_stays_here() {
    let base = || {
        Some(Base {
            service: ServiceId::generate(),
            prefix: "/r/main/api".to_owned(),
        })
    };
    for (location, expect) in [
        ("/v2/x?y", "/r/main/api/v2/x?y"),
        ("https://a.test:8443/x", "/r/main/api/x"),
        ("https://A.test:8443", "/r/main/api/"),
        // Another host, port or scheme, and what is relative.
        ("https://b.test:8443/x", "https://b.test:8443/x"),
        ("https://a.test/x", "https://a.test/x"),
        ("http://a.test:8443/x", "http://a.test:8443/x"),
        ("//b.test/x", "//b.test/x"),
        ("next", "next"),
    ] {
        assert_eq!(rewritten(location, base()), expect, "{location}");
        assert_eq!(rewritten(location, None), location);
    }
}
