//! Ciphertext, the keys that make and open it, and the associated data that ties it to its place.
//!
//! AES-256-GCM (NIST SP 800-38D) with a fresh random 96-bit nonce. The associated data names the purpose, the object
//! and the key, each with its length before it, so that no two places share one and a row cannot be moved to another.
//! Control seals and opens at every level; a gateway opens credentials with the vault's data key.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use rand::RngCore;
use uuid::Uuid;

use crate::id::KeyId;
use crate::secret::Secret;

/// Ciphertext with the identity of the key that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens it.
    pub key: KeyRef,
    /// 96 bits, never used twice under one key.
    pub nonce: [u8; 12],
    /// Ciphertext, with the 16-byte tag at its end.
    pub ciphertext: Vec<u8>,
}

/// Which key, and which version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRef {
    /// The key, over all its versions.
    pub id: KeyId,
    /// Rises by rotation, from 1.
    pub version: u32,
}

/// What a ciphertext is for. The names are part of the associated data: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A tenant's key under the root key.
    TenantKey,
    /// A vault's data key under its tenant's key.
    DataKey,
    /// One version of a credential under its vault's data key.
    Credential,
    /// The private key of a tenant's certificate authority, under the tenant's key.
    TenantAuthority,
    /// The private key of the cluster's own certificate authority, under the root key.
    ClusterAuthority,
    /// A private key that signs session tokens, under the root key.
    SigningKey,
    /// The key of the keyed hashes of API keys, under the root key.
    Pepper,
    /// A known text that tells whether the root key is the right one.
    Canary,
}

impl Purpose {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::TenantKey => b"sortie/tenant-key/1",
            Self::DataKey => b"sortie/data-key/1",
            Self::Credential => b"sortie/credential/1",
            Self::TenantAuthority => b"sortie/tenant-authority/1",
            Self::ClusterAuthority => b"sortie/cluster-authority/1",
            Self::SigningKey => b"sortie/signing-key/1",
            Self::Pepper => b"sortie/pepper/1",
            Self::Canary => b"sortie/canary/1",
        }
    }
}

/// The place that a ciphertext belongs to: a purpose and the ids that name the object, outermost first.
///
/// For a credential: tenant, vault, credential, and its version.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The ids of the object and of what contains it.
    pub ids: &'a [Uuid],
    /// The object's version, 0 where it has none.
    pub version: u32,
}

impl Place<'_> {
    fn associated_data(&self, key: KeyRef) -> Vec<u8> {
        let mut data = Vec::with_capacity(32 + 20 * (self.ids.len() + 1) + 16);
        let mut push = |field: &[u8]| {
            // Fields are short; the length is four bytes so that no field can run into the next.
            data.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend_from_slice(field);
        };
        push(self.purpose.name());
        for id in self.ids {
            push(id.as_bytes());
        }
        push(&self.version.to_be_bytes());
        push(key.id.uuid().as_bytes());
        push(&key.version.to_be_bytes());
        data
    }
}

/// The ciphertext does not open: another key, another place, or altered bytes. It is never said which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open with this key at this place")]
pub struct DoesNotOpen(());

/// A key for sealing, with its identity.
pub struct SealingKey {
    reference: KeyRef,
    cipher: Aes256Gcm,
    bytes: Secret,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SealingKey").field(&self.reference).finish()
    }
}

/// A key that is not 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AES-256 key has 32 bytes")]
pub struct InvalidKey(());

impl SealingKey {
    /// Takes a key of 32 bytes.
    ///
    /// # Errors
    /// [`InvalidKey`] if it has another length.
    pub fn new(reference: KeyRef, bytes: Secret) -> Result<Self, InvalidKey> {
        let cipher = Aes256Gcm::new_from_slice(bytes.expose()).map_err(|_length| InvalidKey(()))?;
        Ok(Self {
            reference,
            cipher,
            bytes,
        })
    }

    /// Makes a new key from the operating system's random numbers, at version 1.
    ///
    /// # Panics
    /// Never: the bytes that it makes have the right length.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = vec![0; 32];
        rand::rng().fill_bytes(&mut bytes);
        let reference = KeyRef {
            id: KeyId::generate(),
            version: 1,
        };
        Self::new(reference, Secret::new(bytes)).expect("32 bytes were made")
    }

    /// Which key it is.
    #[must_use]
    pub const fn reference(&self) -> KeyRef {
        self.reference
    }

    /// The key itself, to be sealed under the next key or released to a gateway.
    #[must_use]
    pub const fn bytes(&self) -> &Secret {
        &self.bytes
    }

    /// Seals bytes for a place.
    ///
    /// # Panics
    /// For more than 64 GiB, which nothing here comes near.
    #[must_use]
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Sealed {
        let mut nonce = [0; 12];
        rand::rng().fill_bytes(&mut nonce);
        let aad = place.associated_data(self.reference);
        let ciphertext = self
            .cipher
            .encrypt(
                &Nonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: &aad,
                },
            )
            .expect("AES-GCM refuses only messages over 64 GiB");
        Sealed {
            key: self.reference,
            nonce,
            ciphertext,
        }
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`DoesNotOpen`] for another key, another place, or altered bytes.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret, DoesNotOpen> {
        if sealed.key != self.reference {
            return Err(DoesNotOpen(()));
        }
        let aad = place.associated_data(self.reference);
        self.cipher
            .decrypt(
                &Nonce::from(sealed.nonce),
                Payload {
                    msg: &sealed.ciphertext,
                    aad: &aad,
                },
            )
            .map(Secret::new)
            .map_err(|_tag| DoesNotOpen(()))
    }
}

#[cfg(test)]
mod tests;
