use std::sync::Arc;

use serde_json::{Value, json};
use sortie_proto::credential::Surface;
use sortie_proto::host::HostPattern;
use sortie_proto::service::{Injection, Intercept, Placeholders, Scheme};

use super::*;
use crate::fixture;

const VALUE: &str = "Canary-Value-1234";

/// A vault with a service of each kind.
fn reach(refused: Option<Code>) -> Reach {
    let tenant = fixture::tenant();
    let mut github = fixture::service("github", "https://api.github.test/repos/**");
    github.methods = vec!["GET".to_owned(), "POST".to_owned()];
    github.inject.push(Injection::Bearer {
        credential: "TOKEN".to_owned(),
    });
    let mut search = fixture::service("search", "https://search.test:8443/**");
    search.placeholders = Some(Placeholders {
        credentials: vec!["TOKEN".to_owned(), "GONE".to_owned()],
        surfaces: vec![Surface::Header, Surface::Query],
    });
    let mut wide = fixture::service("wide", "http://b.test/**");
    wide.host = HostPattern::parse("*.b.test").unwrap();
    let mut pinned = fixture::service("pinned", "https://pinned.test/**");
    pinned.intercept = Intercept::Never;
    let services = vec![github, search, wide, pinned];
    let mut vault = fixture::vault(&tenant, vec![]);
    let to = fixture::destination("api.github.test");
    fixture::credential(&mut vault, "TOKEN", VALUE, to);
    Reach {
        role: Some(VaultRole::User),
        vault: Arc::new(vault),
        services: services.into_iter().map(Arc::new).collect(),
        refused,
    }
}

#[test]
fn the_gateway_is_one_host_at_any_port_and_scheme() {
    for (scheme, port) in [
        (Scheme::Http, 80),
        (Scheme::Https, 443),
        (Scheme::Http, 8080),
    ] {
        let (mut target, _) = fixture::target("http://sortie.internal/");
        (target.scheme, target.port) = (scheme, port);
        assert!(is_here(&target));
    }
    for other in [
        "http://a.sortie.internal/",
        "http://internal/",
        "http://127.0.0.1/",
    ] {
        assert!(!is_here(&fixture::target(other).0), "{other}");
    }
}

#[test]
fn an_agent_reads_what_it_can_reach_and_no_value() {
    let page = text::skill(&[reach(None)]);
    for row in [
        "| `github` | `https://api.github.test` | `GET, POST` | `/repos/**` | put in for you |",
        "| `search` | `https://search.test:8443` | any | `/**` | send `__TOKEN__` in header, query |",
        "| `wide` | `http://*.b.test` | any | `/**` | none |",
        "| `pinned` | `https://pinned.test` | any | `/**` | passed on untouched: bring your own |",
        "Any other host is refused.",
        "sortie credential set CREDENTIAL",
    ] {
        assert!(page.contains(row), "{row}\n{page}");
    }
    assert!(!page.contains(VALUE));
    let page = text::skill(&[reach(Some(Code::StaleLease))]);
    assert!(page.contains(Code::StaleLease.text()), "{page}");
}

#[test]
fn a_program_reads_the_same() {
    let mut vault = fixture::vault(&fixture::tenant(), vec![]);
    let caller = Caller::for_test(fixture::session(&mut vault));
    let page = text::services(&caller, &[reach(Some(Code::RoleMissing))]);
    assert!(!page.contains(VALUE));
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["session"]["id"], caller.claims().session.to_string());
    let vault = &page["vaults"][0];
    assert_eq!(vault["refused"], "role_missing");
    let credentials = json!([{"name": "TOKEN", "placeholder": "__TOKEN__"}]);
    assert_eq!(vault["credentials"], credentials);
    let services = vault["services"].as_array().unwrap();
    assert_eq!(services[0]["base_path"], "/r/main/github");
    assert_eq!(services[0]["injects"], true);
    let placeholders = json!([{
        "credential": "TOKEN", "placeholder": "__TOKEN__", "surfaces": ["header", "query"],
    }]);
    assert_eq!(services[1]["placeholders"], placeholders);
    // What has several hosts, or is not opened, has no base URL.
    assert_eq!(services[2]["base_path"], Value::Null);
    assert_eq!(services[3]["base_path"], Value::Null);
}
