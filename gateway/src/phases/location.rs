//! `Location` in answers to the base-URL form: what points to the service's own host points to where the client came in.

use http::HeaderValue;
use http::header::LOCATION;
use pingora_http::ResponseHeader;
use sortie_proto::code::Code;

use crate::client::Inbound;
use crate::context::Context;
use crate::error::Result;

/// Writes `Location` anew where it names the service's own host, so that a client that follows it stays here. Elsewhere it
/// stays: that host is none of this base URL's.
pub(super) fn rewrite(answer: &mut ResponseHeader, context: &Context) -> Result<()> {
    let inbound = context.inbound()?;
    let location = answer.headers.get(LOCATION);
    let Some(here) = location.and_then(|location| here(location, inbound)) else {
        return Ok(());
    };
    answer
        .insert_header(LOCATION, here)
        .or(Err(Code::Internal))?;
    Ok(())
}

fn here(location: &HeaderValue, inbound: &Inbound) -> Option<HeaderValue> {
    let base = inbound.base.as_ref()?;
    // Two slashes start an authority (RFC 3986, 4.2).
    let text = location
        .to_str()
        .ok()
        .filter(|text| !text.starts_with("//"))?;
    let path = inbound.target.path_in(text).ok()?;
    HeaderValue::from_str(&format!("{}{path}", base.prefix)).ok()
}

#[cfg(test)]
mod tests;
