//! Sealed → opened, in a bounded cache that zeroes what it drops, keyed by credential version.

use std::sync::Arc;
use std::time::Duration;

use sortie_proto::credential::{Credential, OpenedCredential};

use super::redact::Masks;
use crate::decision::policy::Permit;
use crate::error::Result;

/// A credential in the clear, with what masks it in answers.
#[derive(Debug)]
pub struct Opened {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its value and destinations.
    pub opened: OpenedCredential,
    /// Finds it in answers.
    pub masks: Masks,
}

/// How much is kept open, and for how long.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most credential versions that are open at once; the least used are closed first.
    pub open_max: u64,
    /// How long one stays open without use.
    pub idle: Duration,
}

/// The cache of opened credentials.
#[derive(Debug)]
pub struct Credentials {}

impl Credentials {
    /// Makes an empty cache.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let _ = config;
        Self {}
    }

    /// Opens a credential of the permit's vault.
    ///
    /// # Errors
    /// `credential_unusable` if it does not open with the vault's data keys.
    pub fn open(&self, permit: &Permit, credential: &Arc<Credential>) -> Result<Arc<Opened>> {
        let _ = (permit, credential);
        todo!()
    }

    /// Closes what has expired. Called on a timer: the cache alone would do it only on the next access.
    pub fn expire(&self) {}
}
