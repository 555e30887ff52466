//! Agents' roles on vaults, and what refuses their tokens and what they use.

use crate::id::{AgentId, CredentialId, SessionId, TenantId, VaultId};
use crate::limits::Limits;

/// A role of an agent on a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The vault.
    pub vault: VaultId,
    /// The agent.
    pub agent: AgentId,
    /// What it may do there.
    pub role: VaultRole,
    /// Seconds since the Unix epoch; `None` has no end.
    pub expires_at: Option<i64>,
    /// Rises with every change of the object.
    pub version: u64,
    /// What the agent may use, in all vaults together: the same in each of its grants.
    pub agent_limits: Limits,
    /// What each of the agent's sessions may use, in all vaults together: the same in each of its grants.
    pub session_limits: Limits,
}

/// What a role is meant to allow; each includes the ones before it.
///
/// Gateways ask only whether there is one. Control lets no agent change a vault, whatever its role there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VaultRole {
    /// Have requests brokered.
    User,
    /// Change services and credentials.
    Editor,
    /// Change grants and settings.
    Admin,
}

impl VaultRole {
    /// The name in the API and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// Reads the name in the API and the database.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Editor, Self::Admin]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// Refuses tokens of a tenant, or a credential of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The tenant whose tokens it is about.
    pub tenant: TenantId,
    /// Which of them.
    pub subject: RevokedSubject,
    /// Seconds since the Unix epoch at which the last token that it covers has ended.
    pub expires_at: i64,
}

/// What a revocation covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RevokedSubject {
    /// One session, whatever its tokens carry.
    Session(SessionId),
    /// Sessions of an agent below a generation.
    Agent(AgentId, u64),
    /// Sessions of a vault below a generation.
    Vault(VaultId, u64),
    /// Sessions of the whole tenant below a generation.
    Tenant(u64),
    /// Sessions for a person below a generation of the tenant's subjects.
    User(String, u64),
    /// Sessions that came from this one, at any distance, below a generation of the tenant's subjects.
    Parent(SessionId, u64),
    /// The versions of a credential up to this one: what they were put into is ended. Whether the credential is of any
    /// use, it says itself.
    Credential(CredentialId, u32),
}
