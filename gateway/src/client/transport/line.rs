//! What ends a tunnel from outside: its socket, or its stream of a connection that carries other tunnels too.

use std::sync::{Arc, Weak};

use tokio::net::TcpStream;

use super::socket;
use super::stream::Reset;

/// What ends a tunnel from outside.
#[derive(Debug, Clone)]
pub enum Line {
    /// Its socket.
    Socket(Arc<TcpStream>),
    /// Its stream of an HTTP/2 connection.
    Stream(Arc<Reset>),
}

/// The same, of a tunnel that may be gone.
#[derive(Debug, Clone)]
pub enum WeakLine {
    /// Its socket.
    Socket(Weak<TcpStream>),
    /// Its stream of an HTTP/2 connection.
    Stream(Weak<Reset>),
}

impl Line {
    /// Ends it in both directions: its holder reads no more and fails to write.
    pub fn cut(&self) {
        match self {
            Self::Socket(stream) => socket::cut(stream),
            Self::Stream(stream) => stream.cut(),
        }
    }

    /// Without keeping it open.
    #[must_use]
    pub fn downgrade(&self) -> WeakLine {
        match self {
            Self::Socket(stream) => WeakLine::Socket(Arc::downgrade(stream)),
            Self::Stream(stream) => WeakLine::Stream(Arc::downgrade(stream)),
        }
    }
}

impl WeakLine {
    /// The line, if the tunnel is not gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Line> {
        match self {
            Self::Socket(stream) => stream.upgrade().map(Line::Socket),
            Self::Stream(stream) => stream.upgrade().map(Line::Stream),
        }
    }
}
