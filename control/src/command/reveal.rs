//! The one place among the commands that looks into a [`Secret`]: to seal it, or to show it the one time.

use sortie_proto::id::ApiKeyId;
use sortie_proto::key::{KeyKind, generate};
use sortie_proto::sealed::{Place, Sealed, SealingKey};
use sortie_proto::secret::Secret;

use crate::error::{Error, Result};
use crate::seal::Keys;

/// Seals bytes for a place.
pub(super) fn seal(key: &SealingKey, place: Place<'_>, plain: &Secret) -> Sealed {
    key.seal(place, plain.expose())
}

/// The text of a key or a token, for the one answer that shows it.
///
/// # Errors
/// `internal` if it is not text, which what this process makes always is.
pub(super) fn text(secret: &Secret) -> Result<String> {
    std::str::from_utf8(secret.expose())
        .map(ToOwned::to_owned)
        .map_err(Error::internal)
}

/// A new key: its text for the one answer, and what is kept of it.
pub(super) struct NewKey {
    /// The id that an API key has.
    pub(super) id: ApiKeyId,
    /// The text.
    pub(super) text: String,
    /// Its keyed hash.
    pub(super) hash: [u8; 32],
    /// Its last four characters.
    pub(super) last_four: String,
}

/// Makes a key.
///
/// # Errors
/// `internal` if its text is not text.
pub(super) fn new_key(keys: &Keys, kind: KeyKind) -> Result<NewKey> {
    let text = text(&generate(kind))?;
    let last_four = text
        .len()
        .checked_sub(4)
        .and_then(|at| text.get(at..))
        .unwrap_or_default()
        .to_owned();
    Ok(NewKey {
        id: ApiKeyId::generate(),
        hash: keys.hash(&text),
        last_four,
        text,
    })
}
