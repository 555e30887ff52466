use bytes::Bytes;

use super::super::head;
use super::*;

#[test]
fn a_target_is_read_into_its_parts() {
    let read =
        |target| Form::read(target).map(|form| (form.prefix, form.vault, form.service, form.path));
    let check = |target, prefix, path: &str| {
        let expect = Some((prefix, "main", "api", Cow::from(path.to_owned())));
        assert_eq!(read(target), expect, "{target}");
    };
    check("/r/main/api/v1/x?y=/z", "/r/main/api", "/v1/x?y=/z");
    check("/r/main/api/", "/r/main/api", "/");
    check("/r/main/api", "/r/main/api", "/");
    check("/r/main/api?a=b/c", "/r/main/api", "/?a=b/c");
    check("/r/main/api//x", "/r/main/api", "//x");
    for target in [
        "/r/",
        "/r/main",
        "/r/main/",
        "/r//api",
        "/r/main?/api",
        "/r",
        "/x/main/api",
    ] {
        assert_eq!(read(target), None, "{target}");
    }
}

#[test]
fn every_header_with_a_token_stays_here_and_no_other() {
    let request = "POST /r/main/api/x HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer sortie_ses_a\r\n\
        X-API-Key: sortie_ses_a\r\napi-key: the service's own\r\nX-Other: sortie_ses_a\r\nProxy-Connection: x\r\n\
        Content-Length: 2\r\n\r\n";
    let head = head::parse(Bytes::from_static(request.as_bytes())).unwrap();
    let written = head.origin_form("a.test", "/x", is_token);
    assert_eq!(
        written,
        "POST /x HTTP/1.1\r\nHost: a.test\r\napi-key: the service's own\r\nContent-Length: 2\r\n\r\n"
    );
    for (value, expect) in [
        ("Basic c29ydGllX3Nlc19hOg==", true),
        ("Basic eDpzb3J0aWVfc2VzX2E=", true),
        ("basic eDp5", false),
        ("Token sortie_ses_a", true),
        ("Digest x", false),
        ("bearer sortie_ses_a", true),
    ] {
        assert_eq!(
            is_token(b"authorization", value.as_bytes()),
            expect,
            "{value}"
        );
    }
}
