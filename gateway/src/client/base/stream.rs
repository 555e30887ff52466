//! A request in the base-URL form on a stream of HTTP/2, whose connection may carry tunnels, and other sessions' requests.
//!
//! **Invariants.** As in the form over HTTP/1. What ends the session ends the stream and no other: Pingora's proxy is not
//! asked, it is dropped, so that a stream on which nothing moves ends too.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HOST, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::RequestHeader;
use sortie_proto::code::Code;

use super::super::accept::streams::recorded;
use super::super::transport::carrying;
use super::super::transport::line::Line;
use super::{Asked, Behind, Frontend, KEY_HEADERS, Opened, Refused, is_token, open};
use crate::error::Result;

/// Serves a stream on which a request in this form came, in TLS.
pub(in super::super) async fn serve<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut stream: HttpSession,
    source: IpAddr,
    shutdown: &ShutdownWatch,
) {
    // Whoever ends it is heard below: the list of live connections only has to know that it is there.
    let line = Line::Stream(Arc::default());
    let head = stream.req_header();
    let method = head.method.clone();
    let target = String::from_utf8_lossy(head.raw_path()).into_owned();
    let asked = Asked {
        target: &target,
        keys: keys(head),
        source,
        sealed: true,
    };
    let opened = match open(frontend, &asked, &line).await {
        Ok(opened) => match write(stream.req_header_mut(), &opened) {
            Ok(()) => Ok(opened),
            Err(error) => Err(Refused {
                caller: Some(opened.caller),
                code: error.code(),
            }),
        },
        Err(refused) => Err(refused),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(refused) => {
            let answer = refused.answer(frontend, recorded(&method));
            // It fails only on a stream that the client has given up, or does not read.
            return drop(answer.send_on(&mut stream).await);
        }
    };
    let app = frontend.behind.app(&opened.caller).clone();
    let (inbound, registered) = opened.enter();
    let Some(digest) = stream.digest_mut() else {
        // The digest is this stream's own, so that it can be changed; without what rides on it nothing is served.
        return tracing::error!("a stream shares what it knows of its connection");
    };
    digest.proxy_digest = carrying(inbound);
    let mut session = ServerSession::new_http2(stream);
    session.set_write_timeout(Some(frontend.limits.write_timeout));
    tokio::select! {
        _never = Box::pin(app.process_new_http(session, shutdown)) => {}
        () = registered.cut() => {
            if let Some(code) = registered.lease().cut() {
                frontend.metrics.refused(code);
            }
        }
    }
}

/// What stands where keys of APIs do.
fn keys(head: &RequestHeader) -> Vec<&[u8]> {
    KEY_HEADERS
        .into_iter()
        .flat_map(|name| head.headers.get_all(name))
        .map(HeaderValue::as_bytes)
        .collect()
}

/// Writes the head for the service's own host, without what was for this port: the token, and what is said to a proxy.
fn write(head: &mut RequestHeader, opened: &Opened<'_>) -> Result<()> {
    let path = PathAndQuery::try_from(&*opened.form.path).or(Err(Code::TargetInvalid))?;
    head.set_uri(Uri::from(path));
    let ours = |name: &HeaderName, value: &HeaderValue| {
        is_token(name.as_ref(), value.as_bytes()) || name.as_str().starts_with("proxy-")
    };
    let found = head
        .headers
        .iter()
        .filter(|(name, value)| ours(name, value));
    let names: Vec<_> = found.map(|(name, _)| name.clone()).collect();
    for name in names {
        let values = head.headers.get_all(&name).iter();
        let kept: Vec<_> = values
            .filter(|value| !ours(&name, value))
            .cloned()
            .collect();
        let _removed = head.remove_header(&name);
        for value in kept {
            head.append_header(name.clone(), value)
                .or(Err(Code::Internal))?;
        }
    }
    head.insert_header(HOST, opened.named.target.authority())
        .or(Err(Code::Internal))?;
    Ok(())
}

#[cfg(test)]
mod tests;
