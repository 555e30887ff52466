//! What the follow service does with what it is told, without a socket: events and wishes in, messages out.
//!
//! One value for the life of the process, over any number of streams. **Invariants:** a vault is in [`State`] only
//! between a whole snapshot and the moment at which something about it could not be understood, its release ended, or
//! nobody used it for a while; changes that arrive before a vault's snapshot wait for it; a cold vault has one
//! subscription, however many wait; messages are sent in the order of [`take_outgoing`](Replica::take_outgoing), so that
//! a beat never overtakes the subscriptions before it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use sortie_proto::change::{Change, Object, Snapshot, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::{SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::secret::Secret;
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{VerifyingKey, VerifyingKeys};
use sortie_proto::wire::v1;
use tokio::sync::oneshot;
use v1::follow_event::Event;
use v1::follow_request::Message;

use super::merge::{self, Whole};
use super::{State, VaultState};

/// The most changes that wait for a vault's snapshot.
const EARLY_MAX: usize = 10_000;
/// The ticks without use after which a vault is dropped: fifteen minutes.
const IDLE_TICKS: u32 = 15 * 60;
/// The ticks after which a subscription without an answer is given up.
const ANSWER_TICKS: u32 = 30;
/// The ticks between looks at what has ended.
const EXPIRE_TICKS: u32 = 60;
/// How long before a release ends it is prolonged, in seconds.
const PROLONG: i64 = 120;

/// What shows control that a vault may be released to this node.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) tenant: TenantId,
    pub(super) session: SessionId,
    /// When the token ends, in seconds since the Unix epoch.
    pub(super) end: i64,
    pub(super) token: Arc<Secret>,
}

/// Where the answer to a wish goes.
pub(super) type Answer = oneshot::Sender<Result<Arc<VaultState>, Code>>;

/// Why a stream cannot be followed further. A new one is opened; nothing confirms the lease meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("control sent something before its welcome, or nothing where something is needed")]
    Protocol,
    #[error(
        "control is behind what this node has seen: {0} after {1}; was a backup restored without a new epoch?"
    )]
    RolledBack(Revision, Revision),
    #[error(
        "control sent something that cannot be understood, and it is not known what it is about"
    )]
    Undecodable,
    #[error("too many changes arrived before a vault's snapshot")]
    TooEarly,
}

/// The follow service's memory.
#[derive(Debug)]
pub(super) struct Replica {
    state: State,
    position: Option<Revision>,
    acknowledged: Option<Revision>,
    welcomed: bool,
    keys: Vec<VerifyingKey>,
    vaults: HashMap<VaultId, Entry>,
    /// Tenants of which something was not understood. Only the whole tenant, sent again, takes one out.
    poisoned: HashSet<TenantId>,
    outgoing: Vec<v1::FollowRequest>,
    ticks: u32,
}

#[derive(Debug, Default)]
struct Entry {
    whole: Option<Whole>,
    /// The session whose token the open subscription carries, and for how many ticks it is open.
    asked: Option<(SessionId, u32)>,
    release_end: i64,
    latest: Option<Ticket>,
    waiting: VecDeque<(Ticket, Answer)>,
    early: Vec<Change>,
    idle: u32,
}

impl Replica {
    /// A core that fills a state.
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            position: None,
            acknowledged: None,
            welcomed: false,
            keys: Vec::new(),
            vaults: HashMap::new(),
            poisoned: HashSet::new(),
            outgoing: Vec::new(),
            ticks: 0,
        }
    }

    /// The first message of a stream.
    pub(super) fn hello(&self, boot: &[u8]) -> v1::FollowRequest {
        let tenants = self.state.tenants();
        message(Message::Hello(v1::Hello {
            resume: self.position.map(Into::into),
            version: env!("CARGO_PKG_VERSION").into(),
            boot_id: boot.to_vec(),
            capabilities: Vec::new(),
            tenants: tenants.into_iter().map(TenantId::to_bytes).collect(),
        }))
    }

    /// Whether the stream's welcome has come.
    pub(super) const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// How far this node has followed.
    pub(super) const fn position(&self) -> Option<Revision> {
        self.position
    }

    /// How many vaults are in memory or asked for.
    pub(super) fn vault_count(&self) -> usize {
        self.vaults.len()
    }

    /// The messages to send, in order.
    pub(super) fn take_outgoing(&mut self) -> Vec<v1::FollowRequest> {
        std::mem::take(&mut self.outgoing)
    }

    /// The stream ended.
    pub(super) fn disconnected(&mut self) {
        self.welcomed = false;
        self.acknowledged = None;
        self.outgoing.clear();
        self.state.lease().disconnected();
        for entry in self.vaults.values_mut() {
            entry.asked = None;
        }
    }

    /// Takes an event.
    pub(super) fn event(&mut self, event: v1::FollowEvent, now: i64) -> Result<(), Broken> {
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
                self.state.lease().echo(echo.nonce);
                Ok(())
            }
        }
    }

    /// Sends a beat.
    pub(super) fn beat(&mut self) {
        if self.welcomed {
            let nonce = self.state.lease().beat();
            self.send(Message::Beat(v1::Beat { nonce }));
        }
    }

    /// Says how far this node has come, if that is news.
    pub(super) fn acknowledge(&mut self) {
        if self.welcomed && self.position > self.acknowledged {
            self.acknowledged = self.position;
            let revision = self.position.map(Into::into);
            self.send(Message::Acknowledge(v1::Acknowledge { revision }));
        }
    }

    /// A request wants a vault.
    pub(super) fn want(&mut self, id: VaultId, ticket: Ticket, answer: Answer) {
        let entry = self.vaults.entry(id).or_default();
        if let Some(whole) = &entry.whole {
            let _gone = answer.send(Ok(Arc::clone(&whole.state)));
            self.offer(id, ticket);
            return;
        }
        entry.waiting.retain(|(_, answer)| !answer.is_closed());
        entry.waiting.push_back((ticket, answer));
        self.ask_next(id);
    }

    /// A session's token for a vault that is in memory: if it ends last, it will prolong the release.
    pub(super) fn offer(&mut self, id: VaultId, ticket: Ticket) {
        if let Some(entry) = self.vaults.get_mut(&id) {
            self.state.note_latest(id, ticket.end);
            if entry
                .latest
                .as_ref()
                .is_none_or(|held| held.end < ticket.end)
            {
                entry.latest = Some(ticket);
            }
        }
    }

    /// Called every second, connected or not.
    pub(super) fn tick(&mut self, now: i64) {
        let ids: Vec<_> = self.vaults.keys().copied().collect();
        for id in ids {
            self.tick_vault(id, now);
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(EXPIRE_TICKS) {
            self.state.expire_revocations(now);
            self.keys.retain(|key| now < key.not_after);
            self.publish_keys();
        }
    }

    fn tick_vault(&mut self, id: VaultId, now: i64) {
        let used = self.state.take_used(id);
        let welcomed = self.welcomed;
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        entry.idle = if used {
            0
        } else {
            entry.idle.saturating_add(1)
        };
        if let Some((_, ticks)) = &mut entry.asked {
            *ticks = ticks.saturating_add(1);
            if *ticks > ANSWER_TICKS {
                self.drop_vault(id, Code::VaultUnavailable);
                return;
            }
        }
        entry.waiting.retain(|(_, answer)| !answer.is_closed());
        let forgotten = entry.whole.is_none() && entry.asked.is_none() && entry.waiting.is_empty();
        let latest_end = entry.latest.as_ref().map_or(0, |ticket| ticket.end);
        let ended = entry.whole.is_some() && entry.release_end.max(latest_end) <= now;
        if ended || forgotten || entry.idle > IDLE_TICKS {
            self.drop_vault(id, Code::VaultUnavailable);
            return;
        }
        let due = entry.release_end.saturating_sub(now) < PROLONG && latest_end > entry.release_end;
        if welcomed && due && entry.whole.is_some() && entry.asked.is_none() {
            let have = entry.whole.as_ref().map(|whole| whole.state.revision);
            if let Some(ticket) = entry.latest.clone() {
                entry.release_end = ticket.end;
                self.subscribe(id, &ticket, have);
            }
        }
    }

    // === Events ===

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
            self.position = Some(revision);
        }
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
        let code = match Code::from_name(&wire.code) {
            Some(Code::SessionRevoked) => Code::SessionRevoked,
            _ => Code::VaultUnavailable,
        };
        entry.whole = None;
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

    // === Vaults ===

    /// Hands a vault's state to the requests.
    fn publish(&mut self, id: VaultId) {
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        let Some(whole) = &entry.whole else { return };
        self.state.put_vault(Arc::clone(&whole.state));
        for (ticket, answer) in entry.waiting.drain(..) {
            let _gone = answer.send(Ok(Arc::clone(&whole.state)));
            if entry
                .latest
                .as_ref()
                .is_none_or(|held| held.end < ticket.end)
            {
                entry.latest = Some(ticket);
            }
        }
        if let Some(latest) = &entry.latest {
            self.state.note_latest(id, latest.end);
        }
    }

    fn drop_vault(&mut self, id: VaultId, code: Code) {
        self.state.drop_vault(id);
        let Some(entry) = self.vaults.remove(&id) else {
            return;
        };
        for (_, answer) in entry.waiting {
            let _gone = answer.send(Err(code));
        }
        if self.welcomed {
            let vault_id = id.to_bytes();
            self.send(Message::Unsubscribe(v1::Unsubscribe { vault_id }));
        }
    }

    fn drop_tenant(&mut self, id: TenantId) {
        let of_tenant = |entry: &Entry| {
            let whole = entry.whole.as_ref();
            let ticket = entry.latest.as_ref();
            whole.is_some_and(|whole| whole.state.vault.tenant == id)
                || ticket.is_some_and(|ticket| ticket.tenant == id)
        };
        let vaults = self.vaults.iter().filter(|(_, entry)| of_tenant(entry));
        let vaults: Vec<_> = vaults.map(|(id, _)| *id).collect();
        for vault in vaults {
            self.drop_vault(vault, Code::VaultUnavailable);
        }
        self.state.drop_tenant(id);
    }

    fn poison_tenant(&mut self, id: TenantId) {
        self.drop_tenant(id);
        self.poisoned.insert(id);
    }

    /// Takes a vault out of service and asks for all of it again.
    fn poison_vault(&mut self, id: VaultId, now: i64) {
        self.state.drop_vault(id);
        if let Some(entry) = self.vaults.get_mut(&id) {
            entry.whole = None;
            entry.early.clear();
            self.resubscribe(id, now);
        }
    }

    /// Asks for a whole vault with the best token there is.
    fn resubscribe(&mut self, id: VaultId, now: i64) {
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        entry.early.clear();
        let ticket = entry.latest.clone().filter(|ticket| ticket.end > now);
        match ticket {
            Some(ticket) => {
                entry.asked = Some((ticket.session, 0));
                entry.release_end = ticket.end;
                // Without what this node has: the stream is a new one, and what it missed of this vault is not known.
                self.subscribe(id, &ticket, None);
            }
            None if entry.waiting.is_empty() => self.drop_vault(id, Code::VaultUnavailable),
            None => {
                entry.whole = None;
                self.state.drop_vault(id);
                self.ask_next(id);
            }
        }
    }

    /// Asks for a cold vault with the token of the first that waits, unless it is asked for.
    fn ask_next(&mut self, id: VaultId) {
        let welcomed = self.welcomed;
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        if entry.whole.is_some() || entry.asked.is_some() {
            return;
        }
        entry.waiting.retain(|(_, answer)| !answer.is_closed());
        let Some((ticket, _)) = entry.waiting.front() else {
            self.vaults.remove(&id);
            return;
        };
        let ticket = ticket.clone();
        entry.latest = Some(ticket.clone());
        if welcomed {
            entry.asked = Some((ticket.session, 0));
            entry.release_end = ticket.end;
            self.subscribe(id, &ticket, None);
        }
    }

    fn subscribe(&mut self, id: VaultId, ticket: &Ticket, have: Option<Revision>) {
        let session_token = String::from_utf8_lossy(ticket.token.expose()).into_owned();
        self.send(Message::Subscribe(v1::Subscribe {
            vault_id: id.to_bytes(),
            session_token,
            have: have.map(Into::into),
        }));
    }

    // === Keys and messages ===

    fn put_key(&mut self, wire: v1::SigningKey) {
        match VerifyingKey::try_from(wire) {
            Ok(key) => self.keys.push(key),
            Err(error) => tracing::error!(%error, "a signing key cannot be understood"),
        }
    }

    fn publish_keys(&self) {
        self.state
            .set_keys(VerifyingKeys::new(self.keys.iter().cloned()));
    }

    fn send(&mut self, content: Message) {
        self.outgoing.push(message(content));
    }
}

impl Entry {
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

const fn message(content: Message) -> v1::FollowRequest {
    v1::FollowRequest {
        message: Some(content),
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
                about => about,
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

#[cfg(test)]
mod tests;
