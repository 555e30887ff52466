//! [`Tunnel`]: the IO that everything in front of Pingora and Pingora itself reads and writes.
//!
//! It is plain TCP, a stream of an HTTP/2 connection, or TLS over another tunnel. It gives back bytes that were read too
//! early, counts, stops at the end of a request, and ends connections whose framing is odd or whose control frames make no
//! progress. Who calls and where to rides on it in Pingora's proxy digest, never in the TLS digest: a resumed TLS session
//! says nothing about the CONNECT of this connection.

pub mod framing;
pub mod cork;
pub mod farewell;
mod digests;
pub mod frames;
pub mod line;
pub mod socket;
pub mod stream;

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::SocketDigest;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslStream;
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use cork::Cork;
use farewell::Farewell;
use frames::Frames;
use framing::Framing;
use line::Line;
use socket::Socket;
use stream::H2Stream;

/// The most bytes of a next request that are kept back while one is being answered.
const AHEAD_BYTES: usize = 4 * 1024;

#[derive(Debug)]
enum Layer {
    Plain(Socket),
    Stream(Box<H2Stream>),
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
    /// Set while a request is answered that asks for a WebSocket.
    farewell: Option<Box<Farewell>>,
    read: u64,
    written: u64,
    established: SystemTime,
    /// Whether the framing was odd: what ended the connection.
    odd: bool,
    proxy_digest: Option<Arc<ProxyDigest>>,
    socket_digest: Arc<SocketDigest>,
    stream: Arc<TcpStream>,
    line: Line,
}

/// What the tunnels in a connection know of it.
#[derive(Debug, Clone)]
pub struct Origin {
    stream: Arc<TcpStream>,
    socket_digest: Arc<SocketDigest>,
}

impl Tunnel {
    /// Over a socket.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        use std::os::fd::AsRawFd;
        let socket_digest = Arc::new(SocketDigest::from_raw_fd(stream.as_raw_fd()));
        let socket = Socket::new(stream);
        let stream = socket.stream().clone();
        let line = Line::Socket(stream.clone());
        let origin = Origin {
            stream,
            socket_digest,
        };
        Self::over(Layer::Plain(socket), origin, line)
    }

    /// Over a stream of an HTTP/2 connection.
    #[must_use]
    pub fn stream_of(connection: &Origin, stream: H2Stream) -> Self {
        let line = Line::Stream(stream.reset().clone());
        Self::over(Layer::Stream(Box::new(stream)), connection.clone(), line)
    }

    /// Over TLS over another tunnel.
    #[must_use]
    pub fn tls(inner: SslStream<Self>) -> Self {
        let (origin, line) = (inner.get_ref().origin(), inner.get_ref().line.clone());
        let proxy_digest = inner.get_ref().proxy_digest.clone();
        let mut tunnel = Self::over(Layer::Tls(Box::new(inner)), origin, line);
        tunnel.proxy_digest = proxy_digest;
        tunnel
    }

    fn over(layer: Layer, origin: Origin, line: Line) -> Self {
        Self {
            layer,
            prefix: Bytes::new(),
            framing: Framing::Open,
            frames: None,
            cork: None,
            farewell: None,
            read: 0,
            written: 0,
            established: SystemTime::now(),
            odd: false,
            proxy_digest: None,
            socket_digest: origin.socket_digest,
            stream: origin.stream,
            line,
        }
    }

    /// The socket at the bottom. It may carry other tunnels too: [`Self::line`] ends this one.
    #[must_use]
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// What ends it, for whoever may have to.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// What the tunnels in it are to know of it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            stream: self.stream.clone(),
            socket_digest: self.socket_digest.clone(),
        }
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
            Layer::Stream(stream) => stream.holds_bytes(),
            Layer::Tls(stream) => stream.ssl().pending() > 0 || stream.get_ref().holds_bytes(),
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

    /// Says how a WebSocket on it is closed if the process ends it, or that there is none.
    pub fn bid(&mut self, farewell: Option<Farewell>) {
        self.farewell = farewell.map(Box::new);
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
        self.proxy_digest = carrying(context);
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
            Layer::Stream(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }

    fn poll_write_layer(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Layer::Stream(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush_layer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Layer::Stream(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    /// Writes what closes a WebSocket, once it is time. Whoever reads drives it: an agent that is silent is read, too.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) {
        let Some(mut farewell) = self.farewell.take() else {
            return;
        };
        while let Some(rest) = farewell.poll_due(cx) {
            match self.poll_write_layer(cx, rest) {
                Poll::Ready(Ok(count)) if count > 0 => farewell.said(count),
                // What fails here fails for who reads or writes next.
                Poll::Ready(_) | Poll::Pending => break,
            }
            // It has a waker, and is tried again with the next read.
            let _flushed = self.poll_flush_layer(cx);
        }
        self.farewell = Some(farewell);
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
        this.poll_farewell(cx);
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
        if this
            .farewell
            .as_ref()
            .is_some_and(|farewell| farewell.is_over())
        {
            // Nobody reads what comes behind the end.
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = this.poll_write_layer(cx, bytes);
        if let Some(farewell) = &mut this.farewell {
            farewell.follow(&result, bytes);
        }
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
        this.poll_flush_layer(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Layer::Stream(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Layer::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// What carries a context to Pingora's filters.
#[must_use]
pub fn carrying<T: Any + Send + Sync>(context: T) -> Option<Arc<ProxyDigest>> {
    // A status of three digits always builds.
    let response = ResponseHeader::build(200, Some(0)).ok()?;
    Some(Arc::new(ProxyDigest {
        response: Box::new(response),
        user_data: Some(Box::new(context)),
    }))
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
