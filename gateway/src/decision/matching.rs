//! (Target, method, path) → the service of a vault, or what an unmatched request is.

use std::sync::Arc;

use sortie_proto::service::Service;

use crate::client::connect::Target;
use crate::error::Result;
use crate::snapshot::VaultState;

/// What a request belongs to.
#[derive(Debug, Clone)]
pub struct Match {
    /// The vault that decides.
    pub vault: Arc<VaultState>,
    /// The service; `None` passes in a vault that observes.
    pub service: Option<Arc<Service>>,
}

/// Finds the service of a request: the first of the vaults, in order, that has one; else the first vault's mode decides.
///
/// # Errors
/// `path_refused`, `host_unmatched`, `request_unmatched`, `service_disabled`, `cleartext_refused`.
pub fn find(
    vaults: &[Arc<VaultState>],
    target: &Target,
    method: &str,
    raw_path: &str,
) -> Result<Match> {
    let _ = (vaults, target, method, raw_path);
    todo!()
}

/// Whether a tunnel to the target is passed on untouched: some vault has an enabled `intercept: never` service for it,
/// and none has one that is intercepted.
#[must_use]
pub fn passes_untouched(vaults: &[Arc<VaultState>], target: &Target) -> Option<Match> {
    let _ = (vaults, target);
    todo!()
}
