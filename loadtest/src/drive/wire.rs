//! A connection of an agent: TCP, CONNECT with its session, TLS, then HTTP/1.1 or HTTP/2.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
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
        let stream = match &self.token {
            Some(token) => {
                client::tunnel_from(source, self.address, &self.authority(), token).await?
            }
            None => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(source, 0))?;
                let stream = socket.connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
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
    /// When the connection ends before there is an answer.
    pub async fn get(&mut self, path: &str) -> Result<Response<Incoming>> {
        let request = Request::builder().method(Method::GET);
        match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request.uri(path).header(HOST, &self.authority);
                sender.ready().await?;
                Ok(sender.send_request(request.body(Empty::new())?).await?)
            }
            Sender::Http2(sender) => {
                let uri: Uri = format!("https://{}{path}", self.authority).parse()?;
                let request = request.uri(uri).version(Version::HTTP_2);
                sender.ready().await?;
                Ok(sender.send_request(request.body(Empty::new())?).await?)
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
