//! What a gateway says that it cannot understand, for the operators of control.

use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::wire::v1;

use super::Following;
use super::hello::printable;

/// The most lines that are taken; a gateway sends no more than that and counts the rest.
const LISTED_MAX: usize = 100;

impl Following {
    /// Counts what is refused, and writes a line for what was not heard of before.
    pub(super) fn take_quarantined(&mut self, said: v1::Quarantined) {
        let more = usize::try_from(said.more).unwrap_or(usize::MAX);
        let count = said.objects.len().saturating_add(more);
        let mut objects = said.objects;
        objects.truncate(LISTED_MAX);
        for one in objects.iter().filter(|one| !self.quarantined.contains(one)) {
            let tenant = TenantId::from_bytes(&one.tenant_id)
                .map_or_else(|_| String::new(), |id| id.to_string());
            let vault = VaultId::from_bytes(&one.vault_id)
                .map_or_else(|_| String::new(), |id| id.to_string());
            tracing::error!(gateway.id = %self.gateway.id(), gateway.name = self.gateway.name(), tenant.id = tenant,
                vault.id = vault, what = printable(&one.what), reason = printable(&one.reason), served = one.served,
                "a gateway cannot understand something and refuses it");
        }
        if count != self.quarantined.len() {
            tracing::info!(gateway.id = %self.gateway.id(), count, "what a gateway refuses has changed");
        }
        self.quarantined = objects;
        self.presence.quarantined(count);
    }
}
