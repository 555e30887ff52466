use super::*;
use crate::id::ServiceId;
use crate::service::{Injection, Intercept};

fn service(scheme: Scheme, host: &str, path: &str, methods: &[&str]) -> Service {
    Service {
        id: ServiceId::generate(),
        vault: VaultId::generate(),
        name: "api".to_owned(),
        version: 1,
        enabled: true,
        scheme,
        host: HostPattern::parse(host).unwrap(),
        port: None,
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        path: PathPattern::parse(path).unwrap(),
        inject: vec![Injection::Bearer {
            credential: "TOKEN".to_owned(),
        }],
        placeholders: None,
        redact: true,
        intercept: Intercept::Always,
        encoded_slash: false,
        limits: crate::limits::Limits::default(),
    }
}

fn to(host: &str) -> Destination {
    Destination {
        host: HostPattern::parse(host).unwrap(),
        port: None,
        cleartext: false,
        path: None,
        methods: vec![],
        surfaces: vec![],
    }
}

#[test]
fn a_destination_meets_a_service_where_one_request_could_carry_the_value() {
    let check = |destination: Destination, service: &Service, expect: bool| {
        let found = destination.meets(service, &[Surface::Header]);
        assert_eq!(found, expect, "{destination:?} {service:?}");
    };
    let api = service(Scheme::Https, "api.example.com", "/v1/**", &["GET"]);
    check(to("api.example.com"), &api, true);
    check(to("*.example.com"), &api, true);
    check(to("other.example.com"), &api, false);
    check(to("*.api.example.com"), &api, false);
    let port = |port| Destination {
        port: Some(port),
        ..to("api.example.com")
    };
    check(port(443), &api, true);
    check(port(8443), &api, false);
    let path = |path| Destination {
        path: Some(PathPattern::parse(path).unwrap()),
        ..to("api.example.com")
    };
    check(path("/v1/models"), &api, true);
    check(path("/**"), &api, true);
    check(path("/v2/**"), &api, false);
    let method = |method: &str| Destination {
        methods: vec![method.to_owned()],
        ..to("api.example.com")
    };
    check(method("GET"), &api, true);
    check(method("POST"), &api, false);
    let surface = |surface| Destination {
        surfaces: vec![surface],
        ..to("api.example.com")
    };
    check(surface(Surface::Header), &api, true);
    check(surface(Surface::Query), &api, false);
    let plain = service(Scheme::Http, "*.example.com", "/**", &[]);
    check(to("api.example.com"), &plain, false);
    let cleartext = Destination {
        cleartext: true,
        ..to("api.example.com")
    };
    check(cleartext, &plain, true);
}
