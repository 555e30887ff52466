//! Bodies: reading one with a bound, and answers that come in pieces, slowly, or not to their end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::HeaderMap;
use hyper::body::{Frame, Incoming, SizeHint};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How long a piece waits for the one before it to leave: hyper flushes when a body has nothing ready.
const FLUSH: Duration = Duration::from_millis(5);

/// What a long body is made of: as long as it may be, it takes no memory of its own.
static FIXED: &[u8] = &[b'x'; 64 * 1024];

/// So many bytes, all the same.
#[derive(Debug)]
struct Repeated(usize);

impl hyper::body::Body for Repeated {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let part = FIXED.get(..self.0).unwrap_or(FIXED);
        self.0 -= part.len();
        let frame = Frame::data(Bytes::from_static(part));
        Poll::Ready((!part.is_empty()).then_some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0 as u64)
    }
}

/// So many bytes, with their length.
#[must_use]
pub fn repeated(count: usize) -> Body {
    Repeated(count).boxed_unsync()
}

/// What came of a request's body.
#[derive(Debug, Default)]
pub struct Received {
    /// Its beginning, up to the bound.
    pub kept: Bytes,
    /// How many bytes it had.
    pub bytes: u64,
    /// Whether it came to its end.
    pub complete: bool,
}

impl Received {
    /// Reads a body to its end and keeps its beginning.
    pub async fn read(mut body: Incoming, keep: usize) -> Self {
        let (mut kept, mut bytes) = (BytesMut::new(), 0);
        loop {
            match body.frame().await {
                None => {
                    return Self {
                        kept: kept.freeze(),
                        bytes,
                        complete: true,
                    };
                }
                Some(Err(_)) => {
                    return Self {
                        kept: kept.freeze(),
                        bytes,
                        complete: false,
                    };
                }
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else {
                        continue;
                    };
                    bytes += data.len() as u64;
                    let room = keep.saturating_sub(kept.len()).min(data.len());
                    kept.extend_from_slice(data.get(..room).unwrap_or_default());
                }
            }
        }
    }
}

/// A body in one piece.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// A body in these pieces, each flushed by itself. Over HTTP/1.1 each is a chunk.
pub fn pieces(pieces: Vec<Bytes>) -> Body {
    paced(stream::iter(pieces), FLUSH)
}

/// Pieces with a wait behind each.
pub fn paced(pieces: impl Stream<Item = Bytes> + Send + 'static, wait: Duration) -> Body {
    let frames = pieces.enumerate().then(move |(index, piece)| async move {
        if index > 0 {
            tokio::time::sleep(wait).await;
        }
        Ok(Frame::data(piece))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A body with trailers behind it.
pub fn with_trailers(bytes: impl Into<Bytes>, trailers: HeaderMap) -> Body {
    let frames = [Ok(Frame::data(bytes.into())), Ok(Frame::trailers(trailers))];
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// A body that breaks off after these bytes: the connection or stream is reset.
pub fn broken(bytes: impl Into<Bytes>) -> Body {
    let first = stream::iter([Ok(Frame::data(bytes.into()))]);
    let end = stream::once(async {
        tokio::time::sleep(FLUSH).await;
        Err(std::io::Error::other("broken off on purpose"))
    });
    StreamBody::new(first.chain(end)).boxed_unsync()
}
