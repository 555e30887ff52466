//! The ports of the API and of the admin pages: HTTP/1 and HTTP/2 by prior knowledge, with bounds from the first byte.

use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use crate::tasks::Tasks;

/// What bounds a port's connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// From which descriptor on a connection is closed unread: the rest is kept for the admin pages and for gateways.
    pub(super) descriptors: RawFd,
    /// How many are open at once; further ones wait in the kernel's queue.
    pub(super) connections: usize,
    /// How long a request's head may take. A connection that is idle for longer is closed, too.
    pub(super) head: Duration,
}

/// Accepts until the process stops; requests under way are then answered, and nothing more.
pub(super) async fn serve(listener: TcpListener, router: Router, bounds: Bounds, tasks: Tasks) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let stopped = tasks.shutdown().clone();
    loop {
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = stopped.cancelled() => return,
            accepted = accept => accepted,
        };
        match (accepted, slot) {
            (Ok((stream, _)), Ok(_slot)) if stream.as_raw_fd() >= bounds.descriptors => {}
            (Ok((stream, _)), Ok(slot)) => {
                // Answers are a few writes each: waiting for a delayed acknowledgement between them takes 40 ms.
                let _nodelay = stream.set_nodelay(true);
                let connection = Connection::new(stream, slot, bounds.head);
                tasks.spawn(
                    "http connection",
                    answer(connection, router.clone(), bounds.head, stopped.clone()),
                );
            }
            (Err(error), _) => {
                // Out of descriptors, mostly: trying again at once would spin.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
            (Ok(_), Err(_closed)) => return,
        }
    }
}

async fn answer(
    connection: Connection<TcpStream>,
    router: Router,
    head: Duration,
    stopped: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let service = TowerToHyperService::new(router);
    let mut served = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
