//! Models that answer as a stream, in two halves, as their vendors' SDKs expect them.
//!
//! The answer is always the same. Its second half waits at the gate of [`site`].

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::answer::typed;
use super::body::{Body, Received};
use super::site::{self, Site};

/// What is sent at once.
pub const FIRST: &str = "The key stayed in the vault, ";
/// What is sent once the gate is open.
pub const REST: [&str; 2] = ["and this came ", "as a stream."];

/// Answers `POST /v1/responses` and `POST /v1/chat/completions`, as streams only.
///
/// # Errors
/// When a body is no JSON.
pub fn openai(site: &Site, head: &Parts, received: &Received) -> Result<Response<Body>> {
    let refusal = |status, message: &str, code: &str| {
        let error = json!({"message": message, "type": "invalid_request_error", "code": code});
        site::json(status, &json!({"error": error}))
    };
    if !site.is_authorized(&head.headers, &["Bearer"]) {
        let message = "Incorrect API key provided.";
        return Ok(refusal(
            StatusCode::UNAUTHORIZED,
            message,
            "invalid_api_key",
        ));
    }
    let Some(model) = streamed(head, received)? else {
        let message = "This stand-in answers a POST with `stream` only.";
        return Ok(refusal(StatusCode::BAD_REQUEST, message, "unsupported"));
    };
    Ok(match head.uri.path() {
        "/v1/responses" => halves(site, named(&responses(&model))),
        "/v1/chat/completions" => halves(site, unnamed(&completions(&model))),
        _ => refusal(StatusCode::NOT_FOUND, "Unknown request URL.", "unknown_url"),
    })
}

/// Answers `POST /v1/messages`, as a stream only.
///
/// # Errors
/// When a body is no JSON.
pub fn anthropic(site: &Site, head: &Parts, received: &Received) -> Result<Response<Body>> {
    let refusal = |status, kind: &str, message: &str| {
        let error = json!({"type": kind, "message": message});
        site::json(status, &json!({"type": "error", "error": error}))
    };
    // The SDKs send the key twice. A wrong one is refused wherever it stands.
    let is_key = site.is_key(&head.headers, "x-api-key");
    let is_bearer = site.is_authorized(&head.headers, &["Bearer"]);
    if !is_key || (head.headers.contains_key(AUTHORIZATION) && !is_bearer) {
        let message = "invalid x-api-key";
        return Ok(refusal(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            message,
        ));
    }
    if head.uri.path() != "/v1/messages" {
        return Ok(refusal(
            StatusCode::NOT_FOUND,
            "not_found_error",
            "Not found",
        ));
    }
    let Some(model) = streamed(head, received)? else {
        let message = "This stand-in answers a POST with `stream` only.";
        return Ok(refusal(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            message,
        ));
    };
    Ok(halves(site, named(&messages(&model))))
}

/// The model of a request that asks for a stream.
fn streamed(head: &Parts, received: &Received) -> Result<Option<String>> {
    if head.method != Method::POST {
        return Ok(None);
    }
    let asked: Value = serde_json::from_slice(&received.kept).context("the body is no JSON")?;
    let is_stream = asked.get("stream") == Some(&Value::Bool(true));
    let model = asked.get("model").and_then(Value::as_str);
    Ok(model.filter(|_| is_stream).map(str::to_owned))
}

/// Events in two halves: those up to the first words, and those behind them.
struct Events {
    before: Vec<Value>,
    behind: Vec<Value>,
}

fn responses(model: &str) -> Events {
    let all = [FIRST, REST[0], REST[1]].concat();
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let item = |status: &str, content: &[Value]| json!({"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content});
    let response = |status: &str, output: &[Value]| {
        json!({"id": "resp_1", "object": "response", "created_at": 0, "model": model, "status": status,
            "output": output, "tools": [], "tool_choice": "auto", "parallel_tool_calls": true})
    };
    // What an event about the one part of the one item of the answer says besides its type.
    let about = |kind: &str, name: &str, value: Value| {
        let mut event = json!({"type": format!("response.{kind}"), "item_id": "msg_1", "output_index": 0, "content_index": 0});
        if let Some(fields) = event.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
        event
    };
    let delta = |text: &str| about("output_text.delta", "delta", text.into());
    let done = item("completed", &[part(&all)]);
    Events {
        before: vec![
            json!({"type": "response.created", "response": response("in_progress", &[])}),
            about("output_item.added", "item", item("in_progress", &[])),
            about("content_part.added", "part", part("")),
            delta(FIRST),
        ],
        behind: vec![
            delta(REST[0]),
            delta(REST[1]),
            about("output_text.done", "text", all.clone().into()),
            about("content_part.done", "part", part(&all)),
            about("output_item.done", "item", done.clone()),
            json!({"type": "response.completed", "response": response("completed", &[done])}),
        ],
    }
}

fn completions(model: &str) -> Events {
    let chunk = |delta: Value, end: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
    };
    let words = |text: &str| chunk(json!({"content": text}), Value::Null);
    Events {
        before: vec![
            chunk(json!({"role": "assistant", "content": ""}), Value::Null),
            words(FIRST),
        ],
        behind: vec![
            words(REST[0]),
            words(REST[1]),
            chunk(json!({}), "stop".into()),
        ],
    }
}

fn messages(model: &str) -> Events {
    let delta = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 1}});
    Events {
        before: vec![
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            delta(FIRST),
        ],
        behind: vec![
            delta(REST[0]),
            delta(REST[1]),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 12}}),
            json!({"type": "message_stop"}),
        ],
    }
}

/// Each event under its own type's name.
fn named(events: &Events) -> (String, String) {
    let line = |event: &Value| {
        let name = event.get("type").and_then(Value::as_str);
        format!("event: {}\ndata: {event}\n\n", name.unwrap_or_default())
    };
    let text = |events: &[Value]| events.iter().map(line).collect();
    (text(&events.before), text(&events.behind))
}

/// Events without names, and the mark of the end.
fn unnamed(events: &Events) -> (String, String) {
    let text = |events: &[Value]| -> String {
        events
            .iter()
            .map(|event| format!("data: {event}\n\n"))
            .collect()
    };
    let end = "data: [DONE]\n\n";
    (text(&events.before), text(&events.behind) + end)
}

fn halves(site: &Site, (before, behind): (String, String)) -> Response<Body> {
    let first = stream::iter([Ok(Frame::data(Bytes::from(before)))]);
    let rest = stream::once(opened(site.gate(), behind));
    typed(
        "text/event-stream",
        StreamBody::new(first.chain(rest)).boxed_unsync(),
    )
}

async fn opened(gate: Arc<Semaphore>, rest: String) -> std::io::Result<Frame<Bytes>> {
    let permit = gate.acquire().await.map_err(std::io::Error::other)?;
    permit.forget();
    Ok(Frame::data(Bytes::from(rest)))
}
