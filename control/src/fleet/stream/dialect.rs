//! What a gateway understands of what it is sent.
//!
//! **Invariant.** A gateway is never handed a revocation that it would ignore. One of an earlier version gets, in place
//! of a revoked credential, that it is gone; a revocation of a user or a parent as it is, which has it refuse all of the
//! tenant. Neither ends what is open there, so from such a revision on its word does not count: it stays behind, and who
//! waits for it reads that it is missing.
//!
//! Left out: limits and a tenant's weight. They go to every gateway, and one that does not know them ignores them: how
//! much somebody may use holds once all gateways know it.

use sortie_proto::capability;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::change::Object;
use sortie_proto::wire::v1::revocation::Subject;

/// A gateway's version of the feed, and how far its word counts.
#[derive(Debug)]
pub(super) struct Dialect {
    /// It enforces revocations of users, parents and credentials.
    subjects: bool,
    /// It takes vaults as they are kept.
    encoded: bool,
    /// The first revision that it cannot enforce.
    beyond: Option<Revision>,
}

impl Dialect {
    pub(super) fn of(hello: &v1::Hello) -> Self {
        Self {
            subjects: capability::has(&hello.capabilities, capability::SUBJECTS),
            encoded: capability::has(&hello.capabilities, capability::ENCODED_VAULTS),
            beyond: None,
        }
    }

    /// Whether the gateway takes a vault as it is kept, with all that it may hold.
    pub(super) const fn takes_encoded(&self) -> bool {
        self.encoded && self.subjects
    }

    /// The last revision of those up to this one that the gateway can have enforced.
    pub(super) fn counts(&self, acknowledged: Revision) -> Revision {
        let last = self.beyond.map(|first| Revision {
            n: first.n.saturating_sub(1),
            ..first
        });
        last.map_or(acknowledged, |last| acknowledged.min(last))
    }

    /// A change as the gateway is told it; `None` for one that another says in its place.
    pub(super) fn change(&mut self, revision: Revision, change: &v1::Change) -> Option<v1::Change> {
        if self.subjects {
            return Some(change.clone());
        }
        match &change.object {
            Some(Object::Credential(credential)) if credential.sealed.is_none() => {
                Some(v1::Change {
                    object: Some(Object::Tombstone(gone(credential))),
                    ..change.clone()
                })
            }
            Some(Object::Revocation(revocation)) => {
                self.pass(revision, revocation).then(|| change.clone())
            }
            _ => Some(change.clone()),
        }
    }

    /// A tenant's state as the gateway is told it.
    pub(super) fn tenant(&mut self, revision: Revision, state: &mut v1::TenantState) {
        if !self.subjects {
            let since = beginning(revision);
            state
                .revocations
                .retain(|revocation| self.pass(since, revocation));
        }
    }

    /// Whether it matters what state a tenant is in of which the gateway is not told again, since it resumes.
    pub(super) const fn asks_when_resumed(&self) -> bool {
        !self.subjects
    }

    /// A tenant's state of which the gateway is not told again; `None` if it cannot be had: then its word counts for
    /// nothing.
    pub(super) fn resumed(&mut self, revision: Revision, state: Option<&v1::TenantState>) {
        let since = beginning(revision);
        match state {
            Some(state) => {
                for revocation in &state.revocations {
                    self.pass(since, revocation);
                }
            }
            None => self.end_at(since),
        }
    }

    fn end_at(&mut self, revision: Revision) {
        let first = self.beyond.map_or(revision, |first| first.min(revision));
        self.beyond = Some(first);
    }

    /// A vault as the gateway is told it.
    pub(super) fn vault(&self, snapshot: &mut v1::VaultSnapshot) {
        if !self.subjects {
            let credentials = &mut snapshot.credentials;
            credentials.retain(|credential| credential.sealed.is_some());
        }
    }

    /// Whether a gateway without the capability is sent a revocation. One that it cannot enforce is noted.
    fn pass(&mut self, revision: Revision, revocation: &v1::Revocation) -> bool {
        let (known, sent) = match revocation.subject {
            Some(Subject::CredentialId(_)) => (false, false),
            Some(Subject::User(_) | Subject::ParentSessionId(_)) => (false, true),
            Some(
                Subject::SessionId(_)
                | Subject::AgentId(_)
                | Subject::VaultId(_)
                | Subject::WholeTenant(_),
            )
            | None => (true, true),
        };
        if !known {
            self.end_at(revision);
        }
        sent
    }
}

/// The first revision of an epoch. When what stands in a state was made, the state does not say.
const fn beginning(revision: Revision) -> Revision {
    Revision { n: 1, ..revision }
}

fn gone(credential: &v1::Credential) -> v1::Tombstone {
    v1::Tombstone {
        kind: v1::ObjectKind::Credential.into(),
        id: credential.id.clone(),
        vault_id: credential.vault_id.clone(),
        tenant_id: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
