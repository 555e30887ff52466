//! What this node could not understand: one line each, for whoever operates it.
//!
//! It holds ids and constant texts, nothing that came from a tenant.

use serde_json::{Value, json};
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::wire::v1;

/// The most lines that are told or shown; the rest is counted.
pub const LISTED_MAX: usize = 100;

/// Something that is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarantined {
    /// Whose it is, where that is known.
    pub tenant: Option<TenantId>,
    /// The vault; `None` for a whole tenant.
    pub vault: Option<VaultId>,
    /// What of it, e.g. `service svc_…`; `vault` or `tenant` for all of it.
    pub what: String,
    /// Why.
    pub reason: &'static str,
    /// Whether the last version that was understood is served until its lease ends.
    pub served: bool,
}

impl Quarantined {
    /// As `/state` shows it.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({
            "tenant": self.tenant,
            "vault": self.vault,
            "what": self.what,
            "reason": self.reason,
            "served": self.served,
        })
    }

    fn to_wire(&self) -> v1::QuarantinedObject {
        v1::QuarantinedObject {
            tenant_id: self.tenant.map(TenantId::to_bytes).unwrap_or_default(),
            vault_id: self.vault.map(VaultId::to_bytes).unwrap_or_default(),
            what: self.what.clone(),
            reason: self.reason.to_owned(),
            served: self.served,
        }
    }
}

/// As control is told.
#[must_use]
pub fn to_wire(all: &[Quarantined]) -> v1::Quarantined {
    let more = all.len().saturating_sub(LISTED_MAX);
    v1::Quarantined {
        objects: all
            .iter()
            .take(LISTED_MAX)
            .map(Quarantined::to_wire)
            .collect(),
        more: u32::try_from(more).unwrap_or(u32::MAX),
    }
}
