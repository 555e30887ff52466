use super::super::finding::State;
use super::*;

fn named() -> Named {
    Named::parse("http://x:sortie_ses_a.b.c@127.0.0.1:7380").unwrap()
}

fn answer(status: u16, code: Option<Code>, is_marked: bool) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        body: hyper::body::Bytes::new(),
        code,
        is_marked,
        is_encrypted: true,
        date: None,
    }
}

/// The rows that are not as they should be, and whether programs are worth trying.
fn told(answer: &Answer, is_own: bool) -> (Vec<(String, State)>, bool) {
    let mut probe = Probe::default();
    answered(&mut probe, answer, &named(), is_own);
    let odd = probe.findings.into_iter();
    let odd = odd.filter(|finding| finding.state != State::Ok);
    (
        odd.map(|finding| (finding.check, finding.state)).collect(),
        probe.is_open,
    )
}

#[test]
fn an_answer_says_how_the_session_is() {
    let fault = |check: &str| vec![(check.to_owned(), State::Fault)];
    for (answer, is_own, rows, is_open) in [
        (answer(200, None, true), true, Vec::new(), true),
        (
            answer(403, Some(Code::HostUnmatched), true),
            true,
            Vec::new(),
            true,
        ),
        (
            answer(403, Some(Code::SessionRevoked), true),
            true,
            fault("session"),
            false,
        ),
        (
            answer(403, Some(Code::RoleMissing), true),
            true,
            fault("session"),
            false,
        ),
        (answer(407, None, false), true, fault("session"), false),
        (
            answer(503, Some(Code::StaleLease), true),
            true,
            fault("answer"),
            false,
        ),
        (answer(200, None, false), true, fault("answer"), true),
        (answer(200, None, false), false, Vec::new(), true),
        (
            answer(403, Some(Code::HostUnmatched), true),
            false,
            vec![("answer".to_owned(), State::Warning)],
            true,
        ),
    ] {
        assert_eq!(told(&answer, is_own), (rows, is_open), "{answer:?}");
    }
}

#[test]
fn brokered_hosts_are_read_from_the_gateways_page() {
    let page = br#"{"vaults":[{"services":[{"host":"a.example"},{"host":"*.b.example"},{"host":7}]},{"x":1}]}"#;
    let wanted = ["a.example", "*.b.example"].map(|host| HostPattern::parse(host).unwrap());
    assert_eq!(hosts(page), wanted);
    for odd in [&b""[..], b"[]", b"<html>", b"{\"vaults\":1}"] {
        assert!(hosts(odd).is_empty());
    }
}

#[test]
fn what_breaks_off_is_explained_with_a_fix() {
    let refused = |status, code| Broken::Refused {
        status: StatusCode::from_u16(status).unwrap(),
        code,
        is_marked: code.is_some(),
    };
    let relayed = |status| Broken::Refused {
        status: StatusCode::from_u16(status).unwrap(),
        code: None,
        is_marked: true,
    };
    for (broken, check) in [
        (
            Broken::Connect(std::io::ErrorKind::ConnectionRefused.into()),
            "gateway",
        ),
        (Broken::Late, "gateway"),
        (Broken::Speech("x".to_owned()), "gateway"),
        (refused(407, Some(Code::TokenExpired)), "session"),
        (refused(407, Some(Code::SessionRevoked)), "session"),
        (refused(407, None), "session"),
        (refused(502, None), "gateway"),
        (relayed(407), "session"),
        (relayed(502), "gateway"),
        (refused(429, Some(Code::TooMany)), "answer"),
        (
            Broken::Untrusted {
                error: "x".to_owned(),
                shown: Vec::new(),
            },
            "authority",
        ),
    ] {
        let rows = explain(broken, &named());
        let last = rows.last().unwrap();
        assert_eq!((last.check.as_str(), last.state), (check, State::Fault));
        assert!(!last.fix.is_empty() && !last.seen.contains("sortie_ses_a"));
    }
    let stale = untrusted("unknown issuer", Some(("Sortie ten_1".to_owned(), true)));
    assert!(stale.seen.contains("older than the authority"));
    let other = untrusted("unknown issuer", Some(("Corp".to_owned(), false)));
    assert!(other.seen.contains("Corp"));
}
