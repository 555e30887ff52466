//! `/livez`, `/readyz`, `/metrics` and `/state`, on a thread of their own: a stalled data path does not stall what
//! reports it.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ready::Ready;
use crate::snapshot::State;
use crate::tasks;

/// The most connections at once; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// What the pages are made of.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The metrics.
    pub registry: Registry,
    /// Whether the node is ready.
    pub ready: Ready,
    /// What the node knows.
    pub state: State,
}

/// Starts the thread. It runs until the process ends, for a node that drains still answers; but once another process has
/// taken the port over, which `left` tells, that one does.
///
/// # Errors
/// What the system says when there is no thread or no runtime.
pub fn start(
    listener: std::net::TcpListener,
    sources: Sources,
    left: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _detached = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(serve(listener, sources, left)))?;
    Ok(())
}

async fn serve(listener: std::net::TcpListener, sources: Sources, mut left: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin port cannot be served"),
    };
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Ok(_) = left.wait_for(|left| *left) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let sources = sources.clone();
        drop(tasks::spawn("admin connection", async move {
            let _place = place;
            let service = service_fn(|request| {
                let answer = answer(&request, &sources);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that leaves in the middle is no news.
            let _ended = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }));
    }
    drop(listener);
    // What is being answered is.
    std::future::pending().await
}

fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    let (status, body) = if *request.method() == Method::GET {
        page(request.uri().path(), sources)
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, Vec::new())
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn page(path: &str, sources: &Sources) -> (StatusCode, Vec<u8>) {
    let Sources {
        registry,
        ready,
        state,
    } = sources;
    match path {
        "/state" => (StatusCode::OK, state.describe().to_string().into_bytes()),
        "/livez" => (StatusCode::OK, b"ok\n".to_vec()),
        "/readyz" if ready.is_ready() => (StatusCode::OK, b"ready\n".to_vec()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, b"not ready\n".to_vec()),
        "/metrics" => {
            let mut text = Vec::new();
            match TextEncoder::new().encode(&registry.gather(), &mut text) {
                Ok(()) => (StatusCode::OK, text),
                Err(error) => {
                    tracing::error!(%error, "metrics could not be written");
                    (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
                }
            }
        }
        _ => (StatusCode::NOT_FOUND, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::ready::Step;

    #[test]
    fn pages_say_what_they_are_asked() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.refused(sortie_proto::code::Code::TokenExpired);
        let ready = Ready::default();
        let sources = Sources {
            registry,
            ready: ready.clone(),
            state: State::new(),
        };
        assert_eq!(page("/livez", &sources).0, StatusCode::OK);
        assert_eq!(page("/readyz", &sources).0, StatusCode::SERVICE_UNAVAILABLE);
        for step in [Step::Enrolled, Step::Leased, Step::Listening] {
            ready.took(step);
        }
        assert_eq!(page("/readyz", &sources).0, StatusCode::OK);
        let (_, text) = page("/metrics", &sources);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("sortie_gateway_refusals_total{code=\"token_expired\"} 1"));
        assert_eq!(page("/", &sources).0, StatusCode::NOT_FOUND);
    }
}
