//! What must not reach an upstream (RFC 9110, 7.6.1).

use http::header::{self, HeaderName};
use http::{HeaderValue, Version};
use pingora_http::RequestHeader;

/// Removes what must not reach an upstream: hop-by-hop headers and those that `Connection` nominates, `Proxy-*`, `TE`
/// (but `te: trailers` stays towards HTTP/2), `Trailer`, `Via`, `Forwarded`, `X-Forwarded-*`. Joins split cookies.
///
/// It runs before injection, so that nobody can nominate what is injected. `Host`, `Content-Length` and
/// `Transfer-Encoding` are framing: Pingora writes them, and they cannot be nominated away. The headers of a WebSocket
/// upgrade stay.
pub fn strip(request: &mut RequestHeader) {
    let names: Vec<_> = request
        .headers
        .keys()
        .filter(|name| is_stripped(request, name))
        .cloned()
        .collect();
    let upgrade = request
        .headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let trailers = request.version == Version::HTTP_2
        && request
            .headers
            .get(header::TE)
            .is_some_and(|value| value == "trailers");
    for name in &names {
        while request.remove_header(name).is_some() {}
    }
    if upgrade {
        set(
            request,
            header::CONNECTION,
            HeaderValue::from_static("upgrade"),
        );
        set(
            request,
            header::UPGRADE,
            HeaderValue::from_static("websocket"),
        );
    }
    if trailers {
        set(request, header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(request);
}

/// Whether a header of the request as the agent sent it is one of those.
pub(super) fn is_stripped(request: &RequestHeader, name: &HeaderName) -> bool {
    is_ours(name) || is_nominated(request, name)
}

fn is_ours(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "via",
        "forwarded",
        "http2-settings",
    ];
    let name = name.as_str();
    NAMES.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-forwarded-")
}

fn is_nominated(request: &RequestHeader, name: &HeaderName) -> bool {
    let framing = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    !framing.contains(name)
        && request
            .headers
            .get_all(header::CONNECTION)
            .into_iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .any(|option| {
                option
                    .trim_ascii()
                    .eq_ignore_ascii_case(name.as_str().as_bytes())
            })
}

/// HTTP/2 may split cookies over fields; HTTP/1 has one field (RFC 9113, 8.2.3).
pub(super) fn join_cookies(request: &mut RequestHeader) {
    let cookies: Vec<_> = request
        .headers
        .get_all(header::COOKIE)
        .into_iter()
        .collect();
    if cookies.len() < 2 {
        return;
    }
    // Parts of header values with visible ASCII between them are a header value.
    let sensitive = cookies.iter().any(|cookie| cookie.is_sensitive());
    let cookies: Vec<_> = cookies.into_iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        joined.set_sensitive(sensitive);
        set(request, header::COOKIE, joined);
    }
}

fn set(request: &mut RequestHeader, name: HeaderName, value: HeaderValue) {
    request
        .insert_header(name, value)
        .expect("a name and a value that were parsed before");
}
