//! What a failure means: for the stream, for a vault, or for the token that was shown.

use sortie_proto::code::Code;

use crate::error::Error;

/// Whether a failure ends the stream or is about one vault.
pub(super) enum Refused {
    Vault(Error),
    Stream(Error),
}

/// What passes by itself says nothing about a vault: the stream ends, and the gateway, which keeps what it holds under
/// its lease, asks again on the next one.
impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        if matches!(error.code(), Code::Unavailable | Code::Overloaded) {
            Self::Stream(error)
        } else {
            Self::Vault(error)
        }
    }
}

/// Whether a refusal says something about the token alone: a release that another token proved stands.
pub(super) const fn is_about_the_token(code: Code) -> bool {
    matches!(
        code,
        Code::TokenMalformed
            | Code::TokenInvalid
            | Code::TokenExpired
            | Code::SessionRevoked
            | Code::VaultMismatch
    )
}
