//! Sealed → opened, in a bounded cache that zeroes what it drops, keyed by credential version.
//!
//! **Invariants.** Nothing is opened without a [`Permit`] for its vault. A value in the cache belongs to exactly one
//! credential version: a new version is another entry, and the old one goes when it has been idle.
//!
//! What finds several credentials at once in an answer is kept here too, with the same bounds: it holds their values.
//!
//! Not here: where a credential may go; `exchange::inject` asks that on every use.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sortie_proto::code::Code;
use sortie_proto::credential::{Credential, OpenedCredential};
use sortie_proto::id::{CredentialId, VaultId};
use sortie_proto::sealed::Sealed;
use sortie_proto::secret::Secret;

use super::redact::{Finder, Masks, Redactor};
use crate::decision::policy::Permit;
use crate::error::{Error, Result};

/// A credential in the clear, with what masks it in answers.
#[derive(Debug)]
pub struct Opened {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its value and destinations.
    pub opened: OpenedCredential,
    /// Finds it in answers: alone, and joined with the user name that it was opened for.
    pub masks: Masks,
    /// What it is kept under.
    pub key: Key,
}

/// How much is kept open, and for how long.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most credential versions that are open at once, and as many again in what finds several together; the least
    /// used are closed first.
    pub open_max: u64,
    /// How long one stays open without use.
    pub idle: Duration,
}

/// A credential version, and the user name that it is joined with in a Basic pair: the pair has encodings of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    vault: VaultId,
    credential: CredentialId,
    version: u32,
    username: Option<Box<str>>,
}

impl Key {
    /// The credential and its version.
    #[must_use]
    pub const fn version(&self) -> (CredentialId, u32) {
        (self.credential, self.version)
    }
}

/// The cache of opened credentials. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Credentials {
    open: Cache<Key, Arc<Opened>>,
    /// For the credentials of a request, where they are several. Each counts for as many.
    finders: Cache<Arc<[Key]>, Arc<Finder>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("open", &self.open.entry_count())
            .finish()
    }
}

impl Credentials {
    /// Makes an empty cache.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let open = Cache::builder()
            .max_capacity(config.open_max)
            .time_to_idle(config.idle)
            .build();
        let finders = Cache::builder()
            .max_capacity(config.open_max)
            .weigher(|keys: &Arc<[Key]>, _| u32::try_from(keys.len()).unwrap_or(u32::MAX))
            .time_to_idle(config.idle)
            .build();
        Self { open, finders }
    }

    /// Opens a credential of the permit's vault.
    ///
    /// # Errors
    /// `credential_revoked`; `credential_unusable` if it does not open with the vault's data keys.
    pub fn open(&self, permit: &Permit, credential: &Arc<Credential>) -> Result<Arc<Opened>> {
        self.open_as(permit, credential, None)
    }

    /// Opens a credential that is the password of a Basic pair, so that the pair is masked too.
    ///
    /// # Errors
    /// `credential_revoked`; `credential_unusable` if it does not open with the vault's data keys.
    pub fn open_pair(
        &self,
        permit: &Permit,
        credential: &Arc<Credential>,
        username: &str,
    ) -> Result<Arc<Opened>> {
        self.open_as(permit, credential, Some(username))
    }

    fn open_as(
        &self,
        permit: &Permit,
        credential: &Credential,
        username: Option<&str>,
    ) -> Result<Arc<Opened>> {
        if credential.vault != permit.vault().vault.id {
            return Err(Code::CredentialUnusable.into());
        }
        // Asked before the cache, which may still have it open.
        let sealed = credential.sealed.as_ref().ok_or(Code::CredentialRevoked)?;
        let key = Key {
            vault: credential.vault,
            credential: credential.id,
            version: credential.version,
            username: username.map(Into::into),
        };
        // Two threads may both open it on the first use: that is harmless, and cheaper than waiting for each other.
        if let Some(opened) = self.open.get(&key) {
            return Ok(opened);
        }
        let opened = Arc::new(unseal(permit, (credential, sealed), key.clone())?);
        self.open.insert(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// What masks an answer of a request that used these; `None` when it used none.
    #[must_use]
    pub fn redactor(&self, used: &[Arc<Opened>]) -> Option<Redactor> {
        self.finder(used).map(Redactor::new)
    }

    fn finder(&self, used: &[Arc<Opened>]) -> Option<Arc<Finder>> {
        let several = match used {
            [] => return None,
            [one] => return Some(Finder::of(&[&one.masks])),
            several => several,
        };
        let mut keys: Vec<_> = several.iter().map(|opened| opened.key.clone()).collect();
        keys.sort_unstable();
        let keys: Arc<[_]> = keys.into();
        // As with opening, two threads may both make it.
        if let Some(finder) = self.finders.get(&keys) {
            return Some(finder);
        }
        let masks: Vec<_> = several.iter().map(|opened| &opened.masks).collect();
        let finder = Finder::of(&masks);
        self.finders.insert(keys, Arc::clone(&finder));
        Some(finder)
    }

    /// Closes what has expired. Called on a timer: the cache alone would do it only on the next access.
    pub fn expire(&self) {
        self.open.run_pending_tasks();
        self.finders.run_pending_tasks();
    }
}

fn unseal(
    permit: &Permit,
    (credential, sealed): (&Credential, &Sealed),
    key: Key,
) -> Result<Opened> {
    let data_key = permit
        .vault()
        .data_key(sealed.key)
        .ok_or(Code::CredentialUnusable)?;
    let plain = credential
        .at_place(permit.tenant().id, |place| data_key.open(place, sealed))
        .map_err(|cause| Error::because(Code::CredentialUnusable, cause))?;
    let opened = OpenedCredential::from_plain(&plain)
        .map_err(|cause| Error::because(Code::CredentialUnusable, cause))?;
    let joined: Vec<_> = key
        .username
        .as_deref()
        .map(|username| pair(username, &opened.value))
        .into_iter()
        .collect();
    Ok(Opened {
        name: credential.name.clone(),
        version: credential.version,
        masks: Masks::new(&opened.value, &joined),
        opened,
        key,
    })
}

/// What Basic authentication encodes (RFC 7617, 2).
pub(super) fn pair(username: &str, password: &Secret) -> Secret {
    let mut pair = Vec::with_capacity(username.len() + 1 + password.len());
    pair.extend_from_slice(username.as_bytes());
    pair.push(b':');
    pair.extend_from_slice(password.expose());
    Secret::new(pair)
}

#[cfg(test)]
mod tests;
