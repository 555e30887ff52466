//! Permit + credentials → the request that leaves. What the agent sent in the same places is removed first.

use std::sync::Arc;

use pingora_http::RequestHeader;

use super::credential::{Credentials, Opened};
use crate::client::connect::Target;
use crate::decision::policy::Permit;
use crate::error::Result;

/// What will be put into a request: everything was found, opened and allowed, and nothing has been changed yet.
///
/// It is made before the journal's record is written and applied after, so that a refusal sends nothing and the record
/// names exactly what is used.
#[derive(Debug, Default)]
pub struct Injection {
    /// The credentials that it uses, each once.
    pub used: Vec<Arc<Opened>>,
}

/// Works out what a request gets.
///
/// # Errors
/// `credential_missing`, `destination_refused`, `placeholder_unresolved`, `cleartext_refused`, `credential_unusable`.
pub fn prepare(
    permit: &Permit,
    credentials: &Credentials,
    target: &Target,
    request: &RequestHeader,
) -> Result<Injection> {
    let _ = (permit, credentials, target, request);
    todo!()
}

impl Injection {
    /// Puts it into the request. The request is already free of hop-by-hop and proxy headers ([`strip`]).
    ///
    /// # Errors
    /// `credential_unusable` if a value cannot stand where it belongs.
    pub fn apply(&self, request: &mut RequestHeader) -> Result<()> {
        let _ = request;
        todo!()
    }
}

/// Removes what must not reach an upstream: hop-by-hop headers and those that `Connection` nominates, `Proxy-*`, `TE`
/// (but `te: trailers` stays towards HTTP/2), `Trailer`, `Via`, `Forwarded`, `X-Forwarded-*`. Joins split cookies.
pub fn strip(request: &mut RequestHeader) {
    let _ = request;
    todo!()
}
