//! A model for coding agents to talk to: the APIs of Anthropic and OpenAI, with streaming, behind one key.
//!
//! The model does what it is told. Where somebody says "Please run", and a command in backquotes behind it, and nothing
//! has been run yet, it calls the agent's own tool for commands; once there is a result, it says what the command
//! printed; otherwise it says [`GREETING`]. So an agent's loop really turns, and its last words hold what its own machine
//! answered.
//!
//! | path | what |
//! |---|---|
//! | `/v1/messages` | Anthropic's Messages |
//! | `/v1/responses` | OpenAI's Responses, over a WebSocket, too |
//! | `/v1/chat/completions` | OpenAI's Chat Completions |
//! | `/v1/models` | a list with one model |
//!
//! Whoever does not send the key, as that vendor's clients send it, gets the vendor's 401. Not here: sampling,
//! images, anything that these APIs remember.

mod asked;
mod completions;
mod messages;
mod responses;
pub mod socket;

use anyhow::Result;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::typed;
use super::body::{self, Body, Received};

pub use self::asked::{Asked, Call, Reply, Takes};

/// The longest request body, in bytes: a conversation with all of an agent's instructions.
pub const BODY_MAX: usize = 16 * 1024 * 1024;

/// What the model says where there is nothing to run.
pub const GREETING: &str = "Nothing to run.";

/// How much of a text goes into one event: small, so that every answer is many.
const PIECE: usize = 7;

/// The models that are behind one key.
#[derive(Debug)]
pub struct Models {
    key: String,
}

/// A server-sent event: its name, if the API gives it one, and its data.
type Event = (Option<&'static str>, String);

/// One API: how it is asked and how it answers.
trait Dialect {
    /// What the conversation asks for.
    fn read(body: &Value) -> Asked;
    /// The whole answer.
    fn whole(asked: &Asked, reply: &Reply) -> Value;
    /// The same, as it is streamed.
    fn events(asked: &Asked, reply: &Reply) -> Vec<Event>;
}

impl Models {
    /// Models for whoever has the key.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self { key }
    }

    /// Answers a request for one of the paths; nothing for any other.
    ///
    /// # Errors
    /// When the body is no JSON.
    pub fn answer(&self, head: &Parts, received: &Received) -> Result<Option<Response<Body>>> {
        let path = head.uri.path();
        let is_anthropic = path.starts_with("/v1/messages");
        if !is_anthropic && !OPENAI.contains(&path) {
            return Ok(None);
        }
        if !self.is_known(head, is_anthropic) {
            return Ok(Some(refused(is_anthropic)));
        }
        let read = || -> Result<Value> { Ok(serde_json::from_slice(&received.kept)?) };
        Ok(Some(match (&head.method, path) {
            (&Method::POST, "/v1/messages") => say::<messages::Messages>(&read()?),
            (&Method::POST, "/v1/messages/count_tokens") => whole(&json!({"input_tokens": 16})),
            (&Method::POST, "/v1/responses") => say::<responses::Responses>(&read()?),
            (&Method::POST, "/v1/chat/completions") => say::<completions::Completions>(&read()?),
            (&Method::GET, "/v1/models") => whole(&json!({
                "object": "list",
                "data": [{"id": "sortie-1", "object": "model", "created": 0, "owned_by": "sortie"}],
            })),
            _ => fault(
                StatusCode::METHOD_NOT_ALLOWED,
                &json!({"error": {"message": "no such method"}}),
            ),
        }))
    }

    /// Anthropic takes a key in `x-api-key`, or a token as Bearer; OpenAI takes Bearer.
    fn is_known(&self, head: &Parts, is_anthropic: bool) -> bool {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let own = head.headers.get("x-api-key").filter(|_| is_anthropic);
        let sent = match own {
            Some(key) => Some(text(key)),
            None => head
                .headers
                .get(AUTHORIZATION)
                .and_then(|value| text(value).strip_prefix("Bearer ").map(str::to_owned)),
        };
        sent.is_some_and(|sent| sent == self.key)
    }
}

/// The paths of OpenAI's APIs.
const OPENAI: [&str; 3] = ["/v1/responses", "/v1/chat/completions", "/v1/models"];

fn say<D: Dialect>(body: &Value) -> Response<Body> {
    let asked = D::read(body);
    let reply = asked.reply();
    if body.get("stream").and_then(Value::as_bool) != Some(true) {
        return whole(&D::whole(&asked, &reply));
    }
    let event = |(name, data): Event| match name {
        Some(name) => Bytes::from(format!("event: {name}\ndata: {data}\n\n")),
        None => Bytes::from(format!("data: {data}\n\n")),
    };
    let events = D::events(&asked, &reply).into_iter().map(event).collect();
    typed("text/event-stream", body::pieces(events))
}

fn whole(value: &Value) -> Response<Body> {
    typed("application/json", body::full(value.to_string()))
}

fn fault(status: StatusCode, value: &Value) -> Response<Body> {
    let mut answer = whole(value);
    *answer.status_mut() = status;
    answer
}

/// What the vendors say to a wrong key, without the key.
fn refused(is_anthropic: bool) -> Response<Body> {
    let said = if is_anthropic {
        json!({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}})
    } else {
        json!({"error": {
            "message": "Incorrect API key provided.", "type": "invalid_request_error",
            "param": null, "code": "invalid_api_key",
        }})
    };
    fault(StatusCode::UNAUTHORIZED, &said)
}

/// A text in the pieces that its events hold.
fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(PIECE)
        .map(|piece| piece.iter().collect())
        .collect()
}

/// An event whose data names itself.
fn named(name: &'static str, mut data: Value) -> Event {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("type".to_owned(), name.into());
    }
    (Some(name), data.to_string())
}

#[cfg(test)]
mod tests;
