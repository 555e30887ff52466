//! How each part is made from the configuration: one function a part, called by `server` in the order of their needs.

use std::sync::Arc;

use crate::config::Config;
use crate::exchange::credential::Credentials;
use crate::exchange::peer::Peers;
use crate::journal::Journal;
use crate::snapshot::State;
use crate::snapshot::link::Link;

/// The state that control fills.
pub(crate) const fn state() -> State {
    State {}
}

/// The way to control.
pub(crate) const fn link() -> Link {
    Link {}
}

/// The journal of this boot.
pub(crate) fn journal(_config: &Config) -> Arc<Journal> {
    Arc::new(Journal {})
}

/// The cache of opened credentials.
pub(crate) fn credentials(config: &Config) -> Credentials {
    Credentials::new(&config.credentials)
}

/// Addresses and pools.
pub(crate) const fn peers(_config: &Config) -> Peers {
    Peers {}
}
