//! What a WebSocket's handshake must be for a service that injects (RFC 6455, 4), and how one ends.
//!
//! The credential goes into the handshake like into any request. Behind it there are frames, which are masked on their
//! way to the agent ([`messages`](crate::exchange::redact::messages)): that takes that no extension changes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONTENT_TYPE, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora_error::{Error as PingoraError, ErrorSource};
use pingora_http::{RequestHeader, ResponseHeader};
use sortie_proto::code::Code;

use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::phases::outcome;
use crate::snapshot::State;

/// Bytes of the nonce in a `Sec-WebSocket-Key`.
const KEY_BYTES: usize = 16;

/// Whether a request asks for a WebSocket. The client stage hands on an `Upgrade` that does, as it should, and no other.
pub(super) fn is_asked(request: &RequestHeader) -> bool {
    request.headers.contains_key(UPGRADE)
}

/// Whether a request that asks for a WebSocket says all that its handshake needs, once.
pub(super) fn is_handshake(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let key = only(headers, &SEC_WEBSOCKET_KEY).and_then(|key| STANDARD.decode(key).ok());
    let version = only(headers, &SEC_WEBSOCKET_VERSION);
    request.method == Method::GET
        && request.version == Version::HTTP_11
        && key.is_some_and(|key| key.len() == KEY_BYTES)
        && version.is_some_and(|version| version == "13")
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The head of a request leaves next. Behind that of a handshake nothing is read until the request has ended.
pub(super) fn head_leaves(context: &Context) {
    if let Some(gate) = &context.gate {
        gate.hold();
    }
}

/// The end of a request is passed on next. A handshake has no body, so that it follows its head.
pub(super) fn request_ends(context: &Context) {
    if let Some(gate) = &context.gate {
        gate.end();
    }
}

/// Whether an answer switches to what was asked for, in a form whose frames can be masked.
///
/// # Errors
/// `upstream_protocol` for another protocol; `response_encoded` for extensions, which nobody offered.
pub(super) fn check_switch(answer: &ResponseHeader) -> Result<()> {
    let websocket = only(&answer.headers, &UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !websocket {
        return Err(Code::UpstreamProtocol.into());
    }
    if answer.headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Code::ResponseEncoded.into());
    }
    Ok(())
}

/// From an answer without an end on, the connection ends with its vault's lease: nothing on it is asked again.
pub(super) fn bind_to_lease(answer: &ResponseHeader, context: &Context) -> Result<()> {
    if is_endless(answer) {
        let vault = context.exchange()?.permit.vault();
        context.inbound()?.lease.bind(&vault.vault);
    }
    Ok(())
}

/// A WebSocket, server-sent events (HTML Standard, 9.2), gRPC's streams.
fn is_endless(answer: &ResponseHeader) -> bool {
    const ENDLESS: [&[u8]; 2] = [b"text/event-stream", b"application/grpc"];
    let is_stream = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii_start();
        let begins = |prefix: &&[u8]| {
            let start = value.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        ENDLESS.iter().any(begins)
    };
    answer.status == StatusCode::SWITCHING_PROTOCOLS
        || answer.headers.get(CONTENT_TYPE).is_some_and(is_stream)
}

/// Why a WebSocket ended, where it was not one of its ends that ended it.
pub(super) fn ending(
    error: Option<&PingoraError>,
    context: &Context,
    state: &State,
) -> Option<Code> {
    cut(context, state).or_else(|| {
        let upstream = error.filter(|error| *error.esource() != ErrorSource::Downstream);
        upstream.map(|error| outcome::code_of(error, true))
    })
}

/// Why this gateway cut an agent's connection, if it did: that looks like an agent that has gone.
pub(super) fn cut(context: &Context, state: &State) -> Option<Code> {
    let inbound = context.inbound.as_ref()?;
    // What stands was noted as it was cut; what follows may hold again by now.
    if let Some(code) = inbound.lease.cut() {
        return Some(code);
    }
    let held = inbound.caller.check(state, clock::seconds());
    if let Err(ended) = held {
        return Some(ended.code());
    }
    (!inbound.lease.holds(state)).then_some(Code::StaleLease)
}

#[cfg(test)]
mod tests;
