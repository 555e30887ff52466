use super::*;

fn said(stdout: &str, stderr: &str) -> Ended {
    Ended {
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        is_late: false,
    }
}

#[test]
fn a_line_of_ours_is_read() {
    let reached = |status, is_marked| Outcome::Reached { status, is_marked };
    for (text, outcome) in [
        ("reached 403 Date,X-Sortie-Code\n", reached(403, true)),
        ("noise\nreached 200 date,server\n", reached(200, false)),
        ("reached 204 \n", reached(204, false)),
        ("absent\n", Outcome::Absent),
    ] {
        assert_eq!(line(&said(text, "")), outcome, "{text}");
    }
}

#[test]
fn headers_are_found_among_other_things() {
    let reached = |status, is_marked| Outcome::Reached { status, is_marked };
    let curl = "HTTP/2 403 \r\ncontent-type: text/plain\r\nx-sortie-code: host_unmatched\r\n\r\n";
    assert_eq!(headers(&said(curl, "")), reached(403, true));
    let git = "17:00 http.c:1: <= Recv header: HTTP/1.1 200 Connection Established\n\
               17:00 http.c:1: <= Recv header: HTTP/2 403\n\
               17:00 http.c:1: <= Recv header: x-sortie-code: host_unmatched\n\
               fatal: unable to access 'https://x/': The requested URL returned error: 403\n";
    assert_eq!(headers(&said("", git)), reached(403, true));
    let untrusted = "17:00 http.c:1: <= Recv header: HTTP/1.1 200 Connection Established\n\
                     fatal: unable to access: server certificate verification failed. CAfile: none\n";
    assert_eq!(headers(&said("", untrusted)), Outcome::Failed(Why::Trust));
    let wget = "  HTTP/1.1 200 OK\n  Server: x\n";
    assert_eq!(headers(&said("", wget)), reached(200, false));
}

#[test]
fn cargo_tells_what_it_did_not_expect() {
    let refused = "error: download of config.json failed\n\nCaused by:\n  failed to get successful HTTP response \
                   from `https://sortie.internal/config.json` (127.0.0.1), got 403\n  body:\n  \
                   {\"code\":\"host_unmatched\",\"decision_id\":\"dec_0\"}";
    for (text, outcome) in [
        (
            refused,
            Outcome::Reached {
                status: 403,
                is_marked: true,
            },
        ),
        (
            "error: config.json not found in registry",
            Outcome::Reached {
                status: 404,
                is_marked: true,
            },
        ),
        (
            "error: missing field `dl` at line 15 column 1",
            Outcome::Reached {
                status: 200,
                is_marked: false,
            },
        ),
        (
            "error: download of config.json failed\n [35] SSL connect error (peer certificate)",
            Outcome::Failed(Why::Trust),
        ),
    ] {
        assert_eq!(headers(&said("", text)), outcome, "{text}");
    }
}

#[test]
fn failures_are_told_apart() {
    for (text, why) in [
        (
            "curl: (6) Could not resolve host: sortie.internal",
            Why::Past,
        ),
        (
            "curl: (5) Could not resolve proxy: old.example",
            Why::Connect,
        ),
        (
            "curl: (7) Failed to connect to 127.0.0.1 port 1: Connection refused",
            Why::Connect,
        ),
        (
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            Why::Trust,
        ),
        (
            "curl: (56) CONNECT tunnel failed, response 407",
            Why::Credentials,
        ),
        (
            "TypeError: fetch failed Error: getaddrinfo ENOTFOUND sortie.internal ENOTFOUND",
            Why::Past,
        ),
        (
            "Get \"https://x/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Why::Trust,
        ),
        (
            "Get \"https://x/\": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused",
            Why::Connect,
        ),
        (
            "Traceback (most recent call last)\n  File \"ssl.py\"\nurllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
            Why::Past,
        ),
        (
            "javax.net.ssl.SSLHandshakeException: PKIX path building failed: unable to find valid certification path",
            Why::Trust,
        ),
        (
            "java.net.ConnectException\njava.nio.channels.UnresolvedAddressException",
            Why::Past,
        ),
        ("what is this", Why::Other),
    ] {
        assert_eq!(line(&said("", text)), Outcome::Failed(why), "{text}");
    }
    let mut late = said("", "x509");
    late.is_late = true;
    assert_eq!(line(&late), Outcome::Failed(Why::Late));
}

#[test]
fn the_last_words_are_one_line() {
    let git = "17:00 http.c:1: == Info: Closing\nfatal: unable to access\n\n";
    assert_eq!(last_words(&said("", git)), "fatal: unable to access");
    assert_eq!(last_words(&said("", "")), "it said nothing");
}

#[test]
fn old_versions_of_node_are_known() {
    for (version, is_old) in [
        ("v20.20.2", true),
        ("v22.20.9", true),
        ("v22.21.0", false),
        ("v23.11.0", true),
        ("v24.4.1", true),
        ("v24.5.0", false),
        ("v26.0.0", false),
        ("nonsense", true),
    ] {
        assert_eq!(node_is_too_old(version), is_old, "{version}");
    }
}

#[test]
fn words_of_its_own_tell_the_status() {
    let reached = |status| Outcome::Reached {
        status,
        is_marked: status == 404,
    };
    let npm = "npm notice PING https://sortie.internal/doctor/\n\
               npm http fetch GET 404 https://sortie.internal/doctor/-/ping 722ms\nnpm error code E404\n";
    let failed = "npm http fetch GET https://sortie.internal/doctor/-/ping attempt 1 failed with ENOTFOUND\n\
                  npm error code ENOTFOUND\n";
    let aws = "\nAn error occurred (404) when calling the ListBuckets operation: Not Found\n";
    let aws_fails =
        "\nSSL validation failed for https://sortie.internal/ [SSL: CERTIFICATE_VERIFY_FAILED]\n";
    let uv =
        "error: No solution found\n  cause: sortie-doctor was not found in the package registry\n";
    let elsewhere = "error: HTTP status client error (403 Forbidden) for url (https://x/)";
    for (text, outcome) in [
        (npm, reached(404)),
        (failed, Outcome::Failed(Why::Past)),
        (aws, reached(404)),
        (aws_fails, Outcome::Failed(Why::Trust)),
        (uv, reached(404)),
        (elsewhere, reached(403)),
        ("An error occurred (502) when calling", reached(502)),
    ] {
        assert_eq!(words_of_its_own(&said("", text)), outcome, "{text}");
    }
}
