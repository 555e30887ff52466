use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;

use super::*;

/// What a client greets a host with.
fn greeting(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same in records of that many bytes (RFC 8446, 5.1).
fn in_records(greeting: &[u8], size: usize) -> Vec<u8> {
    let records = greeting[5..].chunks(size).map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// Reads what comes in pieces, from a client that then waits or goes.
async fn read_in_pieces(bytes: &[u8], size: usize) -> Result<Opening, Nameless> {
    let (mut client, mut relay) = tokio::io::duplex(size);
    let send = async {
        let sent = client.write_all(bytes).await;
        drop(client);
        sent
    };
    // A reader that has seen enough leaves the rest.
    let (_sent, read) = tokio::join!(send, async {
        let read = read(&mut relay).await;
        drop(relay);
        read
    });
    read
}

async fn check(bytes: &[u8], expect: Result<&str, Reason>) {
    for size in [64 * 1024, 700, 7, 1] {
        let read = read_in_pieces(bytes, size).await;
        if let Ok(opening) = &read {
            assert!(bytes.starts_with(&opening.bytes), "it is kept as it came");
        }
        let found = read
            .map(|opening| opening.name)
            .map_err(|(reason, _)| reason);
        assert_eq!(found, expect.map(str::to_owned), "in pieces of {size}");
    }
}

#[tokio::test]
async fn a_greeting_names_its_host_in_any_number_of_segments_and_records() {
    let whole = greeting("API.example.com");
    check(&whole, Ok("api.example.com")).await;
    check(&in_records(&whole, 100), Ok("api.example.com")).await;
    check(&in_records(&whole, 3), Ok("api.example.com")).await;
}

#[tokio::test]
async fn a_greeting_without_a_name_is_refused() {
    // An address is no server name (RFC 6066, 3), so that a client leaves it out.
    check(&greeting("192.0.2.7"), Err(Reason::Nameless)).await;
    check(&greeting("2001:db8::7"), Err(Reason::Nameless)).await;
}

#[tokio::test]
async fn a_head_names_its_host() {
    for (head, expect) in [
        (
            "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
            Ok("api.example.com"),
        ),
        (
            "GET / HTTP/1.1\r\nX: 1\r\nhost: API.example.com:8080\r\n\r\nbody",
            Ok("api.example.com"),
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
            Ok("api.example.com"),
        ),
        ("GET / HTTP/1.0\r\n\r\n", Err(Reason::Nameless)),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Err(Reason::Nameless)),
        (
            "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
            Err(Reason::Nameless),
        ),
        (
            "GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n",
            Err(Reason::Nameless),
        ),
        (
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            Err(Reason::Nameless),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a@b.test\r\n\r\n",
            Err(Reason::Nameless),
        ),
        (
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            Err(Reason::Unknown),
        ),
        (
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
            Err(Reason::Unknown),
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Reason::Unknown)),
        ("HELO there\r\n", Err(Reason::Unknown)),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n", Err(Reason::Silent)),
    ] {
        check(head.as_bytes(), expect).await;
    }
}

#[test]
fn a_long_head_is_parsed_when_it_may_be_whole_or_has_doubled() {
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(4000));
    let head = head.as_bytes();
    let (mut parsed, mut times) = (0, 0);
    for length in 1..=head.len() {
        if is_worth_parsing(&head[..length], (length - 1, parsed)) {
            (parsed, times) = (length, times + 1);
        }
    }
    assert_eq!(parsed, head.len(), "the end is seen");
    assert_eq!(times, SHORT + 3, "at 1024, at 2048, and at the end");
    let followed = format!("{}\n\r\n more", "x".repeat(SHORT));
    let fed = SHORT + 2;
    assert!(is_worth_parsing(followed.as_bytes(), (fed, fed)));
    let (before, _more) = followed.as_bytes().split_at(fed);
    assert!(!is_worth_parsing(before, (fed - 1, fed - 1)));
}

#[tokio::test]
async fn what_is_neither_is_refused_and_so_is_what_does_not_end() {
    check(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Err(Reason::Unknown)).await;
    check(b"", Err(Reason::Silent)).await;
    check(&greeting("api.example.com")[..60], Err(Reason::Silent)).await;
    // A record of another version, and one that holds something else than a greeting.
    check(
        b"\x16\x02\x00\x00\x05\x01\x00\x00\x01\x00",
        Err(Reason::Unknown),
    )
    .await;
    check(
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        Err(Reason::Unknown),
    )
    .await;
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
    let read = read_in_pieces(endless.as_bytes(), 4096).await;
    assert_eq!(read.unwrap_err().0, Reason::TooLong);
    // A greeting that says to be 16 MiB long.
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xFF, 0xFF, 0xFF];
    endless.resize(5 + 0x4000, 0);
    let endless = endless.repeat(5);
    let read = read_in_pieces(&endless, 4096).await;
    assert!(matches!(
        read.unwrap_err().0,
        Reason::TooLong | Reason::Unknown
    ));
}

#[test]
fn a_client_is_told_in_its_own_words() {
    assert_eq!(refusal(None, Reason::Unknown), b"");
    let alert = refusal(Some(Speech::Tls), Reason::Nameless);
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 112]);
    let answer = refusal(Some(Speech::Http), Reason::Refused("session_revoked"));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("\r\nX-Sortie-Code: session_revoked\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{head}"
    );
}
