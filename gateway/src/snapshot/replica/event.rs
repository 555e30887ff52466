//! What each event of the stream does to the replica.
//!
//! What cannot be understood is narrowed down by its ids: to a vault, which is asked for again; to a tenant, which is
//! not served until all of it comes again; or to the whole stream.

use sortie_proto::capability;
use sortie_proto::change::{Change, Object, Snapshot, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{VerifyingKey, VerifyingKeys};
use sortie_proto::wire::v1;
use v1::follow_event::Event;

use super::{Broken, EARLY_MAX, Entry, Replica};
use crate::snapshot::{link, merge};

impl Replica {
    /// Takes an event.
    pub(in crate::snapshot) fn event(
        &mut self,
        event: v1::FollowEvent,
        now: i64,
    ) -> Result<(), Broken> {
        let event = event.event.ok_or(Broken::Protocol)?;
        if self.welcomed == matches!(event, Event::Welcome(_)) {
            return Err(Broken::Protocol);
        }
        match event {
            Event::Welcome(welcome) => self.welcome(welcome, now),
            Event::Tenant(tenant) => self.tenant(tenant),
            Event::Vault(snapshot) => self.snapshot(snapshot),
            Event::VaultRefused(refused) => self.refused(&refused, now),
            Event::Change(change) => self.change(change, now),
            Event::Echo(echo) => {
                self.advance(echo.revision.ok_or(Broken::Protocol)?.into())?;
                // It leaves behind all that the stream begins with.
                self.whole = true;
                self.awaited.clear();
                self.state.lease().echo(echo.nonce);
                Ok(())
            }
        }
    }

    fn welcome(&mut self, welcome: v1::Welcome, now: i64) -> Result<(), Broken> {
        let revision: Revision = welcome.revision.ok_or(Broken::Protocol)?.into();
        if let Some(position) = self.position {
            let behind = revision < position && !welcome.resumed;
            if behind || (welcome.resumed && revision.epoch != position.epoch) {
                return Err(Broken::RolledBack(revision, position));
            }
        }
        let new_epoch = self.position.is_none_or(|held| held.epoch < revision.epoch);
        if !welcome.resumed {
            self.forget_all(new_epoch);
            self.whole = false;
            self.position = Some(revision);
        }
        self.reports = capability::has(&welcome.capabilities, capability::REPORT);
        self.position = self.position.or(Some(revision));
        self.state.set_epoch(revision.epoch);
        self.keys.clear();
        for key in welcome.signing_keys {
            self.put_key(key);
        }
        self.publish_keys();
        self.welcomed = true;
        let ids: Vec<_> = self.vaults.keys().copied().collect();
        for id in ids {
            self.resubscribe(id, now);
        }
        Ok(())
    }

    fn forget_all(&mut self, new_epoch: bool) {
        for (id, entry) in &mut self.vaults {
            entry.whole = None;
            entry.early.clear();
            self.state.drop_vault(*id);
        }
        for tenant in self.state.tenants() {
            self.state.drop_tenant(tenant);
            self.awaited.insert(tenant);
            // Within an epoch what is revoked stays revoked; the next one counts generations anew.
            if new_epoch {
                self.state.forget_revocations(tenant);
            }
        }
        self.poisoned.clear();
    }

    fn tenant(&mut self, wire: v1::TenantState) -> Result<(), Broken> {
        let tenant = wire.tenant.ok_or(Broken::Undecodable)?;
        let id = TenantId::from_bytes(&tenant.id).or(Err(Broken::Undecodable))?;
        let decoded = Tenant::try_from(tenant).and_then(|tenant| {
            let revocations = wire.revocations.into_iter().map(TryInto::try_into);
            Ok((tenant, revocations.collect::<Result<Vec<_>, _>>()?))
        });
        match decoded {
            Ok((tenant, revocations)) => {
                self.poisoned.remove(&id);
                self.state.set_clear(id);
                // First what forbids, then what allows.
                self.state.revoke(revocations);
                self.state.put_tenant(tenant);
            }
            Err(error) => {
                tracing::error!(tenant.id = %id, %error, "a tenant cannot be understood and is not served");
                self.poison_tenant(id);
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, wire: v1::VaultSnapshot) -> Result<(), Broken> {
        let vault = wire.vault.as_ref().ok_or(Broken::Undecodable)?;
        let id = VaultId::from_bytes(&vault.id).or(Err(Broken::Undecodable))?;
        let Some(entry) = self.vaults.get_mut(&id) else {
            return Ok(()); // It was dropped while the snapshot was on its way.
        };
        let snapshot = match Snapshot::try_from(wire) {
            Ok(snapshot) if !self.poisoned.contains(&snapshot.vault.tenant) => snapshot,
            Ok(_) => {
                self.drop_vault(id, Code::VaultUnavailable);
                return Ok(());
            }
            Err(error) => {
                tracing::error!(vault.id = %id, %error, "a vault cannot be understood and is not served");
                self.drop_vault(id, Code::VaultUnavailable);
                return Ok(());
            }
        };
        // The answer to a question stands for all that the stream did not send before it was asked, so it replaces
        // what is held whatever its revision; what came since follows on it.
        let answers = entry.asked.take().is_some();
        entry.whole = match entry.whole.take() {
            Some(whole) if answers => Some(merge::refresh(&whole, snapshot)),
            Some(whole) => Some(merge::replace(&whole, snapshot).unwrap_or(whole)),
            None => Some(merge::from_snapshot(snapshot)),
        };
        for change in std::mem::take(&mut entry.early) {
            entry.apply(&change);
        }
        self.publish(id);
        Ok(())
    }

    fn refused(&mut self, wire: &v1::VaultRefused, now: i64) -> Result<(), Broken> {
        let id = VaultId::from_bytes(&wire.vault_id).or(Err(Broken::Protocol))?;
        let Some(entry) = self.vaults.get_mut(&id) else {
            return Ok(());
        };
        if wire.held && entry.whole.is_some() {
            entry.not_prolonged();
            return Ok(());
        }
        let code = link::refusal(&wire.code);
        entry.whole = None;
        entry.prolonging = None;
        self.state.drop_vault(id);
        // The refusal is about the token that asked. Others may have better ones.
        let asked = entry.asked.take().map(|(session, _)| session);
        let waiting = std::mem::take(&mut entry.waiting);
        entry.latest = entry
            .latest
            .take_if(|ticket| Some(ticket.session) != asked && ticket.end > now);
        for (ticket, answer) in waiting {
            if Some(ticket.session) == asked {
                let _gone = answer.send(Err(code));
            } else {
                entry.waiting.push_back((ticket, answer));
            }
        }
        self.ask_next(id);
        Ok(())
    }

    fn change(&mut self, wire: v1::Change, now: i64) -> Result<(), Broken> {
        let revision = wire.revision.ok_or(Broken::Protocol)?.into();
        let about = About::of(&wire);
        match Change::try_from(wire) {
            Ok(change) => self.apply(change)?,
            Err(error) => {
                tracing::error!(%revision, %error, "a change cannot be understood");
                match about {
                    About::Vault(id) => self.poison_vault(id, now),
                    About::Tenant(id) => self.poison_tenant(id),
                    About::Key => {} // A key that is not known verifies nothing.
                    About::Unknown => {
                        self.position = None;
                        return Err(Broken::Undecodable);
                    }
                }
            }
        }
        self.advance(revision)
    }

    fn apply(&mut self, change: Change) -> Result<(), Broken> {
        if let Some(id) = merge::vault_of(&change.object) {
            return self.apply_to_vault(id, change);
        }
        match change.object {
            Object::Tenant(tenant) => {
                if !self.poisoned.contains(&tenant.id) {
                    self.state.put_tenant(tenant);
                }
            }
            Object::Revocation(revocation) => self.state.revoke([revocation]),
            Object::SigningKey(key) => {
                self.keys.retain(|held| held.kid != key.kid);
                self.keys.push(key);
                self.publish_keys();
            }
            Object::Tombstone(Tombstone::Tenant(id)) => self.drop_tenant(id),
            Object::Tombstone(_)
            | Object::Vault(_)
            | Object::Service(_)
            | Object::Credential(_)
            | Object::Grant(_) => {}
        }
        Ok(())
    }

    fn apply_to_vault(&mut self, id: VaultId, change: Change) -> Result<(), Broken> {
        let Some(entry) = self.vaults.get_mut(&id) else {
            return Ok(());
        };
        if matches!(change.object, Object::Tombstone(Tombstone::Vault(_))) {
            self.drop_vault(id, Code::VaultUnavailable);
            return Ok(());
        }
        let news = entry.apply(&change);
        if entry.whole.is_none() || entry.asked.is_some() {
            if entry.early.len() >= EARLY_MAX {
                return Err(Broken::TooEarly);
            }
            entry.early.push(change);
        }
        if news {
            self.publish(id);
        }
        Ok(())
    }

    fn advance(&mut self, revision: Revision) -> Result<(), Broken> {
        match self.position {
            Some(position) if position.epoch != revision.epoch => {
                Err(Broken::RolledBack(revision, position))
            }
            position => {
                self.position = position.max(Some(revision));
                Ok(())
            }
        }
    }

    fn put_key(&mut self, wire: v1::SigningKey) {
        match VerifyingKey::try_from(wire) {
            Ok(key) => self.keys.push(key),
            Err(error) => tracing::error!(%error, "a signing key cannot be understood"),
        }
    }

    pub(super) fn publish_keys(&self) {
        self.state
            .set_keys(VerifyingKeys::new(self.keys.iter().cloned()));
    }
}

impl Entry {
    /// The token that was to prolong the release is not good: the release ends when it would have without it, unless
    /// another token comes.
    fn not_prolonged(&mut self) {
        if let Some((session, end)) = self.prolonging.take() {
            self.release_end = end;
            self.latest.take_if(|ticket| ticket.session == session);
        }
    }

    /// Applies a change. Whether it was news.
    fn apply(&mut self, change: &Change) -> bool {
        let next = self
            .whole
            .as_ref()
            .and_then(|whole| merge::apply(whole, change));
        let news = next.is_some();
        self.whole = next.or_else(|| self.whole.take());
        news
    }
}

/// What a change that cannot be understood is about, as far as its ids tell.
#[derive(Debug, Clone, Copy)]
enum About {
    Vault(VaultId),
    Tenant(TenantId),
    Key,
    Unknown,
}

impl About {
    fn of(wire: &v1::Change) -> Self {
        use v1::change::Object as Wire;
        match &wire.object {
            Some(Wire::Vault(vault)) => Self::vault(&vault.id),
            Some(Wire::Service(service)) => Self::vault(&service.vault_id),
            Some(Wire::Credential(credential)) => Self::vault(&credential.vault_id),
            Some(Wire::Grant(grant)) => Self::vault(&grant.vault_id),
            Some(Wire::Tenant(tenant)) => Self::tenant(&tenant.id),
            Some(Wire::Revocation(revocation)) => Self::tenant(&revocation.tenant_id),
            Some(Wire::SigningKey(_)) => Self::Key,
            Some(Wire::Tombstone(tombstone)) => match Self::vault(&tombstone.vault_id) {
                Self::Unknown => Self::tenant(&tombstone.tenant_id),
                about @ (Self::Vault(_) | Self::Tenant(_) | Self::Key) => about,
            },
            None => Self::Unknown,
        }
    }

    fn vault(id: &[u8]) -> Self {
        VaultId::from_bytes(id).map_or(Self::Unknown, Self::Vault)
    }

    fn tenant(id: &[u8]) -> Self {
        TenantId::from_bytes(id).map_or(Self::Unknown, Self::Tenant)
    }
}
