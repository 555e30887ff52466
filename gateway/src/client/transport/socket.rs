//! A TCP socket with buffers that exist only while they hold something.
//!
//! BoringSSL reads a record's five-byte header and its body apart, so reads need a buffer; thousands of idle tunnels
//! must not each keep one. It is allocated once the socket is readable, and freed when it has been drained.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use rustix::buffer::{Buffer, spare_capacity};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes written at once; smaller writes are gathered until a flush.
const WRITE_BYTES: usize = 16 * 1024;
/// How long a connection is silent before its peer is asked whether it is there; and how often then, how far apart.
#[cfg(target_os = "linux")]
const KEEPALIVE_SECONDS: u32 = 60;
const KEEPALIVE_PROBES: u32 = 4;
const KEEPALIVE_INTERVAL_SECONDS: u32 = 15;

/// A TCP socket whose other holders can end it.
#[derive(Debug)]
pub struct Socket {
    stream: Arc<TcpStream>,
    /// What was read and not taken yet; no allocation while the socket is idle.
    input: Vec<u8>,
    taken: usize,
    /// What was written and not sent yet; no allocation while the socket is idle.
    output: Vec<u8>,
    sent: usize,
}

impl Socket {
    /// Takes a socket over.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream: Arc::new(stream),
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            sent: 0,
        }
    }

    /// The socket, for whoever may have to end it. The descriptor stays open while anyone holds it, so it cannot be
    /// reused for a stranger's connection.
    #[must_use]
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Whether bytes were read and not taken yet.
    #[must_use]
    pub const fn holds_bytes(&self) -> bool {
        !self.input.is_empty()
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let held = self.input.get(self.taken..).unwrap_or_default();
        let part = held.get(..buf.remaining()).unwrap_or(held);
        buf.put_slice(part);
        self.taken += part.len();
        if self.taken >= self.input.len() {
            self.input = Vec::new();
            self.taken = 0;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.output = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Has small writes sent at once, and has the system end a connection whose peer is gone, or takes nothing of what was
/// sent for so long (`TCP_USER_TIMEOUT`, on Linux; it counts while the peer's window is closed, too).
pub fn tune(stream: &TcpStream, unread: Duration) {
    // Each fails only on a socket that has ended.
    let _set = stream.set_nodelay(true);
    let _set = setsockopt(stream, sockopt::KeepAlive, &true);
    let _set = setsockopt(
        stream,
        sockopt::TcpKeepInterval,
        &KEEPALIVE_INTERVAL_SECONDS,
    );
    let _set = setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES);
    #[cfg(target_os = "linux")]
    {
        let unread = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
        let _set = setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS);
        let _set = setsockopt(stream, sockopt::TcpUserTimeout, &unread);
    }
    #[cfg(not(target_os = "linux"))]
    let _unused = unread;
}

/// Ends a socket in both directions: its holder reads the end and fails to write.
pub fn cut(stream: &TcpStream) {
    // It fails only on a socket that has ended already.
    let _ended = shutdown(stream.as_raw_fd(), Shutdown::Both);
}

/// Reads once. A read that does not fill the buffer has emptied the socket, so that the next one waits for the kernel's
/// word instead of asking it in vain: bytes that come in between are announced anew.
fn read<B: Buffer<u8, Output = usize>>(
    stream: &TcpStream,
    buffer: B,
    size: usize,
) -> io::Result<usize> {
    let mut partial = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let count = rustix::io::read(stream, buffer)?;
        if count > 0 && count < size {
            partial = Some(count);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    partial.map_or(outcome, Ok)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.input.is_empty() {
            this.take(buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.stream.poll_read_ready(cx))?;
            let result = if buf.remaining() >= READ_BYTES {
                let size = buf.remaining();
                let result = read(&this.stream, buf.initialize_unfilled(), size);
                result.inspect(|&count| buf.advance(count))
            } else {
                let mut input = Vec::with_capacity(READ_BYTES);
                let size = input.capacity();
                let result = read(&this.stream, spare_capacity(&mut input), size);
                if result.is_ok() {
                    this.input = input;
                    this.take(buf);
                }
                result
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other.map(|_count| ())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.output.len() + bytes.len() <= WRITE_BYTES {
            this.output.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_send(cx))?;
        if bytes.len() <= WRITE_BYTES {
            this.output.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        loop {
            match this.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(this.stream.poll_write_ready(cx))?;
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        // It fails only on a socket that has ended already.
        let _ended = shutdown(this.stream.as_raw_fd(), Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
