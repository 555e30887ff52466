//! The way to the gateway: a connection for each tunnel, or over TLS with HTTP/2 one that carries many.
//!
//! Invariants: a dial is tried again for a few seconds, so that a gateway that restarts is not noticed by who starts a
//! tunnel then. A request is sent twice only if it is a CONNECT, which has done nothing before it is answered. Every
//! window and buffer has a bound.

mod carrier;
mod trust;

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::carrier::{Carriers, Place};
use self::trust::Purpose;
pub(crate) use self::trust::Trust;
use super::answer::{Body, Own, nothing};
use crate::error::{Error, Result};
use crate::tasks::Crew;

/// For how long a gateway that does not answer is dialled again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one dial may take, its TLS handshake included.
const DIAL_DEADLINE: Duration = Duration::from_secs(4);
/// How long a CONNECT may wait for its answer: a gateway that tunnels untouched dials the upstream first.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// The first pause between dials; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between dials.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The largest head of an answer, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Where the gateway is and how it is spoken to.
#[derive(Debug)]
pub(crate) struct Gateway {
    host: String,
    port: u16,
    trust: Option<Trust>,
    carriers: Carriers,
    /// What its name stood for when it was last dialled.
    addresses: Mutex<Vec<SocketAddr>>,
    crew: Crew,
}

/// Why a request did not get through.
#[derive(Debug)]
pub(super) enum Fault {
    /// Worth another try.
    Passing,
    /// Its certificate is not what was asked for: the same the next time.
    Untrusted,
    /// What ends TLS there speaks HTTP/1.1 alone.
    NoHttp2,
}

impl From<Fault> for Own {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Passing | Fault::NoHttp2 => Self::Unreachable,
            Fault::Untrusted => Self::Untrusted,
        }
    }
}

/// A response, and its place on a connection that others share.
pub(super) struct Opened {
    pub(super) response: Response<Incoming>,
    pub(super) place: Option<Place>,
}

/// A connection that is ready for one request.
enum Link {
    Own(http1::SendRequest<Body>),
    Shared(hyper::client::conn::http2::SendRequest<Body>, Place),
}

impl Gateway {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`; nothing is dialled yet.
    ///
    /// # Errors
    /// [`Error::Config`] if it is no URL of a gateway.
    pub(crate) fn new(
        url: &str,
        trust: impl FnOnce() -> Result<Trust>,
        crew: Crew,
    ) -> Result<Self> {
        let bad = || {
            Error::Config(format!(
                "the gateway's URL is http(s)://HOST:PORT, not `{url}`"
            ))
        };
        let parsed = Url::parse(url).or(Err(bad()))?;
        let host = parsed.host_str().ok_or_else(bad)?;
        let plain = parsed.username().is_empty() && parsed.password().is_none();
        if !plain || !matches!(parsed.path(), "" | "/") {
            return Err(bad());
        }
        let trust = match parsed.scheme() {
            "http" => None,
            "https" => Some(trust()?),
            _ => return Err(bad()),
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: parsed.port_or_known_default().ok_or_else(bad)?,
            trust,
            carriers: Carriers::default(),
            addresses: Mutex::default(),
            crew,
        })
    }

    /// Asks for a tunnel to `HOST:PORT`.
    pub(super) async fn connect(
        &self,
        authority: &str,
        authorization: &HeaderValue,
    ) -> std::result::Result<Opened, Fault> {
        let end = Instant::now() + PATIENCE;
        let mut pause = PAUSE_MIN;
        loop {
            let link = self.dial(Purpose::Tunnels, end).await?;
            let request = connect_request(authority, authorization, &link).ok_or(Fault::Passing)?;
            match timeout(ANSWER_DEADLINE, send(link, request)).await {
                Ok(Err(Fault::Passing)) if Instant::now() + pause < end => {}
                Ok(done) => return done,
                Err(_elapsed) => return Err(Fault::Passing),
            }
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    /// Sends a request in absolute form. Its body cannot be sent again, so it is sent once.
    pub(super) async fn forward(
        &self,
        request: Request<Body>,
    ) -> std::result::Result<Opened, Fault> {
        let end = Instant::now() + PATIENCE;
        let link = self.dial(Purpose::Request, end).await?;
        send(link, request).await
    }

    /// Shows a renewed token, so that what its session has open goes on. A gateway that is not there has nothing open.
    ///
    /// Over connections that carry many tunnels it is shown on each. Elsewhere it is shown to each address that the
    /// gateway's name has: a balancer may still send it to another gateway than the one that a tunnel goes through.
    pub(super) async fn announce(&self, authorization: &HeaderValue) {
        for mut sender in self.carriers.all() {
            let Some(request) = probe(authorization) else {
                return;
            };
            drop(timeout(DIAL_DEADLINE, sender.send_request(request)).await);
        }
        let known = timeout(DIAL_DEADLINE, lookup_host((self.host.as_str(), self.port))).await;
        for address in known.into_iter().flatten().flatten() {
            drop(timeout(DIAL_DEADLINE, self.announce_at(address, authorization)).await);
        }
    }

    async fn announce_at(
        &self,
        address: SocketAddr,
        authorization: &HeaderValue,
    ) -> std::result::Result<(), Fault> {
        // With TLS the carriers have been told.
        if self.trust.is_some() {
            return Ok(());
        }
        let stream = TcpStream::connect(address).await.or(Err(Fault::Passing))?;
        let link = self.own(stream).await?;
        let request = probe(authorization).ok_or(Fault::Passing)?;
        send(link, request).await.map(drop)
    }

    /// A connection, or a place on one. Dials until there is one, or the time has come.
    async fn dial(&self, purpose: Purpose, end: Instant) -> std::result::Result<Link, Fault> {
        let mut pause = PAUSE_MIN;
        loop {
            match timeout_at(end, timeout(DIAL_DEADLINE, Box::pin(self.link(purpose)))).await {
                Ok(Ok(Ok(link))) => return Ok(link),
                Ok(Ok(Err(Fault::Untrusted))) => return Err(Fault::Untrusted),
                Ok(Ok(Err(Fault::Passing | Fault::NoHttp2)) | Err(_))
                    if Instant::now() + pause < end => {}
                Ok(_) | Err(_) => return Err(Fault::Passing),
            }
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn link(&self, purpose: Purpose) -> std::result::Result<Link, Fault> {
        let Some(trust) = &self.trust else {
            return self.own(self.reach().await?).await;
        };
        if purpose == Purpose::Request {
            return self.greet(trust, purpose).await;
        }
        if let Some((sender, place)) = self.carriers.place() {
            return Ok(Link::Shared(sender, place));
        }
        // One dial at a time: a burst of tunnels waits for the connection that carries them all.
        let mut dialling = self.carriers.dialling().await;
        if let Some((sender, place)) = self.carriers.place() {
            return Ok(Link::Shared(sender, place));
        }
        let greeted = trust.greet(&self.host, purpose, self.reach().await?).await;
        let stream = match greeted {
            Ok(stream) if trust::is_h2(&stream) => stream,
            Ok(stream) => return self.own(stream).await,
            Err(Fault::NoHttp2) => return self.greet(trust, Purpose::Request).await,
            Err(fault) => return Err(fault),
        };
        let (sender, place) =
            Box::pin(self.carriers.add(&mut dialling, stream, &self.crew)).await?;
        Ok(Link::Shared(sender, place))
    }

    /// A connection of its own in TLS.
    async fn greet(&self, trust: &Trust, purpose: Purpose) -> std::result::Result<Link, Fault> {
        let stream = trust.greet(&self.host, purpose, self.reach().await?);
        self.own(stream.await?).await
    }

    /// Whether this is where the gateway is dialled: nobody but the relay has anything to do there.
    #[cfg(target_os = "linux")]
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        let addresses = self.addresses.lock();
        let addresses = addresses.unwrap_or_else(PoisonError::into_inner);
        addresses.contains(&address)
    }

    async fn reach(&self) -> std::result::Result<TcpStream, Fault> {
        let known = lookup_host((self.host.as_str(), self.port)).await;
        let known: Vec<_> = known.or(Err(Fault::Passing))?.collect();
        let addresses = self.addresses.lock();
        // Before it is dialled: a dial that comes back to this relay is told by it.
        addresses
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&known);
        let stream = TcpStream::connect(known.as_slice()).await;
        let stream = stream.or(Err(Fault::Passing))?;
        // Small messages both ways; a failure costs time and nothing else.
        drop(stream.set_nodelay(true));
        Ok(stream)
    }

    async fn own(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> std::result::Result<Link, Fault> {
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .or(Err(Fault::Passing))?;
        self.crew.start(async move {
            // An error is seen by whoever waits for the answer.
            let _ended = connection.with_upgrades().await;
        });
        Ok(Link::Own(sender))
    }
}

async fn send(link: Link, request: Request<Body>) -> std::result::Result<Opened, Fault> {
    let (response, place) = match link {
        Link::Own(mut sender) => (sender.send_request(request).await, None),
        Link::Shared(mut sender, place) => (sender.send_request(request).await, Some(place)),
    };
    match response {
        Ok(response) => Ok(Opened { response, place }),
        Err(_ended) => Err(Fault::Passing),
    }
}

/// `OPTIONS *` (RFC 9110, 9.3.7).
fn probe(authorization: &HeaderValue) -> Option<Request<Body>> {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri("*")
        .header(HOST, "gateway")
        .header(PROXY_AUTHORIZATION, authorization.clone());
    request.body(nothing()).ok()
}

/// None if the authority cannot be one, which was checked when it came in.
fn connect_request(
    authority: &str,
    authorization: &HeaderValue,
    link: &Link,
) -> Option<Request<Body>> {
    let mut request = Request::new(nothing());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = Uri::builder().authority(authority).build().ok()?;
    let headers = request.headers_mut();
    let _none = headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    match link {
        Link::Own(_) => {
            let _none = headers.insert(HOST, HeaderValue::from_str(authority).ok()?);
        }
        Link::Shared(..) => *request.version_mut() = Version::HTTP_2,
    }
    Some(request)
}

/// Bytes both ways until one side ends; bounded by two small buffers.
pub(super) async fn copy(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    const BUFFER: usize = 16 * 1024;
    tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests;
