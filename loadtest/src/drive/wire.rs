//! A connection of an agent: TCP, CONNECT with its session, TLS, then HTTP/1.1 or HTTP/2.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::HOST;
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::client;
use crate::plan::Protocol;

/// How many loopback addresses agents come from: a gateway bounds connections by source.
const SOURCES: usize = 200;
/// How long opening a connection may take.
pub const OPENING: Duration = Duration::from_secs(30);

/// Where a connection goes, and how.
#[derive(Debug, Clone)]
pub struct Route {
    /// The gateway, or the upstream itself.
    pub address: SocketAddr,
    /// The session; without one there is no CONNECT.
    pub token: Option<String>,
    /// The host that is asked.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom to trust, and what to speak.
    pub tls: Arc<ClientConfig>,
    /// Which agent it is, for its source address.
    pub agent: usize,
}

impl Route {
    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Opens a tunnel and TLS in it.
    ///
    /// # Errors
    /// When the gateway refuses, or somebody goes away.
    pub async fn open(&self) -> Result<TlsStream<TcpStream>> {
        let last = u8::try_from(self.agent % SOURCES)?;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, last + 2));
        let mut stream = client::dial(Some(source), self.address).await?;
        if let Some(token) = &self.token {
            client::connect(&mut stream, &self.authority(), Some(token)).await?;
        }
        client::secure(Arc::clone(&self.tls), &self.host, stream).await
    }
}

/// The body that requests have: none.
type NoBody = Empty<Bytes>;

/// What requests are sent with.
#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<NoBody>),
    Http2(http2::SendRequest<NoBody>),
}

/// An open connection. Dropped, it is closed.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    authority: String,
    /// What moves its bytes.
    driver: Arc<JoinSet<()>>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// When it cannot be opened in time.
    pub async fn open(route: &Route, protocol: Protocol) -> Result<Self> {
        tokio::time::timeout(OPENING, Box::pin(Self::handshake(route, protocol)))
            .await
            .context("opening takes too long")?
    }

    async fn handshake(route: &Route, protocol: Protocol) -> Result<Self> {
        let stream = TokioIo::new(route.open().await?);
        let mut driver = JoinSet::new();
        // How a connection ends is seen by its requests.
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                driver.spawn(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                let builder = builder.timer(TokioTimer::new());
                // Boxed, as TLS is: agents are many, and each of their futures would be as large.
                let (sender, connection) = Box::pin(builder.handshake(stream)).await?;
                driver.spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Self {
            sender,
            authority: route.authority(),
            driver: Arc::new(driver),
        })
    }

    /// Another hold of an HTTP/2 connection; an HTTP/1.1 connection has one user.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                sender: Sender::Http2(sender.clone()),
                authority: self.authority.clone(),
                driver: Arc::clone(&self.driver),
            }),
        }
    }

    /// Sends a GET.
    ///
    /// # Errors
    /// When the connection ends before there is an answer; [`NotTaken`] where it is certain that the other side has
    /// done nothing with it.
    pub async fn get(&mut self, path: &str) -> Result<Response<Incoming>> {
        let request = Request::builder().method(Method::GET);
        match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request.uri(path).header(HOST, &self.authority);
                sender.ready().await.context(NotTaken)?;
                let answer = sender.try_send_request(request.body(Empty::new())?);
                answer.await.map_err(lost)
            }
            Sender::Http2(sender) => {
                let uri: Uri = format!("https://{}{path}", self.authority).parse()?;
                let request = request.uri(uri).version(Version::HTTP_2);
                sender.ready().await.context(NotTaken)?;
                let answer = sender.try_send_request(request.body(Empty::new())?);
                answer.await.map_err(lost)
            }
        }
    }

    /// Whether another request may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// The other side has certainly done nothing with a request: it was not sent, or refused as RFC 9113 (8.7) has it.
#[derive(Debug, Clone, Copy)]
pub struct NotTaken;

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not taken")
    }
}

fn lost(mut error: TrySendError<Request<NoBody>>) -> anyhow::Error {
    // What was not sent comes back.
    let sent = error.take_message().is_none();
    let error = error.into_error();
    let taken = sent && !is_refused(&error);
    let error = anyhow::Error::new(error);
    if taken {
        error
    } else {
        error.context(NotTaken)
    }
}

/// Whether HTTP/2 says of a stream that nothing was done with it: it was refused, or came after the last one that the
/// other side takes.
fn is_refused(error: &hyper::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause
        .filter(|cause| cause.is_remote())
        .is_some_and(|cause| {
            let reason = cause.reason();
            (cause.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
                || (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
        })
}

/// Whether an HTTP/1.1 connection that was kept ended before it had an answer. A server may close one just when a
/// request comes: nobody can tell then whether it was taken, and a client may send it again if it changes nothing
/// (RFC 9112, 9.3.1).
#[must_use]
pub fn ended_unanswered(error: &anyhow::Error) -> bool {
    let hyper = error.downcast_ref::<hyper::Error>();
    let io = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    let reset = io.into_iter().any(|cause| {
        let kind = cause.kind();
        kind == ErrorKind::ConnectionReset || kind == ErrorKind::BrokenPipe
    });
    reset || hyper.is_some_and(hyper::Error::is_incomplete_message)
}

#[cfg(test)]
mod tests;
