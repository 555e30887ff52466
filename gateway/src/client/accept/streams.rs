//! HTTP/2 to the proxy itself: each CONNECT stream is a tunnel of its own (RFC 9113, 8.5).
//!
//! One connection may carry tunnels of several sessions. So who calls is asked on every stream, each tunnel counts as a
//! connection of its session, and what ends one resets its stream and leaves the others alone.
//!
//! Bounds: streams at once, what of a stream waits to be read or sent, control frames and resets (the meter of
//! [`Tunnel`]), idleness. The connection's window holds the windows of 256 streams, so that a tunnel which is not read
//! holds up no other, unless more are allowed and that many are not read.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::Request;
use http::request::Parts;
use pingora_core::server::ShutdownWatch;
use sortie_proto::code::Code;

use super::super::head::METHOD_BYTES_MAX;
use super::super::requests::{Active, gather};
use super::super::transport::line::Line;
use super::super::transport::stream::{H2Stream, Reset};
use super::super::transport::{Origin, Tunnel};
use super::{Behind, Frontend, Refusal};
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
    tunnel.meter(limits.streams_max);
    let cork = tunnel.cork();
    let handshake = options(limits.streams_max, limits.head_bytes_max).handshake(*tunnel);
    let Ok(Ok(mut connection)) = tokio::time::timeout(limits.handshake_deadline, handshake).await
    else {
        let _decision = frontend.behind.refused(nobody(Code::RequestMalformed));
        return;
    };
    let active = Arc::new(AtomicUsize::new(0));
    let mut stopping = shutdown.clone();
    let (mut stopped, mut ending) = (false, false);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop), if !stopped => {
                connection.graceful_shutdown();
                stopped = true;
                continue;
            }
            accepted = gather(poll_fn(|cx| connection.poll_accept(cx)), &cork, &active) => accepted,
            () = tokio::time::sleep(limits.idle) => {
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
        match accepted {
            Some(Ok((request, respond))) => start(&shared, request, respond, &active),
            // The client went away, or broke the protocol.
            Some(Err(_)) | None => return,
        }
    }
}

/// What a client may do on a connection.
fn options(streams: u32, head_bytes: usize) -> Builder {
    let connection = STREAM_BYTES.saturating_mul(streams);
    let mut options = Builder::new();
    options
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BYTES)
        .max_local_error_reset_streams(Some(BROKEN_STREAMS_MAX))
        .initial_window_size(STREAM_BYTES)
        .initial_connection_window_size(connection.min(CONNECTION_BYTES_MAX));
    options
}

/// Serves a stream, in a task of its own.
fn start<B: Behind>(
    shared: &Arc<Shared<B>>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    active: &Arc<AtomicUsize>,
) {
    let running = Active::count(active);
    let shared = shared.clone();
    drop(tasks::spawn("tunnel", async move {
        let _running = running;
        Box::pin(shared.serve(request, respond)).await;
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
    async fn serve(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let frontend = &self.frontend;
        let (head, received) = request.into_parts();
        let method = head.method.as_str();
        let method = if method.len() > METHOD_BYTES_MAX {
            ""
        } else {
            method
        };
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
                return self.refuse(&mut respond, refusal);
            }
        };
        if super::is_probe(method, head.uri.path()) {
            // Fails only on a stream that the client has given up.
            let _sent = respond.send_response(held(), true);
            return;
        }
        let reset = Arc::new(Reset::default());
        let opened = match authority(&head) {
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
                return self.refuse(&mut respond, refusal);
            }
        };
        // An error says that the client has given the stream up.
        let Ok(sending) = respond.send_response(http::Response::new(()), false) else {
            return;
        };
        let unread = frontend.limits.write_timeout;
        let stream = H2Stream::new(reset, (sending, received), unread);
        let tunnel = Box::new(Tunnel::stream_of(&self.origin, stream));
        super::enter(frontend, tunnel, caller, opened, &self.shutdown).await;
    }

    /// Answers on the stream; the connection goes on.
    fn refuse(&self, respond: &mut SendResponse<Bytes>, refusal: Refusal<'_>) {
        let decision = self.frontend.behind.refused(refusal);
        let answer = Answer::new(refusal.code, Some(decision), Place::Proxy);
        let bare = refusal.method == "HEAD";
        // Both fail only on a stream that the client has given up.
        if let Some(head) = answer.to_h2()
            && let Ok(mut sending) = respond.send_response(head, bare)
            && !bare
        {
            let _sent = sending.send_data(answer.body().clone(), true);
        }
    }
}

/// The answer to who asks whether a session holds, where it does.
fn held() -> http::Response<()> {
    let mut answer = http::Response::new(());
    *answer.status_mut() = http::StatusCode::NO_CONTENT;
    answer
}

/// The authority of a CONNECT.
///
/// # Errors
/// `connect_only` for any other request; `request_malformed` for a CONNECT with content; `target_invalid`.
fn authority(head: &Parts) -> Result<&str> {
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
