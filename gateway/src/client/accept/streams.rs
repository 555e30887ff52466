//! HTTP/2 to the proxy itself: each CONNECT stream is a tunnel of its own (RFC 9113, 8.5), and each request to a base URL
//! is a request ([`base`]).
//!
//! One connection may carry tunnels and requests of several sessions. So who calls is asked on every stream, each one
//! counts as a connection of its session, and what ends one resets its stream and leaves the others alone.
//!
//! Bounds: streams at once, what of a stream waits to be read or sent, control frames and resets (the meter of
//! [`Tunnel`]), idleness. The connection's window holds the windows of 256 streams, so that a tunnel which is not read
//! holds up no other, unless more are allowed and that many are not read.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora_core::protocols::http::v2::server::{
    self as h2_server, H2Accept, H2Options, HttpSession,
};
use pingora_core::server::ShutdownWatch;
use pingora_http::{RequestHeader, ResponseHeader};
use sortie_proto::code::Code;
use tokio::time::Instant;

use super::super::head::METHOD_BYTES_MAX;
use super::super::idle::Idle;
use super::super::requests::{Active, MALFORMED_STREAMS_MAX, digest, gather, may_end};
use super::super::transport::line::Line;
use super::super::transport::stream::{H2Stream, Reset};
use super::super::transport::{Origin, Tunnel};
use super::{Behind, Frontend, Limits, Refusal, base};
use crate::clock;
use crate::error::Result;
use crate::reply::{Answer, Place};
use crate::tasks;

/// What of a stream waits to be read.
const STREAM_BYTES: u32 = 64 * 1024;
/// The most that waits to be read of all streams of a connection.
const CONNECTION_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// What of a stream waits to be sent.
const SEND_BYTES: usize = 32 * 1024;
/// The most streams that may break the protocol before the connection ends.
const BROKEN_STREAMS_MAX: usize = 64;

/// What every stream of a connection needs.
struct Shared<B: Behind> {
    frontend: Arc<Frontend<B>>,
    origin: Origin,
    source: IpAddr,
    shutdown: ShutdownWatch,
}

/// Serves a connection that agreed on HTTP/2, until the client leaves, nothing runs on it for too long, or the process
/// stops.
pub(super) async fn serve<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    source: IpAddr,
    shutdown: &ShutdownWatch,
) {
    let limits = &frontend.limits;
    let shared = Arc::new(Shared {
        frontend: frontend.clone(),
        origin: tunnel.origin(),
        source,
        shutdown: shutdown.clone(),
    });
    let digest = digest(&tunnel);
    tunnel.meter(limits.streams_max);
    let cork = tunnel.cork();
    let handshake = h2_server::handshake(tunnel, Some(options(limits)));
    let Ok(Ok(mut connection)) = tokio::time::timeout(limits.handshake_deadline, handshake).await
    else {
        let _decision = frontend.behind.refused(nobody(Code::RequestMalformed));
        return;
    };
    let (opened, active) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let (mut stopping, mut idle) = (shutdown.clone(), Idle::new(limits.idle));
    let (mut malformed, mut stopped, mut ending) = (0, false, false);
    loop {
        // Each stream has one of its own: what rides on it is the stream's.
        let digest = Arc::new(digest.clone());
        let accepted = tokio::select! {
            biased;
            () = may_end(opened, &mut stopping), if !stopped => {
                connection.graceful_shutdown();
                stopped = true;
                continue;
            }
            accepted = gather(
                HttpSession::from_h2_conn(&mut connection, digest),
                &cork,
                &active,
            ) => accepted,
            () = idle.over() => {
                if active.load(Ordering::Acquire) > 0 {
                    continue;
                }
                if ending {
                    return;
                }
                // A stream that is under way to here is still served.
                connection.graceful_shutdown();
                ending = true;
                continue;
            }
        };
        idle.touch();
        match accepted {
            Ok(Some(H2Accept::Session(stream))) => start(&shared, stream, &active),
            Ok(Some(H2Accept::Rejected)) => {
                malformed += 1;
                let _decision = frontend.behind.refused(nobody(Code::RequestMalformed));
                if malformed >= MALFORMED_STREAMS_MAX {
                    return;
                }
            }
            // Pingora's error is dropped unread: the client went away, or broke the protocol.
            Ok(None) | Err(_) => return,
        }
    }
}

/// What a client may do on a connection.
fn options(limits: &Limits) -> H2Options {
    let streams = limits.streams_max;
    let connection = STREAM_BYTES.saturating_mul(streams);
    let mut options = h2_server::default_h2_options();
    options
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BYTES)
        .max_local_error_reset_streams(Some(BROKEN_STREAMS_MAX))
        .initial_window_size(STREAM_BYTES)
        .initial_connection_window_size(connection.min(CONNECTION_BYTES_MAX));
    options
}

/// Serves a stream, in a task of its own.
fn start<B: Behind>(shared: &Arc<Shared<B>>, mut stream: HttpSession, active: &Arc<AtomicUsize>) {
    let running = Active::count(active);
    let shared = shared.clone();
    stream.set_write_timeout(Some(shared.frontend.limits.write_timeout));
    drop(tasks::spawn("tunnel", async move {
        let _running = running;
        if base::is_asked(stream.req_header()) {
            let Shared {
                frontend, shutdown, ..
            } = &*shared;
            Box::pin(base::stream::serve(
                frontend,
                stream,
                shared.source,
                shutdown,
            ))
            .await;
        } else {
            Box::pin(shared.tunnel(stream)).await;
        }
    }));
}

const fn nobody(code: Code) -> Refusal<'static> {
    Refusal {
        caller: None,
        target: None,
        method: "",
        code,
    }
}

impl<B: Behind> Shared<B> {
    /// Serves whoever takes this port for a proxy.
    async fn tunnel(&self, stream: HttpSession) {
        let frontend = &self.frontend;
        let head = stream.req_header();
        let method = head.method.clone();
        let method = recorded(&method);
        let values = head.headers.get_all("proxy-authorization").iter();
        let caller = frontend.authenticator.authenticate(
            values.map(http::HeaderValue::as_bytes),
            self.source,
            clock::seconds(),
        );
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => {
                let refusal = Refusal {
                    method,
                    ..nobody(error.code())
                };
                return self.refuse(stream, refusal).await;
            }
        };
        if super::is_probe(method, head.uri.path()) {
            return hold(stream);
        }
        let reset = Arc::new(Reset::default());
        let opened = match authority(head) {
            Ok(authority) => {
                let line = Line::Stream(reset.clone());
                super::open(frontend, &caller, authority, &line).await
            }
            Err(error) => Err(error),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let refusal = Refusal {
                    caller: Some(&caller),
                    method,
                    ..nobody(error.code())
                };
                return self.refuse(stream, refusal).await;
            }
        };
        let unread = frontend.limits.write_timeout;
        let Some(stream) = H2Stream::open(reset, stream, unread) else {
            return;
        };
        let tunnel = Box::new(Tunnel::stream_of(&self.origin, stream));
        super::enter(frontend, tunnel, caller, opened, &self.shutdown).await;
    }

    /// Answers on the stream; the connection goes on.
    async fn refuse(&self, mut stream: HttpSession, refusal: Refusal<'_>) {
        let decision = self.frontend.behind.refused(refusal);
        let answer = Answer::new(refusal.code, Some(decision), Place::Proxy);
        // It fails only on a stream that the client has given up, or does not read.
        drop(answer.send_on(&mut stream).await);
    }
}

/// The method as it may be recorded.
pub(in super::super) fn recorded(method: &http::Method) -> &str {
    let method = method.as_str();
    if method.len() > METHOD_BYTES_MAX {
        ""
    } else {
        method
    }
}

/// Answers to who asks whether a session holds, where it does.
fn hold(mut stream: HttpSession) {
    if let Ok(answer) = ResponseHeader::build(204, Some(1)) {
        // It fails only on a stream that the client has given up.
        drop(stream.write_response_header(Box::new(answer), true));
    }
}

/// The authority of a CONNECT.
///
/// # Errors
/// `connect_only` for any other request; `request_malformed` for a CONNECT with content; `target_invalid`.
fn authority(head: &RequestHeader) -> Result<&str> {
    if head.method != http::Method::CONNECT {
        return Err(Code::ConnectOnly.into());
    }
    let length = head.headers.get(http::header::CONTENT_LENGTH);
    if length.is_some_and(|length| length.as_bytes() != b"0") {
        return Err(Code::RequestMalformed.into());
    }
    let authority = head.uri.authority().ok_or(Code::TargetInvalid)?;
    Ok(authority.as_str())
}
