//! Connections that carry many tunnels: HTTP/2 over TLS, each tunnel a stream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::MutexGuard;

use super::Fault;
use crate::relay::answer::Body;
use crate::tasks::Crew;

/// The most tunnels of one connection; with more, another one is opened.
const STREAMS_MAX: usize = 100;
/// How much of a stream may be on its way unread, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for a connection: so much that no set of stalled streams stops the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;
/// How much of a stream is held that the gateway does not take yet, in bytes.
const SEND_BUFFER: usize = 128 * 1024;
/// After how much silence a connection is asked whether it still stands.
const PING_AFTER: Duration = Duration::from_secs(20);
/// How long the answer may take.
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// A tunnel's place on its connection; free again when it is dropped.
#[derive(Debug, Clone)]
pub(in crate::relay) struct Place(
    #[expect(dead_code, reason = "counted, never looked at")] Arc<()>,
);

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    open: Mutex<Vec<Carrier>>,
    dialling: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Carrier {
    sender: SendRequest<Body>,
    places: Arc<()>,
}

impl Carrier {
    fn place(&self) -> Option<(SendRequest<Body>, Place)> {
        // One reference is the carrier's own.
        let taken = Arc::strong_count(&self.places) - 1;
        let free = taken < STREAMS_MAX && !self.sender.is_closed();
        free.then(|| (self.sender.clone(), Place(self.places.clone())))
    }
}

impl Carriers {
    /// A place on a connection that has one.
    pub(super) fn place(&self) -> Option<(SendRequest<Body>, Place)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|carrier| !carrier.sender.is_closed());
        open.iter().find_map(Carrier::place)
    }

    /// All connections.
    pub(super) fn all(&self) -> Vec<SendRequest<Body>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|carrier| carrier.sender.clone()).collect()
    }

    /// The right to dial.
    pub(super) async fn dialling(&self) -> MutexGuard<'_, ()> {
        self.dialling.lock().await
    }

    /// Adds a connection, and takes the first place on it.
    pub(super) async fn add(
        &self,
        _dialling: &mut MutexGuard<'_, ()>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        crew: &Crew,
    ) -> Result<(SendRequest<Body>, Place), Fault> {
        let (sender, connection) = Builder::new(crew.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_DEADLINE)
            .handshake(TokioIo::new(stream))
            .await
            .or(Err(Fault::Passing))?;
        crew.start(async move {
            // An error is seen by every stream on it.
            let _ended = connection.await;
        });
        let places = Arc::new(());
        let place = Place(places.clone());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Carrier {
            sender: sender.clone(),
            places,
        });
        Ok((sender, place))
    }
}

#[cfg(test)]
mod tests;
