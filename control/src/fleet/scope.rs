//! What one stream carries: which tenants and vaults, from which revision on, until when.

use std::collections::HashMap;

use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;

use crate::database::gateways::Release;
use crate::feed::read::Entry;

/// What a gateway's stream carries.
#[derive(Debug, Default)]
pub(super) struct Scope {
    tenants: HashMap<TenantId, Revision>,
    vaults: HashMap<VaultId, Held>,
}

#[derive(Debug)]
struct Held {
    /// What the gateway has already; later changes are sent.
    from: Revision,
    /// Seconds since the Unix epoch.
    until: i64,
}

impl Scope {
    /// Whether a change is for this stream.
    pub(super) fn admits(&self, entry: &Entry) -> bool {
        if let Some(vault) = entry.vault {
            return self
                .vaults
                .get(&vault)
                .is_some_and(|held| entry.revision > held.from);
        }
        match entry.tenant {
            Some(tenant) => self
                .tenants
                .get(&tenant)
                .is_some_and(|&from| entry.revision > from),
            None => true,
        }
    }

    pub(super) fn serves(&self, tenant: TenantId) -> bool {
        self.tenants.contains_key(&tenant)
    }

    pub(super) fn serve(&mut self, tenant: TenantId, from: Revision) {
        self.tenants.insert(tenant, from);
    }

    /// How many vaults the gateway holds.
    pub(super) fn vaults(&self) -> usize {
        self.vaults.len()
    }

    pub(super) fn holds(&self, vault: VaultId) -> bool {
        self.vaults.contains_key(&vault)
    }

    pub(super) fn hold(&mut self, release: &Release, from: Revision) {
        let until = release.until;
        self.vaults.insert(release.vault, Held { from, until });
    }

    /// A release is only ever prolonged.
    pub(super) fn prolong(&mut self, release: &Release) {
        if let Some(held) = self.vaults.get_mut(&release.vault) {
            held.until = held.until.max(release.until);
        }
    }

    pub(super) fn forget(&mut self, vault: VaultId) {
        self.vaults.remove(&vault);
    }

    /// Forgets the vaults whose release has ended, and answers them.
    pub(super) fn ended(&mut self, now: i64) -> Vec<VaultId> {
        self.vaults
            .extract_if(|_, held| held.until <= now)
            .map(|(vault, _)| vault)
            .collect()
    }
}

#[cfg(test)]
mod tests;
