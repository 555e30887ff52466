//! The stage that masks an answer: its head, its body, its trailers.
//!
//! **Invariants.** Where something was injected and the service asks for masking, nothing of an answer leaves unsearched:
//! values and bodies are masked at their length; a name that holds a value is removed, and the reason phrase, which no
//! client needs, is dropped whatever it says. It holds for 1xx answers too, and for a WebSocket's frames.

use bytes::Bytes;
use http::header::{ALT_SVC, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora_http::ResponseHeader;
use sortie_proto::code::Code;

use crate::context::{Context, Ends, Exchange, Masking};
use crate::error::{Error, Result};
use crate::exchange::credential::Credentials;
use crate::exchange::inject::Injection;
use crate::exchange::redact::Redactor;
use crate::exchange::redact::messages::Messages;
use crate::phases::upgrade;

/// Whether the answers of an exchange are masked.
pub(super) fn masks(exchange: &Exchange) -> bool {
    let Injection { used, .. } = &exchange.injection;
    exchange.redact && !used.is_empty()
}

/// Masks an answer's head.
pub(super) fn mask_head(
    answer: &mut ResponseHeader,
    context: &mut Context,
    credentials: &Credentials,
) -> Result<()> {
    if let Some(entry) = &mut context.entry {
        entry.answered();
    }
    // It would send the agent past the tunnel.
    let _removed = answer.remove_header(&ALT_SVC);
    let exchange = context.exchange()?;
    if !masks(exchange) {
        return Ok(());
    }
    // A try before this one may have left its own.
    let Some(mut redactor) = credentials.redactor(&exchange.injection.used) else {
        return Ok(());
    };
    // HTTP/2 has none, and an upstream may write anything into it.
    answer.set_reason_phrase(None).or(Err(Code::Internal))?;
    mask_headers(answer, &mut redactor)?;
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        upgrade::check_switch(answer)?;
        let messages = Messages::new(redactor.beside());
        let ends = Ends::WebSocket(Box::new(messages));
        context.masking = Some(Masking { redactor, ends });
        return Ok(());
    }
    if answer.status.is_informational() {
        return Ok(());
    }
    let encoded = answer
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let grpc_encoded = answer
        .headers
        .get("grpc-encoding")
        .is_some_and(|coding| coding != "identity");
    if encoded || grpc_encoded {
        return Err(Code::ResponseEncoded.into());
    }
    let ends = ends_of(&answer.headers);
    context.masking = Some(Masking { redactor, ends });
    Ok(())
}

fn ends_of(headers: &HeaderMap) -> Ends {
    let grpc = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return Ends::messages();
    }
    headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .map_or(Ends::Stream, Ends::Length)
}

fn mask_headers(answer: &mut ResponseHeader, redactor: &mut Redactor) -> Result<()> {
    // Nearly no answer says a credential in its head: then nothing is copied.
    let mut headers = answer.headers.iter();
    if !headers.any(|(name, value)| redactor.finds(name, value)) {
        return Ok(());
    }
    let masked = |redactor: &mut Redactor, values: Vec<HeaderValue>| {
        let mut changed = false;
        let values: Vec<_> = values
            .into_iter()
            .map(|value| match redactor.header(&value) {
                Some(masked) => {
                    changed = true;
                    masked
                }
                None => value,
            })
            .collect();
        changed.then_some(values)
    };
    let names: Vec<_> = answer.headers.keys().cloned().collect();
    for name in names {
        if redactor.hides_name(&name) {
            let _removed = answer.remove_header(&name);
            continue;
        }
        let values = answer.headers.get_all(&name).iter().cloned().collect();
        let Some(values) = masked(redactor, values) else {
            continue;
        };
        let _removed = answer.remove_header(&name);
        for value in values {
            answer.append_header(name.clone(), value).map_err(|error| {
                drop(error);
                Error::from(Code::Internal)
            })?;
        }
    }
    Ok(())
}

/// Masks a chunk of an answer's body.
///
/// # Errors
/// `upstream_protocol` for a WebSocket's frame that is not well-formed.
pub(super) fn mask_body(body: &mut Option<Bytes>, end: bool, context: &mut Context) -> Result<()> {
    let Some(masking) = &mut context.masking else {
        return Ok(());
    };
    let had_body = body.is_some();
    let masked = masking.chunk(body.take().unwrap_or_default(), end)?;
    // An empty chunk is kept: `None` before the end is skipped by Pingora, and at the end it ends the body.
    if had_body || !masked.is_empty() {
        *body = Some(masked);
    }
    Ok(())
}

/// Masks trailers. What is still held back takes their place: losing bytes of the body would be worse.
pub(super) fn mask_trailers(trailers: &mut HeaderMap, context: &mut Context) -> Option<Bytes> {
    let masking = context.masking.as_mut()?;
    let names: Vec<_> = trailers.keys().cloned().collect();
    for name in names {
        if masking.redactor.hides_name(&name) {
            let _removed = trailers.remove(&name);
        }
    }
    for value in trailers.values_mut() {
        if let Some(masked) = masking.redactor.header(value) {
            *value = masked;
        }
    }
    let held = masking.redactor.body(Bytes::new(), true);
    (!held.is_empty()).then_some(held)
}

#[cfg(test)]
mod tests;
