//! Responses over a WebSocket, as Codex asks first: each text of the client is a request, each text back is an event.
//!
//! A request with `previous_response_id` says only what is new: the connection remembers the rest, and ends with it.

use anyhow::Result;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::asked::{Reply, list};
use super::responses::Responses;
use super::{Dialect as _, Models, refused};
use crate::upstream::body::{Body, Received};
use crate::upstream::listen::Upstream;
use crate::upstream::record::Connection;
use crate::upstream::websocket::{self, CLOSE, LAST, PING, PONG, TEXT};

/// Whether a request wants this.
#[must_use]
pub fn is_asked(request: &Request<Incoming>) -> bool {
    request.uri().path() == "/v1/responses" && request.headers().contains_key("sec-websocket-key")
}

/// Answers a handshake; the requests are served in a task of their own.
///
/// # Errors
/// When the request is no handshake, or cannot be written down.
#[expect(
    clippy::disallowed_methods,
    reason = "hyper gives the connection away once the answer has left, and nobody else owns it"
)]
pub fn answer(
    upstream: &Upstream,
    models: &Models,
    on: Connection,
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    let upgrading = hyper::upgrade::on(&mut request);
    let (head, _incoming) = request.into_parts();
    let received = Received {
        complete: true,
        ..Received::default()
    };
    upstream.recorder().record(on, &head, &received)?;
    if !models.is_known(&head, false) {
        return Ok(refused(false));
    }
    let mut answer = websocket::switch(&head)?;
    answer.headers_mut().remove("x-echo");
    drop(tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else {
            return;
        };
        // How it ends is the client's affair.
        drop(serve(TokioIo::new(upgraded)).await);
    }));
    Ok(answer)
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut input: Vec<Value> = Vec::new();
    loop {
        let (kind, payload) = websocket::read_frame(&mut stream).await?;
        match kind & 0x0f {
            TEXT => {
                let body = serde_json::from_slice(&payload)?;
                for event in events(&mut input, body) {
                    websocket::write_frame(&mut stream, LAST | TEXT, event.as_bytes()).await?;
                }
            }
            PING => websocket::write_frame(&mut stream, LAST | PONG, &payload).await?,
            CLOSE => return websocket::write_frame(&mut stream, LAST | CLOSE, &payload).await,
            _ => {}
        }
    }
}

/// What is said to a request, which adds to the conversation or begins another one.
fn events(input: &mut Vec<Value>, mut body: Value) -> Vec<String> {
    if body.get("previous_response_id").is_none_or(Value::is_null) {
        input.clear();
    }
    input.extend_from_slice(list(&body, "input"));
    // A request that only prepares what follows is answered with nothing.
    let is_prepared = body.get("generate").and_then(Value::as_bool) == Some(false);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("input".to_owned(), json!(input));
    }
    let asked = Responses::read(&body);
    let reply = if is_prepared {
        Reply::Text(String::new())
    } else {
        asked.reply()
    };
    let events = Responses::events(&asked, &reply).into_iter();
    events
        .filter(|(name, _)| !is_prepared || is_frame(name.unwrap_or_default()))
        .map(|(_, data)| data)
        .collect()
}

/// Whether an event says that an answer begins or ends, and nothing of what it says.
fn is_frame(name: &str) -> bool {
    ["response.created", "response.completed"].contains(&name)
}
