//! A connection with its bounds: it holds one of so many slots, and its first bytes must come in time.
//!
//! hyper bounds the reading of a head once it knows the version of HTTP; the bytes that tell the version have no
//! deadline there, and neither has the preface of HTTP/2.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// The length of the preface of HTTP/2 (RFC 9113, 3.4); every useful request of HTTP/1 is longer.
const FIRST_BYTES: usize = 24;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    first: Option<First>,
    _slot: OwnedSemaphorePermit,
}

/// What is still to come, and until when.
#[derive(Debug)]
struct First {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Connection<S> {
    /// A connection that was just accepted.
    pub(super) fn new(stream: S, slot: OwnedSemaphorePermit, first_max: Duration) -> Self {
        Self {
            stream,
            first: Some(First {
                missing: FIRST_BYTES,
                deadline: Box::pin(sleep(first_max)),
            }),
            _slot: slot,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(first) = &mut self.first {
            let read = buf.filled().len().saturating_sub(before);
            first.missing = first.missing.saturating_sub(read);
            if first.missing == 0 {
                self.first = None;
            } else if first.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Connection<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}
