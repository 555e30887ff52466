use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora_error::{Error as PingoraError, ErrorType};

use super::*;
use crate::client::Inbound;
use crate::client::authenticate::Caller;
use crate::client::tunnels::Lease;
use crate::fixture;
use sortie_proto::vault::Vault;

fn handshake(headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/socket", None).unwrap();
    request.append_header("upgrade", "websocket").unwrap();
    for (name, value) in headers {
        request.append_header(*name, *value).unwrap();
    }
    request
}

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");

#[test]
fn a_handshake_is_whole_or_none() {
    let whole = handshake(&[KEY, VERSION]);
    assert!(is_asked(&whole) && is_handshake(&whole));
    let short = (KEY.0, "dGhlIHNhbXBsZQ==");
    let broken = (KEY.0, "not base64, but 24 long!");
    for headers in [
        &[KEY][..],
        &[VERSION],
        &[KEY, KEY, VERSION],
        &[KEY, VERSION, VERSION],
        &[short, VERSION],
        &[broken, VERSION],
        &[KEY, ("sec-websocket-version", "8")],
    ] {
        assert!(!is_handshake(&handshake(headers)), "{headers:?}");
    }
    let mut post = handshake(&[KEY, VERSION]);
    post.set_method(Method::POST);
    assert!(!is_handshake(&post));
    let mut old = handshake(&[KEY, VERSION]);
    old.set_version(Version::HTTP_10);
    assert!(!is_handshake(&old));
}

#[test]
fn only_a_switch_to_plain_websocket_frames_is_passed_on() {
    let answer = |headers: &[(&'static str, &str)]| {
        let mut answer = ResponseHeader::build(101, None).unwrap();
        for (name, value) in headers {
            answer.append_header(*name, *value).unwrap();
        }
        check_switch(&answer).map_err(|error| error.code())
    };
    assert_eq!(answer(&[("upgrade", "WebSocket")]), Ok(()));
    assert_eq!(answer(&[]), Err(Code::UpstreamProtocol));
    assert_eq!(answer(&[("upgrade", "h2c")]), Err(Code::UpstreamProtocol));
    let extended = [
        ("upgrade", "websocket"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    assert_eq!(answer(&extended), Err(Code::ResponseEncoded));
}

#[test]
fn an_ending_has_the_code_of_what_cut_it() {
    let mut vault = fixture::vault(&fixture::tenant(), vec![]);
    let mut claims = fixture::session(&mut vault);
    claims.exp = i64::MAX;
    let state = State::new();
    state.set_epoch(claims.epoch);
    let settings = vault.vault.clone();
    let mut context = |exp: i64, staleness: Option<Duration>| {
        claims.exp = exp;
        let lease = Lease::default();
        if let Some(staleness) = staleness {
            lease.bind(&Vault {
                staleness,
                ..settings.clone()
            });
        }
        Context {
            inbound: Some(Arc::new(Inbound {
                caller: Caller::for_test(claims.clone()),
                target: fixture::target("https://a.test/").0,
                tunnelled: true,
                agreed: true,
                known: true,
                refused: None,
                lease: Arc::new(lease),
                base: None,
                origin: OnceLock::new(),
            })),
            ..Context::default()
        }
    };
    let gone = PingoraError::new_down(ErrorType::ReadError);
    let silent = PingoraError::new_up(ErrorType::ReadTimedout);
    let free = context(i64::MAX, None);
    assert_eq!(ending(None, &free, &state), None);
    assert_eq!(ending(Some(&gone), &free, &state), None);
    assert_eq!(
        ending(Some(&silent), &free, &state),
        Some(Code::UpstreamTimeout)
    );
    // No lease holds before the first echo.
    let bound = context(i64::MAX, Some(Duration::from_secs(60)));
    assert_eq!(ending(Some(&gone), &bound, &state), Some(Code::StaleLease));
    let ended = context(1, Some(Duration::from_secs(60)));
    assert_eq!(
        ending(Some(&gone), &ended, &state),
        Some(Code::TokenExpired)
    );
    // What it was cut for stands, whatever holds by the time somebody asks.
    let lease = &free.inbound.as_ref().unwrap().lease;
    lease.was_cut(Code::StaleLease);
    lease.was_cut(Code::TokenExpired);
    assert_eq!(ending(Some(&gone), &free, &state), Some(Code::StaleLease));
}
