//! What the follow service does with what it is told, without a socket: events and wishes in, messages out.
//!
//! One value for the life of the process, over any number of streams. **Invariants:** a vault is in [`State`] only
//! between a whole snapshot and the moment at which its settings could not be understood, its release ended, or nobody
//! used it for a while; changes that arrive before a vault's snapshot wait for it; a cold vault has one
//! subscription, however many wait; messages are sent in the order of [`take_outgoing`](Replica::take_outgoing), so that
//! a beat never overtakes the subscriptions before it.

mod event;
mod quarantine;
mod report;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use sortie_proto::capability;
use sortie_proto::code::Code;
use sortie_proto::id::{SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::secret::Secret;
use sortie_proto::token::VerifyingKey;
use sortie_proto::wire::v1;
use tokio::sync::oneshot;
use v1::follow_request::Message;

use self::quarantine::{Quarantine, Unsent};
use super::merge::Whole;
use super::read::Reading;
use super::{State, VaultState};

/// The most changes that wait for a vault's snapshot.
const EARLY_MAX: usize = 10_000;
/// The ticks without use after which a vault is dropped: fifteen minutes.
const IDLE_TICKS: u32 = 15 * 60;
/// The ticks after which a subscription without an answer is given up.
const ANSWER_TICKS: u32 = 30;
/// The ticks between looks at what has ended.
const EXPIRE_TICKS: u32 = 60;
/// The ticks between reports of what is open.
const REPORT_TICKS: u32 = 5;
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
    stream: Stream,
    /// Whether all that a stream begins with has come: until then this node is behind its position.
    whole: bool,
    /// Tenants that were forgotten for a stream that sends them again, until it has.
    awaited: HashSet<TenantId>,
    keys: Vec<VerifyingKey>,
    vaults: HashMap<VaultId, Entry>,
    /// Tenants of which something was not understood. Only the whole tenant, sent again, takes one out.
    poisoned: HashSet<TenantId>,
    /// When this stream is left for those of them that it sends nothing more of.
    unsent: Unsent,
    /// Whether what is quarantined may have changed since it was told.
    news: bool,
    outgoing: Vec<v1::FollowRequest>,
    ticks: u32,
}

/// What is known of the open stream; of none, nothing.
#[derive(Debug, Default)]
struct Stream {
    /// Its welcome has come.
    welcomed: bool,
    /// Control has echoed a beat of it.
    confirmed: bool,
    /// What control says that it understands.
    capabilities: Vec<String>,
}

impl Stream {
    /// Whether control is there and understands what stands for this.
    fn takes(&self, capability: &str) -> bool {
        self.welcomed && capability::has(&self.capabilities, capability)
    }
}

#[derive(Debug, Default)]
struct Entry {
    whole: Option<Whole>,
    /// The session whose token the open subscription carries, and for how many ticks it is open.
    asked: Option<(SessionId, u32)>,
    release_end: i64,
    /// The session whose token was sent to prolong the release, and when that ends without it.
    prolonging: Option<(SessionId, i64)>,
    latest: Option<Ticket>,
    waiting: VecDeque<(Ticket, Answer)>,
    early: Vec<Reading>,
    quarantine: Option<Quarantine>,
    /// Up to where it is known to be complete, if that is not the replica's position: a stream has ended since, and the
    /// next one has not said yet that nothing is missing.
    complete_to: Option<Revision>,
    idle: u32,
}

impl Replica {
    /// A core that fills a state.
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            position: None,
            acknowledged: None,
            stream: Stream::default(),
            whole: false,
            awaited: HashSet::new(),
            keys: Vec::new(),
            vaults: HashMap::new(),
            poisoned: HashSet::new(),
            unsent: Unsent::default(),
            news: false,
            outgoing: Vec::new(),
            ticks: 0,
        }
    }

    /// The first message of a stream.
    pub(super) fn hello(&self, boot: &[u8]) -> v1::FollowRequest {
        let mut tenants = self.awaited.clone();
        tenants.extend(self.state.tenants());
        message(Message::Hello(v1::Hello {
            // A stream that ended before all of its beginning had come cannot be taken up again.
            resume: self.position.filter(|_| self.whole).map(Into::into),
            version: env!("CARGO_PKG_VERSION").into(),
            boot_id: boot.to_vec(),
            capabilities: capability::ALL.map(Into::into).to_vec(),
            tenants: tenants.into_iter().map(TenantId::to_bytes).collect(),
        }))
    }

    /// Whether the stream's welcome has come.
    pub(super) const fn is_welcomed(&self) -> bool {
        self.stream.welcomed
    }

    /// Whether control has confirmed something on this stream.
    pub(super) const fn is_confirmed(&self) -> bool {
        self.stream.confirmed
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
        self.stream = Stream::default();
        self.unsent.disconnected();
        self.acknowledged = None;
        self.outgoing.clear();
        self.state.lease().disconnected();
        for entry in self.vaults.values_mut() {
            entry.asked = None;
            entry.prolonging = None;
            entry.complete_to = entry.complete_to.or(self.position);
        }
    }

    /// Sends a beat.
    pub(super) fn beat(&mut self) {
        if self.stream.welcomed {
            let nonce = self.state.lease().beat();
            self.send(Message::Beat(v1::Beat { nonce }));
        }
    }

    /// This node was shut out: it keeps nothing, serves nothing and ends what is open. Should it be let in again, it
    /// starts afresh.
    pub(super) fn shut_out(&mut self) {
        let vaults: Vec<_> = self.vaults.keys().copied().collect();
        for id in vaults {
            self.drop_vault(id, Code::VaultUnavailable);
        }
        // Those that were to come again, too: what they have open goes on meanwhile.
        let mut tenants = self.awaited.clone();
        tenants.extend(self.state.tenants());
        for id in tenants {
            self.state.drop_tenant(id);
            self.state.set_unclear(id);
            self.awaited.insert(id);
        }
        // What it has seen it still knows: a database that is behind that stays suspect.
        self.whole = false;
        self.state.lease().end();
    }

    /// Says how far this node has come, if that is news. Nothing, while tenants' revocations are still to come: they
    /// are part of what the welcome's revision stands for.
    pub(super) fn acknowledge(&mut self) {
        if self.stream.welcomed && self.whole && self.position > self.acknowledged {
            self.acknowledged = self.position;
            let revision = self.position.map(Into::into);
            self.send(Message::Acknowledge(v1::Acknowledge { revision }));
        }
    }

    /// A request wants a vault.
    pub(super) fn want(&mut self, id: VaultId, ticket: Ticket, answer: Answer) {
        if self.unsent.has(ticket.tenant) {
            let _gone = answer.send(Err(Code::VaultUnavailable));
            return;
        }
        let entry = self.vaults.entry(id).or_default();
        if let Some(whole) = &entry.whole {
            let _gone = answer.send(Ok(Arc::clone(&whole.state)));
            self.offer(id, ticket);
            return;
        }
        if entry.quarantine.is_some_and(Quarantine::waits) && entry.asked.is_none() {
            let _gone = answer.send(Err(Code::VaultUnavailable));
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
        self.unsent.tick();
        if self.ticks.is_multiple_of(REPORT_TICKS) {
            self.report();
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
        let welcomed = self.stream.welcomed;
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
                if entry.whole.is_some() {
                    self.quarantine(id, "control does not answer for it");
                } else {
                    self.drop_vault(id, Code::VaultUnavailable);
                }
                return;
            }
        }
        entry.waiting.retain(|(_, answer)| !answer.is_closed());
        let forgotten = entry.whole.is_none()
            && entry.asked.is_none()
            && entry.waiting.is_empty()
            && !entry.quarantine.is_some_and(Quarantine::is_remembered);
        let latest_end = entry.latest.as_ref().map_or(0, |ticket| ticket.end);
        let ended = entry.whole.is_some() && entry.release_end.max(latest_end) <= now;
        if ended || forgotten || entry.idle > IDLE_TICKS {
            self.drop_vault(id, Code::VaultUnavailable);
            return;
        }
        if self.tick_quarantine(id, now) {
            return;
        }
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        let due = entry.release_end.saturating_sub(now) < PROLONG && latest_end > entry.release_end;
        if welcomed && due && entry.whole.is_some() && entry.asked.is_none() {
            let have = entry.whole.as_ref().map(|whole| whole.state.revision);
            if let Some(ticket) = entry.latest.clone() {
                entry.prolonging = Some((ticket.session, entry.release_end));
                entry.release_end = ticket.end;
                self.subscribe(id, &ticket, have);
            }
        }
    }

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
        self.news |= entry.quarantine.is_some() || entry.has_refusals();
        for (_, answer) in entry.waiting {
            let _gone = answer.send(Err(code));
        }
        self.unsubscribe(id);
    }

    fn unsubscribe(&mut self, id: VaultId) {
        if self.stream.welcomed {
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

    /// A stream goes on where the last one ended: a vault is sent again only if it has changed since it was complete.
    fn confirm(&mut self, id: VaultId, now: i64) {
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        let ticket = entry.latest.clone().filter(|ticket| ticket.end > now);
        let complete = entry.whole.is_some() && entry.quarantine.is_none();
        match (ticket, entry.complete_to.filter(|_| complete)) {
            (Some(ticket), Some(complete_to)) => {
                entry.early.clear();
                entry.release_end = ticket.end;
                self.subscribe(id, &ticket, Some(complete_to));
            }
            (_, _) => self.resubscribe(id, now),
        }
    }

    /// Control has answered all that was asked before a beat: what is held is complete up to the replica's position.
    fn confirmed(&mut self) {
        if !std::mem::replace(&mut self.stream.confirmed, true) {
            for entry in self.vaults.values_mut() {
                if entry.complete_to.take().is_some() && entry.asked.is_none() {
                    entry.early.clear();
                }
            }
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
        let welcomed = self.stream.welcomed;
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

    fn send(&mut self, content: Message) {
        self.outgoing.push(message(content));
    }
}

const fn message(content: Message) -> v1::FollowRequest {
    v1::FollowRequest {
        message: Some(content),
    }
}

#[cfg(test)]
mod tests;
