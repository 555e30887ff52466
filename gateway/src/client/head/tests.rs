use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Head, Code> {
    parse(Bytes::copy_from_slice(text.as_bytes()))
}

fn accepted(text: &str) -> Head {
    read(text).unwrap_or_else(|code| panic!("{code} for {text:?}"))
}

#[test]
fn plain_heads_are_read() {
    let head = accepted("GET /a?b=%20c HTTP/1.1\r\nHost: x.test\r\nX-One:  two \t\r\n\r\n");
    assert_eq!((head.method(), head.target()), ("GET", "/a?b=%20c"));
    assert_eq!(head.host(), Some("x.test"));
    assert_eq!(head.values("x-one").next(), Some(&b"two"[..]));
    assert!(head.body().is_empty() && head.keeps_alive() && !head.upgrades());

    let post = accepted("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n");
    assert_eq!(post.body(), Body::Length(12));
    let chunks = accepted("POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: Chunked\r\n\r\n");
    assert_eq!(chunks.body(), Body::Chunked);
    assert!(!accepted("GET / HTTP/1.0\r\n\r\n").keeps_alive());
    assert!(!accepted("GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n").keeps_alive());
    accepted("CONNECT x.test:443 HTTP/1.1\r\n\r\n");
    accepted("GET / HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n");
}

#[test]
fn ambiguous_heads_are_refused() {
    for text in [
        // Framing.
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        // Lines.
        "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        // Names and values.
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX(y): z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\x7fb\r\n\r\n",
        // Host.
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
        "GET / HTTP/1.1\r\nAccept: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        // The request line.
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /<a> HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /#f HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: x\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET / http/1.1\r\nHost: x\r\n\r\n",
        "GET /\r\nHost: x\r\n\r\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        " / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        assert_eq!(read(text), Err(Code::RequestMalformed), "{text:?}");
    }
}

#[test]
fn too_many_headers_are_refused() {
    let mut text = String::from("GET / HTTP/1.1\r\nHost: x\r\n");
    for _ in 0..HEADERS_MAX {
        text.push_str("A: b\r\n");
    }
    text.push_str("\r\n");
    assert_eq!(read(&text), Err(Code::HeadTooLarge));
}

#[test]
fn origin_form_drops_what_was_for_this_proxy() {
    let head = accepted(
        "GET http://x.test/p HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic abc\r\nProxy-Connection: close\r\nA: b\r\n\r\n",
    );
    assert_eq!(
        head.origin_form("x.test", "/p", |_, _| false),
        &b"GET /p HTTP/1.1\r\nHost: x.test\r\nA: b\r\n\r\n"[..]
    );
}

#[test]
fn only_a_websocket_is_an_upgrade() {
    let websocket = "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let head = accepted(websocket);
    assert!(head.upgrades() && !head.upgrades_oddly());
    let written = head.origin_form("x", "/", |_, _| false).freeze();
    assert!(parse(written).unwrap().upgrades());
    for (from, to) in [
        ("WebSocket", "h2c"),
        ("WebSocket", "websocket, h2c"),
        ("WebSocket", "websocket\r\nUpgrade: h2c"),
        ("GET", "POST"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("Host: x", "Host: x\r\nContent-Length: 5"),
        ("Host: x", "Host: x\r\nTransfer-Encoding: chunked"),
    ] {
        let Ok(head) = read(&websocket.replace(from, to)) else {
            continue;
        };
        assert!(!head.upgrades() && head.upgrades_oddly(), "{to}");
        let written = parse(head.origin_form("x", "/", |_, _| false).freeze()).unwrap();
        assert_eq!(written.values("upgrade").count(), 0, "{to}");
        assert_eq!(written.body(), head.body());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_what_is_accepted_has_one_host(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        bytes.extend_from_slice(b"\r\n\r\n");
        if let Ok(head) = parse(Bytes::from(bytes)) {
            prop_assert!(head.values("host").count() <= 1);
        }
    }

    #[test]
    fn mutations_of_a_good_head_never_smuggle_framing(at in 0usize..90, byte in any::<u8>()) {
        let mut bytes = b"POST /path HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\nTransfer-Encodin: chunked\r\n\r\n".to_vec();
        if let Some(found) = bytes.get_mut(at) {
            *found = byte;
        }
        if let Ok(head) = parse(Bytes::from(bytes)) {
            let lengths = head.values("content-length").count();
            let codings = head.values("transfer-encoding").count();
            prop_assert!(lengths + codings <= 1);
        }
    }
}
