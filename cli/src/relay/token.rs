//! What a session token says of itself. Nobody here verifies it: the gateway does, and the token is our own.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use sortie_proto::secret::Secret;
use sortie_proto::token::{PREFIX, TOKEN_MAX};

use crate::error::{Error, Result};

/// A session token, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The value of `Proxy-Authorization`; marked as sensitive, so that it is never printed.
    pub(super) authorization: HeaderValue,
    /// The id of its session.
    pub(super) session: String,
    /// How long it holds from its making.
    pub(super) life: Duration,
    /// When it ends, in seconds since the Unix epoch, by the clock of control.
    pub(super) ends: i64,
}

/// Claims are read by name: a newer control may have added some.
#[derive(Deserialize)]
struct Claims {
    jti: String,
    iat: i64,
    exp: i64,
}

impl Token {
    /// Reads `sortie_ses_…`.
    ///
    /// # Errors
    /// [`Error::Failed`] for anything else. The text is never part of it.
    pub(crate) fn read(text: &Secret) -> Result<Self> {
        let bytes = text.expose().trim_ascii();
        let found = claims(bytes).and_then(|claims| {
            let life = u64::try_from(claims.exp.checked_sub(claims.iat)?).ok()?;
            let mut value = b"Bearer ".to_vec();
            value.extend_from_slice(bytes);
            let mut authorization = HeaderValue::from_bytes(&value).ok()?;
            authorization.set_sensitive(true);
            Some(Self {
                authorization,
                session: claims.jti,
                life: Duration::from_secs(life),
                ends: claims.exp,
            })
        });
        found.ok_or_else(|| {
            Error::failed(
                "this is no session token (sortie_ses_…)",
                "Mint one with `sortie session mint`.",
            )
        })
    }
}

/// The token in an answer of control.
///
/// # Errors
/// [`Error::Failed`] if there is none.
pub(super) fn token_of(answer: &Value) -> Result<Token> {
    match answer.get("token").and_then(Value::as_str) {
        Some(text) => Token::read(&Secret::new(text.as_bytes().to_vec())),
        None => Err(Error::failed(
            "control's answer holds no token",
            "Is control of the same version?",
        )),
    }
}

fn claims(text: &[u8]) -> Option<Claims> {
    if text.len() > TOKEN_MAX {
        return None;
    }
    let jwt = std::str::from_utf8(text).ok()?.strip_prefix(PREFIX)?;
    let payload = jwt.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests;
