use std::time::Duration;

use super::*;
use crate::error::{Subject, Unit};

fn wire(code: Code, place: Place) -> String {
    let answer = Answer::new(code, Some(DecisionId::generate()), place);
    String::from_utf8(answer.to_wire(Connection::Keep, "GET")).unwrap()
}

#[test]
fn a_407_has_a_challenge_and_its_code_in_the_reason() {
    let text = wire(Code::TokenExpired, Place::Proxy);
    assert!(text.starts_with("HTTP/1.1 407 Proxy Authentication Required (token_expired)\r\n"));
    assert!(text.contains("Proxy-Authenticate: Basic realm=\"sortie\"\r\n"));
    assert!(text.contains("Connection: keep-alive\r\n"));
}

#[test]
fn inside_a_tunnel_there_is_no_407() {
    let text = wire(Code::SessionRevoked, Place::Tunnel);
    assert!(text.starts_with("HTTP/1.1 403 "));
    assert!(!text.contains("Proxy-Authenticate"));
    assert!(text.contains("\"code\":\"session_revoked\""));
}

#[test]
fn a_client_that_takes_us_for_the_api_is_asked_for_a_key_and_not_for_a_proxy_s() {
    for code in [Code::KeyMissing, Code::TokenExpired] {
        let text = wire(code, Place::Base);
        assert!(text.starts_with("HTTP/1.1 401 Unauthorized ("), "{text}");
        assert!(text.contains("WWW-Authenticate: Bearer realm=\"sortie\"\r\n"));
        assert!(!text.contains("Proxy-Authenticate"));
    }
    assert!(wire(Code::RoleMissing, Place::Base).starts_with("HTTP/1.1 403 "));
}

#[test]
fn every_code_has_a_well_formed_answer() {
    for &code in Code::ALL {
        let text = wire(code, Place::Proxy);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = format!("Content-Length: {}", body.len());
        assert!(head.contains(&length), "{code}");
        let json: Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["code"], code.name());
        assert!(json["decision_id"].as_str().unwrap().starts_with("dec_"));
    }
}

#[test]
fn what_may_pass_by_itself_says_when_to_try_again() {
    assert!(wire(Code::StaleLease, Place::Tunnel).contains("Retry-After: 5\r\n"));
    assert!(!wire(Code::HostUnmatched, Place::Tunnel).contains("Retry-After"));
}

#[test]
fn a_reached_limit_is_named_with_whole_seconds_until_there_is_room() {
    for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (12_345, 13)] {
        let exceeded = Exceeded {
            of: Subject::Vault,
            unit: Unit::Bytes,
            retry_after: Duration::from_millis(millis),
        };
        let answer = Answer::new(Code::RateLimited, None, Place::Tunnel).naming(exceeded);
        let text = String::from_utf8(answer.to_wire(Connection::Keep, "GET")).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let retry: Vec<_> = head
            .lines()
            .filter(|line| line.starts_with("Retry-After"))
            .collect();
        assert_eq!(retry, [format!("Retry-After: {seconds}")]);
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        let json: Value = serde_json::from_str(body).unwrap();
        let limit =
            serde_json::json!({"of": "vault", "unit": "bytes", "retry_after_seconds": seconds});
        assert_eq!(
            (&json["code"], &json["limit"]),
            (&"rate_limited".into(), &limit)
        );
    }
}
