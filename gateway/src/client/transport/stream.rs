//! A stream of an HTTP/2 connection as the bottom of a tunnel (RFC 9113, 8.5).
//!
//! It behaves as a socket does: dropping it ends it in order, cutting it from outside ends it at once in both directions
//! (`RST_STREAM`), and the connection's other streams go on.
//!
//! Nothing is gathered here. A frame gives its window back when its first byte is taken, so that a tunnel that is not read
//! holds one stream's window, and the rest of one frame; what is written waits for the client's window, and only so long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use parking_lot::Mutex;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The most bytes of one write: a frame of the size that every client takes.
const WRITE_BYTES: usize = 16 * 1024;

/// The half of a stream that is written, which whoever ends the tunnel from outside shares with its IO.
///
/// The lock is the tunnel's own: nobody waits for it but a revocation.
#[derive(Debug, Default)]
pub struct Reset(Mutex<Writing>);

#[derive(Debug, Default)]
struct Writing {
    /// None until the stream is answered.
    stream: Option<SendStream<Bytes>>,
    /// The end was sent.
    ended: bool,
    /// It was cut, perhaps before it was answered.
    cut: bool,
}

impl Reset {
    /// Ends the stream in both directions: its holder fails to read and to write, and the client is told at once.
    pub fn cut(&self) {
        let mut writing = self.0.lock();
        writing.cut = true;
        if let Some(stream) = &mut writing.stream {
            // h2 wakes whoever waits to read or write.
            stream.send_reset(Reason::CANCEL);
        }
    }

    /// Ends the direction towards the client, if nothing has.
    fn finish(&self) {
        let mut writing = self.0.lock();
        if writing.ended || writing.cut {
            return;
        }
        writing.ended = true;
        if let Some(stream) = &mut writing.stream {
            // It fails only on a stream that has ended already.
            let _sent = stream.send_data(Bytes::new(), true);
        }
    }

    /// Takes the stream once it is answered.
    fn hold(&self, mut stream: SendStream<Bytes>) {
        let mut writing = self.0.lock();
        if writing.cut {
            stream.send_reset(Reason::CANCEL);
        }
        writing.stream = Some(stream);
    }

    /// Lets the stream go.
    fn release(&self) {
        drop(self.0.lock().stream.take());
    }
}

impl Writing {
    /// What may be written to.
    fn open(&mut self) -> Option<&mut SendStream<Bytes>> {
        let open = !self.ended && !self.cut;
        self.stream.as_mut().filter(|_| open)
    }
}

/// An opened stream.
pub struct H2Stream {
    reset: Arc<Reset>,
    /// What is received, and the stream itself: it ends when this is dropped.
    session: HttpSession,
    /// What came in a frame and was not taken yet.
    input: Bytes,
    /// How long the client may take nothing of what is written.
    unread: Duration,
    /// Runs while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Stream").finish_non_exhaustive()
    }
}

impl H2Stream {
    /// Answers a CONNECT with 200, and takes its stream over. `reset` may have been cut in the meantime; then it ends
    /// here. `unread` is how long the client may take nothing. None when the client has given the stream up.
    #[must_use]
    pub fn open(reset: Arc<Reset>, mut session: HttpSession, unread: Duration) -> Option<Self> {
        let established = ResponseHeader::build(200, Some(1)).ok()?;
        session
            .write_response_header(Box::new(established), false)
            .ok()?;
        reset.hold(session.take_response_body_writer()?);
        // Nobody reads the request again, the token in it least of all, and a tunnel may be open for days.
        *session.req_header_mut() = RequestHeader::build("CONNECT", b"*", Some(0)).ok()?;
        Some(Self {
            reset,
            session,
            input: Bytes::new(),
            unread,
            stalled: None,
        })
    }

    /// What ends it from outside.
    #[must_use]
    pub fn reset(&self) -> &Arc<Reset> {
        &self.reset
    }

    /// Whether bytes came that were not taken yet.
    #[must_use]
    pub const fn holds_bytes(&self) -> bool {
        !self.input.is_empty()
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let part = self.input.split_to(self.input.len().min(buf.remaining()));
        buf.put_slice(&part);
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        // What was written is sent first. If the client has not ended its direction, h2 resets the stream behind it
        // (`NO_ERROR`).
        self.reset.finish();
        self.reset.release();
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.input.is_empty() {
            match ready!(this.session.poll_read_body_bytes(cx)) {
                Some(Ok(bytes)) => this.input = bytes,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        this.take(buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wanted = bytes.len().min(WRITE_BYTES);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut writing = this.reset.0.lock();
        let Some(stream) = writing.open() else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        stream.reserve_capacity(wanted);
        let Poll::Ready(room) = room(stream, cx) else {
            drop(writing);
            return this.poll_stalled(cx).map(Err);
        };
        this.stalled = None;
        let part = bytes.get(..wanted.min(room?)).unwrap_or(bytes);
        let sent = stream.send_data(Bytes::copy_from_slice(part), false);
        Poll::Ready(sent.map(|()| part.len()).map_err(broken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever drives the connection sends what was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().reset.finish();
        Poll::Ready(Ok(()))
    }
}

impl H2Stream {
    /// Waits while the client takes nothing, and fails when that lasts too long. TCP counts its own window so
    /// (`TCP_USER_TIMEOUT`); it does not see a stream's.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let unread = self.unread;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(unread)));
        ready!(stalled.as_mut().poll(cx));
        self.reset.cut();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

/// How many bytes the client and the connection take now.
fn room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        // Polling tells of changes alone.
        let room = stream.capacity();
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

#[cfg(test)]
mod tests;
