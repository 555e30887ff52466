use std::num::NonZeroU32;
use std::time::Duration;

use pingora_http::RequestHeader;
use sortie_proto::id::SessionId;
use sortie_proto::service::Injection as How;

use super::*;
use crate::decision::limit;
use crate::decision::policy::Permit;
use crate::exchange::credential::{self, Credentials};
use crate::exchange::inject;
use crate::fixture;

const VALUE: &str = "Canary-Value-1234";

/// A request that was given credentials of these values, at the point where its answer comes.
fn context(values: &[&str], redact: bool) -> (Context, Credentials) {
    let tenant = fixture::tenant();
    let mut vault = fixture::vault(&tenant, vec![]);
    let mut service = fixture::service("api", "https://a.test/**");
    for (i, value) in values.iter().enumerate() {
        let name = format!("KEY{i}");
        fixture::credential(&mut vault, &name, value, fixture::destination("a.test"));
        service.inject.push(How::Query {
            name: name.clone(),
            credential: name,
        });
    }
    let permit = Permit::for_test(tenant.into(), vault.into(), Some(service.into()));
    let credentials = Credentials::new(&credential::Config {
        open_max: 8,
        idle: Duration::from_secs(60),
    });
    let (target, path) = fixture::target("https://a.test/");
    let request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
    let injection = inject::prepare(&permit, &credentials, &target, &request).unwrap();
    let limits = limit::fixture::limits(NonZeroU32::MIN, NonZeroU32::MIN);
    let slot = limits.admit(&limit::fixture::asked(SessionId::generate(), &permit));
    let context = Context {
        exchange: Some(Exchange {
            slot: slot.unwrap(),
            permit,
            injection,
            redact,
            upgrade: false,
        }),
        ..Context::default()
    };
    (context, credentials)
}

/// A head that gives the values back wherever a head has room for one.
fn echo(status: u16, values: &[&str]) -> ResponseHeader {
    let mut head = ResponseHeader::build(status, None).unwrap();
    head.set_reason_phrase(Some(&format!("you sent {}", values.join(" "))))
        .unwrap();
    for value in values {
        let name = format!("X-Echo-{value}");
        head.append_header(name.clone(), "1").unwrap();
        head.append_header(name, "2").unwrap();
        head.append_header("x-plain", format!("<{value}>")).unwrap();
    }
    head
}

#[test]
fn a_value_in_a_name_or_the_reason_phrase_reaches_nobody() {
    let values = [VALUE, "another+one_5678"];
    for used in [&values[..1], &values[..]] {
        for status in [103, 200, 299] {
            let (mut context, credentials) = context(used, true);
            let mut head = echo(status, used);
            mask_head(&mut head, &mut context, &credentials).unwrap();
            assert_eq!(
                head.get_reason_phrase(),
                StatusCode::from_u16(status).unwrap().canonical_reason()
            );
            let names: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
            assert_eq!(names, ["x-plain"], "{status}");
            for (plain, value) in head.headers.get_all("x-plain").iter().zip(used) {
                assert_eq!(*plain, format!("<{}>", "*".repeat(value.len())));
            }
        }
    }
}

#[test]
fn a_value_in_the_name_of_a_trailer_reaches_nobody() {
    let (mut context, credentials) = context(&[VALUE], true);
    mask_head(&mut echo(200, &[]), &mut context, &credentials).unwrap();
    let mut trailers = echo(200, &[VALUE]).headers.clone();
    assert!(mask_trailers(&mut trailers, &mut context).is_none());
    let left: Vec<_> = trailers.iter().collect();
    let masked = HeaderValue::from_str(&format!("<{}>", "*".repeat(VALUE.len()))).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0.as_str(), left[0].1), ("x-plain", &masked));
    // The header, once for all its copies, and the value in the other one.
    assert_eq!(context.masking.unwrap().redactor.count(), 2);
}

#[test]
fn an_answer_that_is_not_masked_keeps_its_names() {
    for (values, redact) in [(&[VALUE][..], false), (&[], true)] {
        let (mut context, credentials) = context(values, redact);
        let mut head = echo(200, &[VALUE]);
        head.append_header("alt-svc", "h3=\":443\"").unwrap();
        mask_head(&mut head, &mut context, &credentials).unwrap();
        assert_eq!(
            head.get_reason_phrase(),
            Some(&*format!("you sent {VALUE}"))
        );
        assert_eq!(head.headers.len(), 3);
        assert!(context.masking.is_none());
    }
}
