//! An actor, an action and a tenant become an [`Authorized`].
//!
//! Who may do what, all of it:
//!
//! | action | operator | owner | admin | auditor | member | agent |
//! |---|---|---|---|---|---|---|
//! | [`Operate`]: make, list and change tenants; join tokens; gateways | yes | | | | | |
//! | [`Describe`]: a tenant's name and state, its authority | yes | yes | yes | yes | yes | yes |
//! | [`Keys`]: API keys. An owner's key only by an owner | | yes | yes | | | |
//! | [`Manage`]: change vaults, credentials, services, agents, grants | | yes | yes | | | |
//! | [`Read`]: read vaults, credentials (never a value), services | | yes | yes | yes | yes | |
//! | [`ReadAgent`]: read agents with their grants | | yes | yes | yes | yes | itself |
//! | [`Sessions`]: mint, renew, revoke, list sessions | | yes | yes | lists | lists | its own |
//! | [`Audit`]: read the audit log | | yes | yes | yes | | |

use std::marker::PhantomData;

use sortie_proto::code::Code;
use sortie_proto::id::{AgentId, TenantId};

use super::{Actor, Who};
use crate::database::{Database, Reference, tenants};
use crate::error::{Error, Result};

/// A role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs the cluster and sees no tenant's data.
    Operator,
    /// May do everything in a tenant.
    Owner,
    /// May do everything in a tenant but handle owners' keys.
    Admin,
    /// Reads everything, the audit log too.
    Auditor,
    /// Reads everything but the audit log.
    Member,
    /// An agent's own key.
    Agent,
}

impl Role {
    const ALL: [Self; 6] = [
        Self::Operator,
        Self::Owner,
        Self::Admin,
        Self::Auditor,
        Self::Member,
        Self::Agent,
    ];

    /// The name in the API and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Member => "member",
            Self::Agent => "agent",
        }
    }

    /// Reads the name in the API and the database.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Something that is done, and the roles that may.
pub trait Action {
    /// The roles that may do it.
    const ROLES: &'static [Role];
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident: $($role:ident)+;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}

        impl Action for $name {
            const ROLES: &'static [Role] = &[$(Role::$role),+];
        }
    )*};
}

actions! {
    /// Run the cluster.
    Operate: Operator;
    /// Read a tenant's name, state and authority.
    Describe: Operator Owner Admin Auditor Member Agent;
    /// Handle API keys.
    Keys: Owner Admin;
    /// Change what a tenant holds.
    Manage: Owner Admin;
    /// Read what a tenant holds.
    Read: Owner Admin Auditor Member;
    /// Read agents.
    ReadAgent: Owner Admin Auditor Member Agent;
    /// Read sessions. [`Authorized::may_mint`] says who may change them.
    Sessions: Owner Admin Auditor Member Agent;
    /// Read the audit log.
    Audit: Owner Admin Auditor;
}

/// Proof that an actor may do something in a tenant. Only [`authorize`] makes one.
#[derive(Debug)]
pub struct Authorized<A> {
    actor: Actor,
    tenant: TenantId,
    action: PhantomData<A>,
}

impl<A> Authorized<A> {
    /// The tenant that it is about.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Who does it.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The agent that does it, which sees only its own; `None` for a key.
    #[must_use]
    pub const fn agent(&self) -> Option<AgentId> {
        match self.actor.who() {
            Who::Agent(agent) => Some(agent),
            Who::Key(..) => None,
        }
    }
}

impl Authorized<Sessions> {
    /// Whether it may mint, renew and revoke sessions: all of a tenant, or an agent its own.
    ///
    /// # Errors
    /// `permission_denied` for those who may only list.
    pub fn may_mint(&self) -> Result<()> {
        match self.actor.role() {
            Role::Owner | Role::Admin | Role::Agent => Ok(()),
            Role::Operator | Role::Auditor | Role::Member => {
                Err(Error::new(Code::PermissionDenied))
            }
        }
    }
}

/// Decides whether an actor may do something in the tenant that a path names: by id, by name, or `-` for its own.
///
/// # Errors
/// `permission_denied` for a role that may not; `not_found` for a tenant that is not the actor's.
pub async fn authorize<A: Action>(
    database: &Database,
    actor: Actor,
    tenant: &str,
) -> Result<Authorized<A>> {
    if !A::ROLES.contains(&actor.role()) {
        return Err(Error::new(Code::PermissionDenied));
    }
    let reference = Reference::read(tenant, TenantId::uuid);
    let found = match actor.tenant() {
        Some((id, name)) => {
            let own = tenant == "-"
                || reference.id == Some(id.uuid())
                || reference.name.is_some_and(|asked| asked == name);
            own.then_some(id)
        }
        None => {
            let tx = database.system().await?;
            let row = tenants::get(&tx, reference).await?;
            tx.commit().await?;
            row.map(|row| row.tenant.id)
        }
    };
    Ok(Authorized {
        tenant: found.ok_or_else(|| Error::new(Code::NotFound))?,
        actor,
        action: PhantomData,
    })
}

/// Proof that an actor runs the cluster: as [`Authorized`], but about no tenant.
///
/// # Errors
/// `permission_denied` for everyone else.
pub fn operate(actor: Actor) -> Result<Operator> {
    if Operate::ROLES.contains(&actor.role()) {
        Ok(Operator(actor))
    } else {
        Err(Error::new(Code::PermissionDenied))
    }
}

/// An actor that runs the cluster. Only [`operate`] makes one.
#[derive(Debug)]
pub struct Operator(Actor);

impl Operator {
    /// Who does it.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.0
    }
}
