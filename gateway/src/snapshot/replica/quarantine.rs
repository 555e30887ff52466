//! Vaults of which a whole snapshot cannot be had or understood: what is served meanwhile, and when it is asked for again.

use std::collections::HashSet;

use sortie_proto::capability;
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::wire::v1;
use v1::follow_request::Message;

use super::{Entry, Replica};
use crate::snapshot::merge;
use crate::snapshot::quarantine::{self, Quarantined};
use crate::snapshot::read::Refused;

/// The ticks before the first new question, and the most: each failure doubles them.
const AGAIN_TICKS: (u32, u32) = (10, 600);
/// Why a tenant is refused.
const TENANT: &str = "its settings or a revocation of it have no meaning here";
/// Why an object is refused.
const OBJECT: &str = "it has no meaning here";

/// What is wrong with a vault, and when it is asked for again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quarantine {
    reason: &'static str,
    /// The ticks before it is asked for again.
    wait: u32,
    /// How many have passed.
    passed: u32,
}

impl Quarantine {
    fn after(before: Option<Self>, reason: &'static str) -> Self {
        let (first, most) = AGAIN_TICKS;
        let wait = before.map_or(first, |before| before.wait.saturating_mul(2).min(most));
        Self {
            reason,
            wait,
            passed: 0,
        }
    }

    /// Whether it is too early to ask again.
    pub(super) const fn waits(self) -> bool {
        self.passed < self.wait
    }

    /// Whether the next failure still counts as one after this: for as long again as nobody asked.
    pub(super) const fn is_remembered(self) -> bool {
        self.passed < self.wait.saturating_mul(2)
    }
}

/// Tenants of which this stream sends nothing more: control believes that they are whole here. A new stream has them
/// sent again, to who asks; the first after a while, each one that helped nothing after twice as long.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    tenants: HashSet<TenantId>,
    wait: u32,
    passed: u32,
}

impl Unsent {
    pub(super) fn has(&self, tenant: TenantId) -> bool {
        self.tenants.contains(&tenant)
    }

    fn add(&mut self, tenant: TenantId) {
        if self.tenants.is_empty() {
            let (first, most) = AGAIN_TICKS;
            self.wait = self.wait.saturating_mul(2).clamp(first, most);
            self.passed = 0;
        }
        self.tenants.insert(tenant);
    }

    pub(super) fn tick(&mut self) {
        self.passed = self.passed.saturating_add(1);
    }

    /// The next stream has not sent anything yet.
    pub(super) fn disconnected(&mut self) {
        self.tenants.clear();
    }

    /// A tenant was understood again.
    pub(super) fn helped(&mut self) {
        self.wait = 0;
    }

    fn is_over(&self) -> bool {
        !self.tenants.is_empty() && self.passed >= self.wait
    }
}

impl Replica {
    /// Whether the stream is to be left for another, on which tenants are sent again that could not be understood.
    pub(in crate::snapshot) fn must_reopen(&self) -> bool {
        self.stream.welcomed && self.unsent.is_over()
    }

    /// A vault's snapshot cannot be had or understood. What is held goes on for as long as its staleness allows from
    /// when it was last known to be complete; changes that are understood are still applied to it. Nothing held: it is
    /// refused, and not asked for with each request.
    pub(super) fn quarantine(&mut self, id: VaultId, reason: &'static str) {
        let complete_at = self.state.lease().confirmed();
        let Some(entry) = self.vaults.get_mut(&id) else {
            return;
        };
        tracing::error!(vault.id = %id, reason, served = entry.whole.is_some(), "a vault is quarantined");
        entry.quarantine = Some(Quarantine::after(entry.quarantine, reason));
        entry.asked = None;
        entry.early.clear();
        self.news = true;
        if let Some(whole) = &entry.whole {
            entry.whole = Some(merge::freeze(whole, complete_at));
            self.publish(id);
            return;
        }
        for (_, answer) in entry.waiting.drain(..) {
            let _gone = answer.send(Err(Code::VaultUnavailable));
        }
        self.unsubscribe(id);
    }

    /// A second has passed. Whether the vault is asked for again.
    pub(super) fn tick_quarantine(&mut self, id: VaultId, now: i64) -> bool {
        let welcomed = self.stream.welcomed;
        let Some(entry) = self.vaults.get_mut(&id) else {
            return false;
        };
        let Some(quarantine) = &mut entry.quarantine else {
            return false;
        };
        quarantine.passed = quarantine.passed.saturating_add(1);
        let due = !quarantine.waits() && entry.asked.is_none() && entry.whole.is_some();
        if due && welcomed {
            self.resubscribe(id, now);
        }
        due && welcomed
    }

    pub(super) fn poison_tenant(&mut self, id: TenantId) {
        self.drop_tenant(id);
        // What was not understood may be a revocation: nothing that is open goes on.
        self.state.set_unclear(id);
        self.poisoned.insert(id);
        self.unsent.add(id);
        self.news = true;
    }

    /// Takes a vault out of service and asks for all of it again.
    pub(super) fn poison_vault(&mut self, id: VaultId, now: i64) {
        self.state.drop_vault(id);
        self.news = true;
        if let Some(entry) = self.vaults.get_mut(&id) {
            entry.whole = None;
            entry.early.clear();
            self.resubscribe(id, now);
        }
    }

    /// What control is to be told, if that is news.
    pub(in crate::snapshot) fn tell_quarantined(&mut self) {
        if !std::mem::take(&mut self.news) {
            return;
        }
        let all = self.quarantined();
        if self.stream.takes(capability::QUARANTINE) {
            self.send(Message::Quarantined(quarantine::to_wire(&all)));
        }
        self.state.set_quarantined(all);
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        let tenants = self.poisoned.iter().map(|id| refused_tenant(*id));
        let vaults = self
            .vaults
            .iter()
            .flat_map(|(id, entry)| entry.quarantined(*id));
        let mut all: Vec<_> = tenants.chain(vaults).collect();
        // One order for one content: control writes a line for what it has not heard of.
        all.sort();
        all
    }
}

fn refused_tenant(id: TenantId) -> Quarantined {
    Quarantined {
        tenant: Some(id),
        vault: None,
        what: "tenant".to_owned(),
        reason: TENANT,
        served: false,
    }
}

impl Entry {
    fn quarantined(&self, id: VaultId) -> Vec<Quarantined> {
        let held = self.whole.as_ref().map(|whole| whole.state.vault.tenant);
        let asked = || self.latest.as_ref().map(|ticket| ticket.tenant);
        let tenant = held.or_else(asked);
        let line = |what: String, reason: &'static str, served: bool| Quarantined {
            tenant,
            vault: Some(id),
            what,
            reason,
            served,
        };
        let mut lines = Vec::new();
        if let Some(quarantine) = self.quarantine {
            let served = self.whole.is_some();
            lines.push(line("vault".to_owned(), quarantine.reason, served));
        }
        if let Some(refused) = self.whole.as_ref().map(|whole| &whole.refused) {
            let services = refused.services.keys().map(|id| format!("service {id}"));
            let credentials = refused
                .credentials
                .iter()
                .map(|id| format!("credential {id}"));
            let grants = refused.grants.iter().map(|id| format!("grant of {id}"));
            let objects = services.chain(credentials).chain(grants);
            lines.extend(objects.map(|what| line(what, OBJECT, false)));
        }
        lines
    }

    /// Whether the last version of it is one that something was not understood in.
    pub(super) fn has_refusals(&self) -> bool {
        let refused = self.whole.as_ref().map(|whole| &whole.refused);
        refused.is_some_and(|refused| *refused != Refused::default())
    }
}
