//! A vault, as gateways see it.

use std::time::Duration;

use crate::id::{TenantId, VaultId};
use crate::limits::Limits;

/// A boundary inside a tenant, as gateways see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Its id.
    pub id: VaultId,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Unique in the tenant.
    pub name: String,
    /// Rises with every change of the object.
    pub version: u64,
    /// Rises by revoking; a token that carries a lower one is refused.
    pub generation: u64,
    /// Whether anything of it is brokered.
    pub enabled: bool,
    /// What happens to a host that no service matches.
    pub mode: VaultMode,
    /// How long a gateway may serve it without hearing from control: 30 s to 24 h.
    pub staleness: Duration,
    /// Whether a request waits until its record is on disk.
    pub durable: bool,
    /// What all its requests together may use.
    pub limits: Limits,
    /// What each session may use in it.
    pub session_limits: Limits,
}

/// What happens to a request that no service matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultMode {
    /// It is refused.
    Deny,
    /// It passes without credentials and is listed.
    Observe,
}

impl VaultMode {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Observe => "observe",
        }
    }

    /// Reads the name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Deny, Self::Observe]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// The shortest staleness that a vault may have.
pub const STALENESS_MIN: Duration = Duration::from_secs(30);
/// The staleness of a vault that does not say.
pub const STALENESS_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// The longest staleness that a vault may have.
pub const STALENESS_MAX: Duration = Duration::from_secs(24 * 60 * 60);
