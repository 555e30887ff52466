//! Sockets in: caps before anything is read, then requests to the proxy itself, one after the other, until one opens a
//! tunnel.
//!
//! The port speaks CONNECT, absolute-form `http://`, and the base-URL form ([`base`]), plain or in TLS: the first byte of
//! a connection says which ([`secure`]). In TLS it speaks HTTP/2, too (`streams`). Deadlines run from the first byte.

pub mod secure;
pub(super) mod streams;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use pingora_core::protocols::{ALPN, Ssl as _};
use pingora_core::server::ShutdownWatch;
use sortie_proto::code::Code;
use tokio::net::{TcpListener, TcpStream};

use super::authenticate::Caller;
use super::connect::Target;
use super::head::{self, Head};
use super::leaf::Leaf;
use super::transport::framing::Framing;
use super::transport::line::Line;
use super::transport::{Tunnel, read_head, socket};
use super::tunnels::Registered;
use super::{Behind, Frontend, Inbound, Limits, Refusal, Way, base, relay, requests};
use crate::clock;
use crate::error::Result;
use crate::pressure::Memory;
use crate::reply::{Answer, Connection, Place};
use crate::tasks;

/// How long accepting pauses after an error, such as no free descriptor: enough for connections to end.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How many descriptors are kept at least and at most; between them, a sixteenth.
const KEPT: (u64, u64) = (48, 1_024);

/// Connections by source address, and how many descriptors they may take.
#[derive(Debug)]
pub struct Sources {
    counts: Mutex<HashMap<IpAddr, usize>>,
    descriptors_max: RawFd,
}

/// Takes a connection off the count when it is dropped.
#[derive(Debug)]
struct Counted<'a> {
    sources: &'a Sources,
    source: IpAddr,
    connections: &'a prometheus::IntGauge,
}

impl Sources {
    /// None yet. Of the descriptors that the process may have, some are kept for what it needs besides agents: the admin
    /// port, control, upstreams, the journal.
    #[must_use]
    pub fn new(descriptors: u64) -> Self {
        let kept = (descriptors / 16).clamp(KEPT.0, KEPT.1);
        let rest = descriptors.saturating_sub(kept);
        Self {
            counts: Mutex::default(),
            descriptors_max: RawFd::try_from(rest).unwrap_or(RawFd::MAX),
        }
    }

    /// Whether a new connection took a descriptor of those that are kept: the kernel gives the lowest that is free.
    fn is_beyond(&self, stream: &TcpStream) -> bool {
        stream.as_raw_fd() >= self.descriptors_max
    }

    fn add(&self, source: IpAddr, max: usize) -> bool {
        let mut counts = self.counts.lock();
        let count = counts.entry(source).or_default();
        let room = *count < max;
        if room {
            *count += 1;
        }
        room
    }

    fn remove(&self, source: IpAddr) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                let _zero = counts.remove(&source);
            }
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.sources.remove(self.source);
        self.connections.dec();
    }
}

/// Accepts connections until the shutdown.
pub async fn accept<B: Behind>(
    listener: TcpListener,
    frontend: Arc<Frontend<B>>,
    sources: Arc<Sources>,
    mut shutdown: ShutdownWatch,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, source) = match accepted {
            Ok((stream, address)) => (stream, address.ip().to_canonical()),
            Err(error) => {
                frontend.metrics.accept_errors.inc();
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        let open = usize::try_from(frontend.metrics.connections.get()).unwrap_or(0);
        let limits = &frontend.limits;
        let is_out = frontend.pressure.memory() == Memory::Out;
        if is_out
            || open >= limits.connections_max
            || sources.is_beyond(&stream)
            || !sources.add(source, limits.connections_per_source_max)
        {
            // Closed unread: nothing was spent on it, and nothing can be said without reading.
            frontend.metrics.shed.inc();
            continue;
        }
        frontend.metrics.accepted.inc();
        frontend.metrics.connections.inc();
        let (frontend, sources, shutdown) = (frontend.clone(), sources.clone(), shutdown.clone());
        drop(tasks::spawn("connection", async move {
            let _counted = Counted {
                sources: &sources,
                source,
                connections: &frontend.metrics.connections,
            };
            serve(&frontend, stream, source, shutdown).await;
        }));
    }
}

/// What the proxy does with the connection after a request.
pub(super) enum Next {
    Keep(Box<Tunnel>),
    Close,
}

pub(super) async fn serve<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    stream: TcpStream,
    source: IpAddr,
    shutdown: ShutdownWatch,
) {
    socket::tune(&stream, frontend.limits.write_timeout);
    let mut tunnel = Box::new(Tunnel::plain(stream));
    let idle = frontend.limits.idle;
    if !requests::wait(&mut tunnel, idle, &shutdown).await {
        return;
    }
    if requests::opens_tls(&mut tunnel).await {
        match Box::pin(secure::accept(frontend, *tunnel)).await {
            Some(accepted) => tunnel = accepted,
            None => return,
        }
        if matches!(tunnel.selected_alpn_proto(), Some(ALPN::H2)) {
            return Box::pin(streams::serve(frontend, tunnel, source, &shutdown)).await;
        }
    }
    while requests::wait(&mut tunnel, idle, &shutdown).await {
        match Box::pin(request(frontend, tunnel, source, &shutdown)).await {
            Next::Keep(kept) => tunnel = kept,
            Next::Close => return,
        }
    }
}

async fn request<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    source: IpAddr,
    shutdown: &ShutdownWatch,
) -> Next {
    let head = match next_head(&mut tunnel, &frontend.limits).await {
        Ok(Some(head)) => head,
        Ok(None) => return Next::Close,
        Err(code) => {
            let refusal = Refusal {
                caller: None,
                target: None,
                method: "",
                code,
            };
            return refuse(frontend, tunnel, refusal, Connection::Close).await;
        }
    };
    if head.target().starts_with(base::PREFIX) {
        return base::request(frontend, tunnel, source, &head, shutdown).await;
    }
    let values = head.values("proxy-authorization");
    let caller = frontend
        .authenticator
        .authenticate(values, source, clock::seconds());
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => {
            let refusal = Refusal {
                caller: None,
                target: None,
                method: head.method(),
                code: error.code(),
            };
            // git and the JVM send their credentials on the same connection after a 407.
            let keep = error.code().is_authentication()
                && head.body().is_empty()
                && !tunnel.holds_bytes()
                && head.keeps_alive();
            let connection = if keep {
                Connection::Keep
            } else {
                Connection::Close
            };
            return refuse(frontend, tunnel, refusal, connection).await;
        }
    };
    if head.method() == "CONNECT" {
        connect(frontend, tunnel, &head, caller, shutdown).await;
        return Next::Close;
    }
    if is_probe(head.method(), head.target()) && head.body().is_empty() {
        return probe(frontend, tunnel, &head).await;
    }
    absolute(frontend, tunnel, &head, caller, shutdown).await
}

/// The head of the next request; `None` when the client goes away before one.
async fn next_head(
    tunnel: &mut Tunnel,
    limits: &Limits,
) -> std::result::Result<Option<Head>, Code> {
    tunnel.frame(Framing::Open);
    let read = read_head(tunnel, limits.head_bytes_max);
    match tokio::time::timeout(limits.head_deadline, read).await {
        Ok(Ok(bytes)) => bytes.map(head::parse).transpose(),
        Ok(Err(code)) => Err(code),
        Err(_elapsed) => Err(Code::HeadTimeout),
    }
}

/// `OPTIONS *` (RFC 9110, 9.3.7): asks nothing of anybody but this proxy. A relay shows a renewed token with it, so that
/// what the session has open goes on, and finds out whether the session holds.
fn is_probe(method: &str, target: &str) -> bool {
    method == "OPTIONS" && target == "*"
}

async fn probe<B: Behind>(frontend: &Frontend<B>, mut tunnel: Box<Tunnel>, head: &Head) -> Next {
    const HOLDS: &[u8] = b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n";
    let sent = requests::send(&mut tunnel, HOLDS, frontend.limits.head_deadline).await;
    if sent && head.keeps_alive() && !tunnel.holds_bytes() {
        Next::Keep(tunnel)
    } else {
        Next::Close
    }
}

/// Answers for the proxy itself.
async fn refuse<B: Behind>(
    frontend: &Frontend<B>,
    mut tunnel: Box<Tunnel>,
    refusal: Refusal<'_>,
    connection: Connection,
) -> Next {
    let decision = frontend.behind.refused(refusal);
    let answer = Answer::new(refusal.code, Some(decision), Place::Proxy);
    let wire = answer.to_wire(connection, refusal.method);
    let sent = requests::send(&mut tunnel, &wire, frontend.limits.head_deadline).await;
    if connection == Connection::Keep && sent {
        Next::Keep(tunnel)
    } else {
        Next::Close
    }
}

/// A request in absolute form: plain HTTP to an upstream, without a tunnel.
async fn absolute<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    head: &Head,
    caller: Caller,
    shutdown: &ShutdownWatch,
) -> Next {
    let refusal = |code| Refusal {
        caller: Some(&caller),
        target: None,
        method: head.method(),
        code,
    };
    let (target, path) = match Target::of_absolute(head.target()) {
        Ok(found) => found,
        Err(error) => {
            return refuse(frontend, tunnel, refusal(error.code()), Connection::Close).await;
        }
    };
    if let Some(code) = caller.wrong() {
        let refusal = Refusal {
            target: Some(&target),
            ..refusal(code)
        };
        return refuse(frontend, tunnel, refusal, Connection::Close).await;
    }
    let registered = match frontend.tunnels.register(&caller, tunnel.line()) {
        Ok(registered) => registered,
        Err(error) => {
            return refuse(frontend, tunnel, refusal(error.code()), Connection::Close).await;
        }
    };
    let bytes = head.origin_form(&target.authority(), path, |_, _| false);
    tunnel.attach(Arc::new(Inbound {
        caller: caller.clone(),
        target,
        tunnelled: false,
        agreed: true,
        known: true,
        refused: None,
        lease: registered.lease().clone(),
        base: None,
        origin: OnceLock::new(),
    }));
    match requests::hand_on(frontend, &caller, tunnel, (head, bytes), shutdown).await {
        Some(tunnel) => Next::Keep(tunnel),
        None => Next::Close,
    }
}

/// A CONNECT over HTTP/1.
async fn connect<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    mut tunnel: Box<Tunnel>,
    head: &Head,
    caller: Caller,
    shutdown: &ShutdownWatch,
) {
    let opened = if head.body().is_empty() {
        open(frontend, &caller, head.target(), tunnel.line()).await
    } else {
        Err(Code::RequestMalformed.into())
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let refusal = Refusal {
                caller: Some(&caller),
                target: None,
                method: "CONNECT",
                code: error.code(),
            };
            let _closed = refuse(frontend, tunnel, refusal, Connection::Close).await;
            return;
        }
    };
    let established = b"HTTP/1.1 200 Connection Established\r\n\r\n";
    if requests::send(&mut tunnel, established, frontend.limits.head_deadline).await {
        enter(frontend, tunnel, caller, opened, shutdown).await;
    }
}

/// A tunnel that may be opened.
struct Opened {
    target: Target,
    /// None for who is refused everything.
    registered: Option<Registered>,
    way: Result<Way>,
    leaf: Option<Arc<Leaf>>,
}

/// Finds out what becomes of a tunnel. The caller is known, so that what is refused is refused inside it, where the agent
/// can read why; only what cannot be opened is refused here.
async fn open<B: Behind>(
    frontend: &Frontend<B>,
    caller: &Caller,
    authority: &str,
    line: &Line,
) -> Result<Opened> {
    let target = Target::of_connect(authority)?;
    // Who is refused everything takes no place of the session's, and there is nothing to cut.
    let registered = match caller.wrong() {
        Some(_) => None,
        None => Some(frontend.tunnels.register(caller, line)?),
    };
    let way = match caller.wrong() {
        Some(code) => Err(code.into()),
        None => frontend.behind.way(caller, &target).await,
    };
    let leaf = leaf_for(frontend, caller, &target, &way).await?;
    Ok(Opened {
        target,
        registered,
        way,
        leaf,
    })
}

/// Serves a tunnel that was opened: the client has its 200.
async fn enter<B: Behind>(
    frontend: &Arc<Frontend<B>>,
    tunnel: Box<Tunnel>,
    caller: Caller,
    opened: Opened,
    shutdown: &ShutdownWatch,
) {
    let (known, refused) = match (opened.way, &opened.registered) {
        (Ok(Way::Untouched(passage)), Some(registered)) => {
            let silence = frontend.limits.idle;
            registered.lease().bind(&passage.vault.vault);
            return relay::relay(tunnel, passage, registered, silence).await;
        }
        (Ok(Way::Intercept { known }), Some(_)) => (known, None),
        (Err(error), _) => (false, Some(error.code())),
        (Ok(_), None) => (false, Some(Code::Internal)),
    };
    let inbound = Inbound {
        caller,
        target: opened.target,
        tunnelled: true,
        agreed: true,
        known,
        refused,
        lease: opened
            .registered
            .as_ref()
            .map(|registered| registered.lease().clone())
            .unwrap_or_default(),
        base: None,
        origin: OnceLock::new(),
    };
    requests::tunnel(frontend, tunnel, inbound, opened.leaf, shutdown).await;
}

/// The leaf of a tunnel that will be opened, before it is: without one there is nothing to say inside it. Where plain
/// HTTP is expected there is none yet.
async fn leaf_for<B: Behind>(
    frontend: &Frontend<B>,
    caller: &Caller,
    target: &Target,
    way: &Result<Way>,
) -> Result<Option<Arc<Leaf>>> {
    let known = match way {
        Ok(Way::Untouched(_)) => return Ok(None),
        Ok(Way::Intercept { known }) => *known,
        Err(_refused) => false,
    };
    if target.scheme == sortie_proto::service::Scheme::Http {
        return Ok(None);
    }
    let leaf = frontend.leaf(caller, &target.host, known).await;
    leaf.map(Some)
}
