//! [`Tunnel`]: the IO that everything in front of Pingora and Pingora itself reads and writes.
//!
//! It is plain TCP, or TLS over another tunnel. It gives back bytes that were read too early, counts, stops at the end
//! of a request, and ends connections whose framing is odd or whose control frames make no progress. Who calls and
//! where to rides on it in Pingora's proxy digest, never in the TLS digest: a resumed TLS session says nothing about
//! the CONNECT of this connection.

pub mod framing;
pub mod cork;
pub mod frames;
pub mod socket;

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, SslStream, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use cork::Cork;
use frames::Frames;
use framing::Framing;
use socket::Socket;

/// The most bytes of a next request that are kept back while one is being answered.
const AHEAD_BYTES: usize = 4 * 1024;

#[derive(Debug)]
enum Layer {
    Plain(Socket),
    Tls(Box<SslStream<Tunnel>>),
}

/// A connection of an agent, at some depth.
#[derive(Debug)]
pub struct Tunnel {
    layer: Layer,
    /// Bytes that were read and given back.
    prefix: Bytes,
    framing: Framing,
    /// Set once HTTP/2 was negotiated.
    frames: Option<Box<Frames>>,
    cork: Option<Arc<Cork>>,
    read: u64,
    written: u64,
    established: SystemTime,
    /// Whether the framing was odd: what ended the connection.
    odd: bool,
    proxy_digest: Option<Arc<ProxyDigest>>,
    socket_digest: Arc<SocketDigest>,
    stream: Arc<TcpStream>,
}

impl Tunnel {
    /// Over a socket.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        use std::os::fd::AsRawFd;
        let socket_digest = Arc::new(SocketDigest::from_raw_fd(stream.as_raw_fd()));
        let socket = Socket::new(stream);
        let stream = socket.stream().clone();
        Self::over(Layer::Plain(socket), stream, socket_digest)
    }

    /// Over TLS over another tunnel.
    #[must_use]
    pub fn tls(inner: SslStream<Self>) -> Self {
        let stream = inner.get_ref().stream.clone();
        let socket_digest = inner.get_ref().socket_digest.clone();
        let proxy_digest = inner.get_ref().proxy_digest.clone();
        let mut tunnel = Self::over(Layer::Tls(Box::new(inner)), stream, socket_digest);
        tunnel.proxy_digest = proxy_digest;
        tunnel
    }

    fn over(layer: Layer, stream: Arc<TcpStream>, socket_digest: Arc<SocketDigest>) -> Self {
        Self {
            layer,
            prefix: Bytes::new(),
            framing: Framing::Open,
            frames: None,
            cork: None,
            read: 0,
            written: 0,
            established: SystemTime::now(),
            odd: false,
            proxy_digest: None,
            socket_digest,
            stream,
        }
    }

    /// The socket at the bottom, for whoever may have to end it.
    #[must_use]
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Gives bytes back: they are read next.
    pub fn unread(&mut self, bytes: BytesMut) {
        if self.prefix.is_empty() {
            self.prefix = bytes.freeze();
        } else if !bytes.is_empty() {
            let mut joined = bytes;
            joined.extend_from_slice(&self.prefix);
            self.prefix = joined.freeze();
        }
    }

    /// Whether the client is known to have sent more than was read: bytes that were given back, or that came along in a
    /// read of the socket.
    #[must_use]
    pub fn holds_bytes(&self) -> bool {
        let below = match &self.layer {
            Layer::Plain(socket) => socket.holds_bytes(),
            Layer::Tls(stream) => stream.get_ref().holds_bytes(),
        };
        below || !self.prefix.is_empty()
    }

    /// Says how what is read from here on is framed.
    pub fn frame(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Meters HTTP/2 control frames from here on, of a client that may have so many streams open.
    pub fn meter(&mut self, streams_max: u32) {
        self.frames = Some(Box::new(Frames::new(streams_max)));
    }

    /// Lets whoever drives the connection hold flushes back.
    pub fn cork(&mut self) -> Arc<Cork> {
        self.cork.get_or_insert_default().clone()
    }

    /// Whether odd framing ended it.
    #[must_use]
    pub const fn is_odd(&self) -> bool {
        self.odd
    }

    /// Bytes read and written at this depth.
    #[must_use]
    pub const fn bytes(&self) -> (u64, u64) {
        (self.read, self.written)
    }

    /// Puts what later stages need on the connection; Pingora's sessions carry it to every filter.
    pub fn attach<T: Any + Send + Sync>(&mut self, context: T) {
        // A status of three digits always builds.
        if let Ok(response) = ResponseHeader::build(200, Some(0)) {
            self.proxy_digest = Some(Arc::new(ProxyDigest {
                response: Box::new(response),
                user_data: Some(Box::new(context)),
            }));
        }
    }

    /// The next byte, left in place; `None` at the end.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// What the socket reports.
    pub async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        if let Some(&first) = self.prefix.first() {
            return Ok(Some(first));
        }
        let mut byte = [0; 1];
        if self.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        self.unread(BytesMut::from(&byte[..]));
        Ok(byte.first().copied())
    }

    fn poll_layer(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }

    /// Between requests a client that goes away is noticed, and what it sends ahead is kept for the next request.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            return Poll::Pending;
        }
        let mut ahead = [0; AHEAD_BYTES];
        let mut buf = ReadBuf::new(&mut ahead);
        ready!(self.poll_layer(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.prefix = Bytes::copy_from_slice(buf.filled());
        Poll::Pending
    }

    fn admit(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(frames) = &mut self.frames {
            frames.follow(bytes).map_err(|error| self.refuse(error))?;
        }
        self.framing
            .admit(bytes)
            .map_err(|error| self.refuse(error))
    }

    fn refuse(&mut self, error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
        self.odd = true;
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.framing == Framing::Done {
            return this.poll_ahead(cx);
        }
        let before = buf.filled().len();
        if this.prefix.is_empty() {
            ready!(this.poll_layer(cx, buf))?;
        } else {
            let count = this.prefix.len().min(buf.remaining());
            buf.put_slice(&this.prefix.split_to(count));
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let admitted = this.admit(fresh)?;
        if let Some(rest) = fresh.get(admitted..).filter(|rest| !rest.is_empty()) {
            let mut rest = BytesMut::from(rest);
            rest.extend_from_slice(&this.prefix);
            this.prefix = rest.freeze();
        }
        this.read += admitted as u64;
        buf.set_filled(before + admitted);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = match &mut this.layer {
            Layer::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        };
        if let Poll::Ready(Ok(count)) = &result {
            this.written += *count as u64;
            if let Some(frames) = &mut this.frames {
                frames.sent(bytes.get(..*count).unwrap_or_default());
            }
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cork.as_ref().is_some_and(|cork| cork.holds_back()) {
            return Poll::Ready(Ok(()));
        }
        match &mut this.layer {
            Layer::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

#[async_trait]
impl Shutdown for Tunnel {
    async fn shutdown(&mut self) {
        // It fails only on a connection that has ended already.
        let _ended = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Tunnel {
    fn id(&self) -> UniqueIDType {
        use std::os::fd::AsRawFd;
        self.stream.as_raw_fd()
    }
}

impl Ssl for Tunnel {
    fn get_ssl(&self) -> Option<&TlsRef> {
        match &self.layer {
            Layer::Plain(_) => None,
            Layer::Tls(stream) => stream.get_ssl(),
        }
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        match &self.layer {
            Layer::Plain(_) => None,
            Layer::Tls(stream) => stream.get_ssl_digest(),
        }
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.layer {
            Layer::Plain(_) => None,
            Layer::Tls(stream) => stream.selected_alpn_proto(),
        }
    }
}

impl Peek for Tunnel {}

impl GetTimingDigest for Tunnel {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest {
            established_ts: self.established,
            ..TimingDigest::default()
        })]
    }
}

impl GetProxyDigest for Tunnel {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.proxy_digest.clone()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.proxy_digest = Some(Arc::new(digest));
    }
}

impl GetSocketDigest for Tunnel {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket_digest.clone())
    }
}

/// Reads until a head is complete; the bytes behind it are given back.
///
/// `Ok(None)` when the client goes away before it.
///
/// # Errors
/// `head_too_large` beyond `max` bytes; `request_malformed` when the connection breaks off inside a head.
pub async fn read_head(
    tunnel: &mut Tunnel,
    max: usize,
) -> Result<Option<Bytes>, sortie_proto::code::Code> {
    use sortie_proto::code::Code;
    let mut bytes = BytesMut::with_capacity(1024);
    let mut searched = 0;
    loop {
        // The end may straddle two reads by three bytes.
        let from = searched;
        let unsearched = bytes.get(from..).unwrap_or_default();
        if let Some(length) = super::head::length(unsearched) {
            let rest = bytes.split_off(from + length);
            tunnel.unread(rest);
            return if from + length > max {
                Err(Code::HeadTooLarge)
            } else {
                Ok(Some(bytes.freeze()))
            };
        }
        searched = bytes.len().saturating_sub(3);
        if bytes.len() > max {
            return Err(Code::HeadTooLarge);
        }
        match tunnel.read_buf(&mut bytes).await {
            Ok(0) | Err(_) if bytes.is_empty() => return Ok(None),
            Ok(0) | Err(_) => return Err(Code::RequestMalformed),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
