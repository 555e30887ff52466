//! The request loops: each HTTP/1 head is read strictly, each HTTP/2 stream is accepted here, and what is clean is
//! handed to Pingora.
//!
//! Between requests there is no session and no buffer: an idle tunnel waits for one byte. Refusals, their entries and
//! their answers are ours.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{
    self as h2_server, H2Accept, H2Options, HttpSession,
};
use pingora_core::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl,
};
use pingora_core::server::ShutdownWatch;
use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::service::Scheme;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::authenticate::Caller;
use super::head::{self, Head};
use super::idle::Idle;
use super::intercept::{self, Failed, Intercepted};
use super::leaf::Leaf;
use super::transport::cork::Cork;
use super::transport::farewell::Farewell;
use super::transport::framing::Framing;
use super::transport::{Tunnel, read_head};
use super::{Behind, Frontend, Inbound, Refusal};
use crate::error::Result;
use crate::reply::{Answer, Connection, Place};
use crate::tasks;

/// What a TLS record that opens a handshake starts with (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// The most streams of a connection that are refused as malformed before it ends.
pub(super) const MALFORMED_STREAMS_MAX: u32 = 32;
/// How long a connection that was just used, or just opened, outlives the word to stop: a request may be under way on it,
/// and a client that finds it closed cannot tell whether that was served. The request is answered, and told to be the
/// last.
const LINGER: Duration = Duration::from_secs(2);
/// Pingora's own limit between two requests; it never runs, because the wait is ours.
const KEEPALIVE_SECONDS: u64 = 60;

/// Waits for the first byte of a request. False when there will be none: the client left, the time is up, or the
/// process is stopping and the connection has been idle for a moment.
pub async fn wait(tunnel: &mut Tunnel, idle: Duration, shutdown: &ShutdownWatch) -> bool {
    tunnel.frame(Framing::Open);
    let (since, mut shutdown) = (Instant::now(), shutdown.clone());
    tokio::select! {
        biased;
        first = tokio::time::timeout(idle, tunnel.first_byte()) => matches!(first, Ok(Ok(Some(_)))),
        () = may_end(since, &mut shutdown) => false,
    }
}

/// Waits until the process is stopping and [`LINGER`] has passed since a connection was opened or last used.
pub(super) async fn may_end(since: Instant, shutdown: &mut ShutdownWatch) {
    // An error says that nobody can tell us to stop any more: that is a stop too.
    drop(shutdown.wait_for(|stop| *stop).await);
    tokio::time::sleep_until(since + LINGER).await;
}

/// Whether the first byte, which [`wait`] has waited for, opens a TLS handshake.
pub async fn opens_tls(tunnel: &mut Tunnel) -> bool {
    matches!(tunnel.first_byte().await, Ok(Some(TLS_HANDSHAKE)))
}

/// Sends bytes of ours. False when the client does not take them.
pub async fn send(tunnel: &mut Tunnel, bytes: &[u8], deadline: Duration) -> bool {
    let sending = async {
        tunnel.write_all(bytes).await?;
        tunnel.flush().await
    };
    matches!(tokio::time::timeout(deadline, sending).await, Ok(Ok(())))
}

/// Serves an opened tunnel: its first byte says what is spoken in it.
pub async fn tunnel<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    mut inbound: Inbound,
    leaf: Option<Arc<Leaf>>,
    shutdown: &ShutdownWatch,
) {
    let deadline = frontend.limits.handshake_deadline;
    let Ok(Ok(Some(first))) = tokio::time::timeout(deadline, tunnel.first_byte()).await else {
        return;
    };
    let mut tunnel = match first {
        TLS_HANDSHAKE => {
            inbound.target.scheme = Scheme::Https;
            match Box::pin(decrypt(frontend, *tunnel, &inbound, leaf)).await {
                Ok(intercepted) => {
                    inbound.agreed = intercepted.agreed;
                    Box::new(intercepted.tunnel)
                }
                Err(code) => return note(frontend, &inbound, "CONNECT", code),
            }
        }
        b'A'..=b'Z' => {
            inbound.target.scheme = Scheme::Http;
            tunnel
        }
        _ => return note(frontend, &inbound, "CONNECT", Code::RequestMalformed),
    };
    let inbound = Arc::new(inbound);
    tunnel.attach(inbound.clone());
    if matches!(tunnel.selected_alpn_proto(), Some(ALPN::H2)) {
        Box::pin(http2(frontend, *tunnel, &inbound, shutdown)).await;
    } else {
        http1(frontend, tunnel, &inbound, shutdown).await;
    }
}

/// Who asks for another host than a tunnel's.
struct Asked<'a, B: Behind> {
    frontend: &'a Frontend<B>,
    caller: &'a Caller,
}

#[async_trait]
impl<B: Behind> intercept::Other for Asked<'_, B> {
    async fn leaf(&self, named: Host) -> Option<Arc<Leaf>> {
        let leaf = self.frontend.leaf_to_refuse_on(self.caller, &named).await;
        leaf.ok()
    }
}

async fn decrypt<B: Behind>(
    frontend: &Frontend<B>,
    tunnel: Tunnel,
    inbound: &Inbound,
    leaf: Option<Arc<Leaf>>,
) -> std::result::Result<Intercepted, Code> {
    let host = &inbound.target.host;
    let leaf = match leaf {
        Some(leaf) => leaf,
        // TLS on a port where plain HTTP was expected.
        None => frontend
            .leaf(&inbound.caller, host, inbound.known)
            .await
            .map_err(|error| error.code())?,
    };
    let deadline = frontend.limits.handshake_deadline;
    let asked = Asked {
        frontend,
        caller: &inbound.caller,
    };
    intercept::intercept(&frontend.acceptor, tunnel, (host, &leaf), &asked, deadline)
        .await
        .map_err(|failed| {
            frontend.metrics.handshakes_failed.inc();
            match failed {
                Failed::Mismatch => Code::AuthorityMismatch,
                Failed::Handshake => Code::RequestMalformed,
                Failed::Timeout => Code::HeadTimeout,
            }
        })
}

/// Takes down a refusal that nobody can be told about.
fn note<B: Behind>(frontend: &Frontend<B>, inbound: &Inbound, method: &str, code: Code) {
    let _decision = frontend.behind.refused(Refusal {
        caller: Some(&inbound.caller),
        target: Some(&inbound.target),
        method,
        code,
    });
}

// === HTTP/1 ===

async fn http1<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    inbound: &Arc<Inbound>,
    shutdown: &ShutdownWatch,
) {
    while wait(&mut tunnel, frontend.limits.idle, shutdown).await {
        match Box::pin(http1_request(frontend, tunnel, inbound, shutdown)).await {
            Some(kept) => tunnel = kept,
            None => return,
        }
    }
}

async fn http1_request<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    inbound: &Arc<Inbound>,
    shutdown: &ShutdownWatch,
) -> Option<Box<Tunnel>> {
    let limits = &frontend.limits;
    let read = read_head(&mut tunnel, limits.tunnel_head_bytes_max);
    let head = match tokio::time::timeout(limits.head_deadline, read).await {
        Ok(Ok(None)) => return None,
        Ok(Ok(Some(bytes))) => head::parse(bytes),
        Ok(Err(code)) => Err(code),
        Err(_elapsed) => Err(Code::HeadTimeout),
    };
    let method = head.as_ref().map_or("", Head::method);
    let clean = head
        .as_ref()
        .map_err(|code| (*code).into())
        .and_then(|head| clean(head, inbound));
    match (&head, clean) {
        (Ok(head), Ok(bytes)) => {
            let request = (head, bytes);
            hand_on(frontend, &inbound.caller, tunnel, request, shutdown).await
        }
        (_, Err(error)) => {
            let decision = frontend.behind.refused(Refusal {
                caller: Some(&inbound.caller),
                target: Some(&inbound.target),
                method,
                code: error.code(),
            });
            let answer = Answer::new(error.code(), Some(decision), Place::Tunnel);
            let wire = answer.to_wire(Connection::Close, method);
            let _sent = send(&mut tunnel, &wire, limits.head_deadline).await;
            None
        }
        (Err(_), Ok(_)) => None,
    }
}

/// The head that Pingora is given. Whether `Host` agrees is asked for every request, HTTP/2 too, behind this stage.
fn clean(head: &Head, inbound: &Inbound) -> Result<BytesMut> {
    if head.method() == "CONNECT" {
        return Err(Code::RequestMalformed.into());
    }
    let path = inbound.target.path_in(head.target())?;
    if path == head.target() && !head.upgrades_oddly() {
        return Ok(BytesMut::from(head.bytes()));
    }
    // The head is written anew, with a Host of ours (RFC 9112, 3.2.2), so that one which disagrees is refused here.
    if head.host().is_some_and(|host| !inbound.target.agrees(host)) {
        return Err(Code::AuthorityMismatch.into());
    }
    Ok(head.origin_form(&inbound.target.authority(), path, |_, _| false))
}

/// Gives a clean request to Pingora. The connection comes back when it can carry another.
pub async fn hand_on<B: Behind>(
    frontend: &Frontend<B>,
    caller: &Caller,
    mut tunnel: Box<Tunnel>,
    (head, bytes): (&Head, BytesMut),
    shutdown: &ShutdownWatch,
) -> Option<Box<Tunnel>> {
    // What follows an upgrade is not HTTP.
    tunnel.frame(if head.upgrades() {
        Framing::Open
    } else {
        Framing::of(head.body())
    });
    let upgrades = head.upgrades();
    tunnel.bid(upgrades.then(|| Farewell::when(frontend.tunnels.closing())));
    let mut session = ServerSession::new_http1(tunnel);
    session.set_keepalive(head.keeps_alive().then_some(KEEPALIVE_SECONDS));
    if head.upgrades() {
        // An agent may only listen: how long both may be silent is the upstream's to end.
        session.set_read_timeout(None);
    }
    session.set_write_timeout(Some(frontend.limits.write_timeout));
    session.set_pipelined_prefix(bytes);
    let app = frontend.behind.app(caller);
    let reused = app.process_new_http(session, shutdown).await?;
    reused.consume().0.into_any().downcast::<Tunnel>().ok()
}

// === HTTP/2 ===

/// What an agent may do on an HTTP/2 connection.
fn options(streams: u32) -> H2Options {
    let mut options = h2_server::default_h2_options();
    options
        .max_concurrent_streams(streams)
        .max_header_list_size(32 * 1024)
        .max_send_buffer_size(32 * 1024)
        .max_local_error_reset_streams(Some(64))
        .initial_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024);
    options
}

/// Counts a stream while it is being answered.
pub(super) struct Active(Arc<AtomicUsize>);

impl Active {
    pub(super) fn count(active: &Arc<AtomicUsize>) -> Self {
        let _count = active.fetch_add(1, Ordering::Relaxed);
        Self(active.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let _count = self.0.fetch_sub(1, Ordering::Release);
    }
}

/// What Pingora's stream sessions know of their connection.
pub(super) fn digest(tunnel: &Tunnel) -> Digest {
    Digest {
        ssl_digest: tunnel.get_ssl_digest(),
        timing_digest: tunnel.get_timing_digest(),
        proxy_digest: tunnel.get_proxy_digest(),
        socket_digest: tunnel.get_socket_digest(),
    }
}

/// Polls a connection's own future. It also sends what the streams have written, and is woken by each of them: while
/// several run it lets those that are ready go first, so that their frames leave in one call.
pub(super) async fn gather<F: Future>(
    connection: F,
    cork: &Cork,
    active: &AtomicUsize,
) -> F::Output {
    let mut connection = pin!(connection);
    let mut once = async || poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await;
    loop {
        cork.hold();
        if let Poll::Ready(output) = once().await {
            return output;
        }
        if cork.release()
            && let Poll::Ready(output) = once().await
        {
            return output;
        }
        woken().await;
        if active.load(Ordering::Relaxed) > 1 {
            // To the end of those that are ready. `yield_now` would ask the system who else is: a call each time.
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
            .await;
            woken().await;
        }
    }
}

/// Waits until whatever was polled before it in this task wakes the task.
async fn woken() {
    let mut waits = true;
    poll_fn(|_| match std::mem::take(&mut waits) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

async fn http2<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Tunnel,
    inbound: &Arc<Inbound>,
    shutdown: &ShutdownWatch,
) {
    let limits = &frontend.limits;
    let digest = Arc::new(digest(&tunnel));
    tunnel.meter(limits.streams_max);
    let cork = tunnel.cork();
    let handshake = h2_server::handshake(Box::new(tunnel), Some(options(limits.streams_max)));
    let Ok(Ok(mut connection)) = tokio::time::timeout(limits.handshake_deadline, handshake).await
    else {
        return note(frontend, inbound, "", Code::RequestMalformed);
    };
    let active = Arc::new(AtomicUsize::new(0));
    let (opened, mut stopping) = (Instant::now(), shutdown.clone());
    let (mut malformed, mut stopped) = (0, false);
    let mut idle = Idle::new(limits.idle);
    loop {
        let accepted = tokio::select! {
            biased;
            () = may_end(opened, &mut stopping), if !stopped => {
                connection.graceful_shutdown();
                stopped = true;
                continue;
            }
            accepted = gather(
                HttpSession::from_h2_conn(&mut connection, digest.clone()),
                &cork,
                &active,
            ) => accepted,
            () = idle.over() => {
                if active.load(Ordering::Acquire) == 0 {
                    return;
                }
                continue;
            }
        };
        idle.touch();
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                if inbound.refused.is_some() && !stopped {
                    // The next try may fare better, on a connection of its own.
                    connection.graceful_shutdown();
                    stopped = true;
                }
                answer(frontend, inbound, session, &active, shutdown);
            }
            Ok(Some(H2Accept::Rejected)) => {
                malformed += 1;
                note(frontend, inbound, "", Code::RequestMalformed);
                if malformed >= MALFORMED_STREAMS_MAX {
                    return;
                }
            }
            // Pingora's error is dropped unread: the client went away, or broke the protocol.
            Ok(None) | Err(_) => return,
        }
    }
}

/// Hands a stream on, in a task of its own.
fn answer<B: Behind>(
    frontend: &Frontend<B>,
    inbound: &Inbound,
    session: HttpSession,
    active: &Arc<AtomicUsize>,
    shutdown: &ShutdownWatch,
) {
    let running = Active::count(active);
    let app = frontend.behind.app(&inbound.caller).clone();
    let shutdown = shutdown.clone();
    // Boxed: on its way into a task of its own a future is moved several times, with all that is in it.
    let mut session = Box::new(ServerSession::new_http2(session));
    session.set_write_timeout(Some(frontend.limits.write_timeout));
    drop(tasks::spawn("stream", async move {
        let _running = running;
        let _never = app.process_new_http(*session, &shutdown).await;
    }));
}
