//! What each event of the stream does to the replica.
//!
//! What cannot be understood is narrowed down by its ids ([`read`]): to an object, which is refused; to a vault, which
//! is asked for again; to a tenant, which is not served until all of it comes again; or to the whole stream.

use sortie_proto::change::{Object, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{VerifyingKey, VerifyingKeys};
use sortie_proto::wire::v1;
use v1::follow_event::Event;

use super::{Broken, EARLY_MAX, Entry, Replica};
use crate::clock;
use crate::snapshot::read::{self, Read, Reading, Unread, Unreadable};
use crate::snapshot::{link, merge};

/// Codes with which control says that it cannot make or send a vault's snapshot, whoever asks.
const NOT_TO_BE_HAD: [Code; 2] = [Code::Internal, Code::ResourceExhausted];

impl Replica {
    /// Takes an event.
    pub(in crate::snapshot) fn event(
        &mut self,
        event: v1::FollowEvent,
        now: i64,
    ) -> Result<(), Broken> {
        let event = event.event.ok_or(Broken::Protocol)?;
        if self.stream.welcomed == matches!(event, Event::Welcome(_)) {
            return Err(Broken::Protocol);
        }
        match event {
            Event::Welcome(welcome) => self.welcome(welcome, now),
            Event::Tenant(tenant) => self.tenant(tenant),
            Event::Vault(snapshot) => self.snapshot(snapshot),
            Event::EncodedVault(encoded) => self.encoded(&encoded),
            Event::VaultRefused(refused) => self.refused(&refused, now),
            Event::Change(change) => self.change(change, now),
            Event::Echo(echo) => {
                self.advance(echo.revision.ok_or(Broken::Protocol)?.into())?;
                // It leaves behind all that the stream begins with.
                self.whole = true;
                self.awaited.clear();
                self.confirmed();
                self.state.lease().echo(echo.nonce);
                clock::told(echo.at_micros);
                // Control that does not know says nothing: what it said before holds.
                if echo.gateways > 0 {
                    self.state.set_gateways(echo.gateways);
                }
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
        self.position = self.position.or(Some(revision));
        self.state.set_epoch(revision.epoch);
        self.keys.clear();
        for key in welcome.signing_keys {
            self.put_key(key);
        }
        self.publish_keys();
        self.stream.welcomed = true;
        self.stream.capabilities = welcome.capabilities;
        self.news = true;
        let ids: Vec<_> = self.vaults.keys().copied().collect();
        for id in ids {
            if welcome.resumed {
                self.confirm(id, now);
            } else {
                self.resubscribe(id, now);
            }
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
                if self.poisoned.remove(&id) {
                    self.unsent.helped();
                    self.news = true;
                }
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
        self.take_snapshot(id, |tenant| read::snapshot(wire, id, tenant));
        Ok(())
    }

    fn encoded(&mut self, wire: &v1::EncodedVault) -> Result<(), Broken> {
        let id = VaultId::from_bytes(&wire.vault_id).or(Err(Broken::Undecodable))?;
        self.take_snapshot(id, |tenant| read::encoded(&wire.snapshot, id, tenant));
        Ok(())
    }

    /// Takes a whole vault, which must be of the tenant whose token asked for it.
    fn take_snapshot(
        &mut self,
        id: VaultId,
        read: impl FnOnce(Option<TenantId>) -> Result<Read, Unreadable>,
    ) {
        let Some(entry) = self.vaults.get_mut(&id) else {
            return; // It was dropped while the snapshot was on its way.
        };
        let read = match read(entry.latest.as_ref().map(|ticket| ticket.tenant)) {
            Ok(read) if !self.poisoned.contains(&read.snapshot.vault.tenant) => read,
            Ok(_) => return self.drop_vault(id, Code::VaultUnavailable),
            Err(Unreadable(reason)) => return self.quarantine(id, reason),
        };
        // The answer to a question stands for all that the stream did not send before it was asked, so it replaces
        // what is held whatever its revision; what came since follows on it.
        let unconfirmed = entry.complete_to.take().is_some();
        let answers = entry.asked.take().is_some() || unconfirmed;
        self.news |= entry.has_refusals();
        entry.whole = match entry.whole.take() {
            Some(whole) if answers => Some(merge::refresh(&whole, read)),
            Some(whole) => Some(merge::replace(&whole, read).unwrap_or(whole)),
            None => Some(merge::from_snapshot(read)),
        };
        // An answer that came too late says nothing new of what is held: it is still to be asked for.
        if !entry.is_frozen() {
            self.news |= entry.quarantine.take().is_some();
        }
        for change in std::mem::take(&mut entry.early) {
            entry.apply(&change);
        }
        self.news |= entry.has_refusals();
        self.publish(id);
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
        if Code::from_name(&wire.code).is_some_and(|code| NOT_TO_BE_HAD.contains(&code)) {
            self.quarantine(id, "control cannot make or send a snapshot of it");
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
        let change = read::change(wire, revision);
        if let Err(unread) = &change.object {
            tracing::error!(%revision, ?unread, "a change cannot be understood, and what it names is refused");
            self.news = true;
        }
        match change.vault() {
            Some(id) => self.apply_to_vault(id, change, now)?,
            None => self.apply(change)?,
        }
        self.advance(revision)
    }

    fn apply(&mut self, change: Reading) -> Result<(), Broken> {
        match change.object {
            Ok(Object::Tenant(tenant)) => {
                if !self.poisoned.contains(&tenant.id) {
                    self.state.put_tenant(tenant);
                }
            }
            Ok(Object::Revocation(revocation)) => self.state.revoke([revocation]),
            Ok(Object::SigningKey(key)) => {
                self.keys.retain(|held| held.kid != key.kid);
                self.keys.push(key);
                self.publish_keys();
            }
            Ok(Object::Tombstone(Tombstone::Tenant(id))) => self.drop_tenant(id),
            Err(Unread::Tenant(id)) => self.poison_tenant(id),
            Err(Unread::Unknown) => {
                self.position = None;
                return Err(Broken::Undecodable);
            }
            Err(
                Unread::Key
                | Unread::Vault(_)
                | Unread::Service(..)
                | Unread::Credential(..)
                | Unread::Grant(..),
            )
            | Ok(
                Object::Tombstone(_)
                | Object::Vault(_)
                | Object::Service(_)
                | Object::Credential(_)
                | Object::Grant(_),
            ) => {}
        }
        Ok(())
    }

    fn apply_to_vault(&mut self, id: VaultId, change: Reading, now: i64) -> Result<(), Broken> {
        let Some(entry) = self.vaults.get_mut(&id) else {
            return Ok(());
        };
        match change.object {
            Ok(Object::Tombstone(Tombstone::Vault(_))) => {
                self.drop_vault(id, Code::VaultUnavailable);
                return Ok(());
            }
            Err(Unread::Vault(_)) => {
                self.poison_vault(id, now);
                return Ok(());
            }
            Ok(_) | Err(_) => {}
        }
        let had_refusals = entry.has_refusals();
        let applied = entry.apply(&change);
        if entry.may_be_replaced() {
            if entry.early.len() >= EARLY_MAX {
                return Err(Broken::TooEarly);
            }
            entry.early.push(change);
        }
        self.news |= had_refusals;
        if applied {
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

    /// Whether what is held is served from the last good version, for as long as its lease holds.
    fn is_frozen(&self) -> bool {
        let whole = self.whole.as_ref();
        whole.is_some_and(|whole| whole.state.frozen_at.is_some())
    }

    /// Whether a snapshot may be on its way that is older than what comes before it.
    const fn may_be_replaced(&self) -> bool {
        let cold = self.whole.is_none() && self.quarantine.is_none();
        self.asked.is_some() || self.complete_to.is_some() || cold
    }

    /// Applies a change. Whether it was news.
    fn apply(&mut self, change: &Reading) -> bool {
        let next = self
            .whole
            .as_ref()
            .and_then(|whole| merge::apply(whole, change));
        let news = next.is_some();
        self.whole = next.or_else(|| self.whole.take());
        news
    }
}
