//! The connection to an upstream of a request that asks for a WebSocket.
//!
//! Pingora 0.9 reads an answer while it still has the request's end to pass on. If it reads a 101 first, it takes that
//! end for the end of the WebSocket, which is over at once (`proxy_h1.rs`). So what the upstream sends waits here, from
//! the request's head on, until its end was passed on.
//!
//! **Invariants.** A WebSocket has a connection that was made for it, and none of these is ever used again: Pingora
//! knows the connections of its pools by their descriptors, and a socket that is not its own has none to it. What is
//! dialled is the address that was classified; it is what Pingora asks for.
//!
//! Not for other requests: their connections live in those pools, on Pingora's own sockets. These have no buffer, so
//! that a TLS record takes two reads or three, where it takes one here.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::client::transport::socket::Socket;

const OPEN: u8 = 0;
const HELD: u8 = 1;
const ENDING: u8 = 2;

/// Whether what the upstream sends may be read. The request's filters and its connection share it, in one task.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    /// The request's head is about to leave: from here on nothing is read.
    pub fn hold(&self) {
        self.0.store(HELD, Ordering::Relaxed);
    }

    /// The request's end is on its way: Pingora flushes once it has passed it on.
    pub fn end(&self) {
        let _held = self.turn(HELD, ENDING);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OPEN
    }

    /// Whether it opens with this flush.
    fn flushed(&self) -> bool {
        self.turn(ENDING, OPEN)
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        let turned = self
            .0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        turned.is_ok()
    }
}

/// Makes the connection.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) gate: Arc<Gate>,
    /// How long TCP may take. Pingora's own applies to its own connector only.
    pub(super) connect_timeout: Duration,
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Err(Error::new(ErrorType::ConnectError));
        };
        let connecting = ext::connect(address, None);
        let Ok(connected) = timeout(self.connect_timeout, connecting).await else {
            return Err(Error::new(ErrorType::ConnectTimedout));
        };
        let socket = Gated {
            socket: Socket::new(connected?),
            gate: self.gate.clone(),
            waiting: None,
        };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

/// A socket behind a gate.
struct Gated {
    socket: Socket,
    gate: Arc<Gate>,
    /// Whoever wanted to read when it was shut.
    waiting: Option<Waker>,
}

/// Pingora formats its streams: what is in the buffers of a plain one may be a credential.
impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated").finish_non_exhaustive()
    }
}

impl VirtualSocket for Gated {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        let stream = self.socket.stream();
        match option {
            VirtualSockOpt::NoDelay => stream.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                ext::set_tcp_keepalive(stream, &keepalive).map_err(io::Error::other)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.gate.is_open() {
            this.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut this.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_flush(cx))?;
        if this.gate.flushed()
            && let Some(waiting) = this.waiting.take()
        {
            waiting.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
