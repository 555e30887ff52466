//! Sealed values and the keys that open them.

use super::{Invalid, Result, v1};
use crate::id::KeyId;
use crate::sealed::{KeyRef, Sealed, SealingKey};
use crate::secret::Secret;

impl From<&Sealed> for v1::Sealed {
    fn from(sealed: &Sealed) -> Self {
        Self {
            key_id: sealed.key.id.to_bytes(),
            key_version: sealed.key.version,
            nonce: sealed.nonce.to_vec(),
            ciphertext: sealed.ciphertext.clone(),
        }
    }
}

impl TryFrom<v1::Sealed> for Sealed {
    type Error = Invalid;

    fn try_from(wire: v1::Sealed) -> Result<Self> {
        let id = KeyId::from_bytes(&wire.key_id).or(Err(Invalid("sealed.key_id")))?;
        let nonce = wire.nonce.try_into().or(Err(Invalid("sealed.nonce")))?;
        Ok(Self {
            key: KeyRef {
                id,
                version: wire.key_version,
            },
            nonce,
            ciphertext: wire.ciphertext,
        })
    }
}

impl From<&SealingKey> for v1::DataKey {
    fn from(key: &SealingKey) -> Self {
        let reference = key.reference();
        Self {
            key_id: reference.id.to_bytes(),
            version: reference.version,
            key: key.bytes().expose().to_vec(),
        }
    }
}

impl TryFrom<v1::DataKey> for SealingKey {
    type Error = Invalid;

    fn try_from(wire: v1::DataKey) -> Result<Self> {
        let id = KeyId::from_bytes(&wire.key_id).or(Err(Invalid("data_key.key_id")))?;
        let reference = KeyRef {
            id,
            version: wire.version,
        };
        Self::new(reference, Secret::new(wire.key)).or(Err(Invalid("data_key.key")))
    }
}
