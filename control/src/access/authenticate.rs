//! A key becomes an [`Actor`].
//!
//! The checksum refuses junk before the database hears of it; the look-up is by keyed hash, so that neither a dump of
//! the table nor the time of a comparison helps to find a key.

use sortie_proto::code::Code;
use sortie_proto::id::{AgentId, ApiKeyId, TenantId};
use sortie_proto::key::{KeyKind, recognise};

use super::Role;
use crate::database::{Database, agents, api_keys};
use crate::error::{Error, Result};
use crate::seal::Keys;

/// The longest `Authorization` that is looked at, in bytes.
const HEADER_MAX: usize = 256;

/// A caller whose key was found. Only [`authenticate`] makes one.
#[derive(Debug, Clone)]
pub struct Actor {
    who: Who,
    tenant: Option<(TenantId, String)>,
    text: String,
}

/// Who an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A person or program with an API key, of a tenant or of the operator.
    Key(ApiKeyId, Role),
    /// An agent.
    Agent(AgentId),
}

impl Actor {
    /// Who it is.
    #[must_use]
    pub const fn who(&self) -> Who {
        self.who
    }

    /// The tenant that it belongs to, and its name; none for an operator.
    #[must_use]
    pub fn tenant(&self) -> Option<(TenantId, &str)> {
        self.tenant.as_ref().map(|(id, name)| (*id, name.as_str()))
    }

    /// Its id in the audit log.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its role; an agent has its own.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.who {
            Who::Key(_, role) => role,
            Who::Agent(_) => Role::Agent,
        }
    }
}

/// Finds out who sent an `Authorization` header.
///
/// # Errors
/// `unauthenticated` for anything but a live key as `Bearer` (RFC 6750, 2.1); it is never said why.
pub async fn authenticate(
    database: &Database,
    keys: &Keys,
    authorization: Option<&[u8]>,
) -> Result<Actor> {
    let refused = || Error::new(Code::Unauthenticated);
    let header = authorization
        .filter(|header| header.len() <= HEADER_MAX)
        .and_then(|header| std::str::from_utf8(header).ok())
        .ok_or_else(refused)?;
    let (scheme, key) = header.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused());
    }
    let key = key.trim();
    let kind = recognise(key).ok_or_else(refused)?;
    let hash = keys.hash(key);
    let tx = database.system().await?;
    let actor = match kind {
        KeyKind::Agent => agents::of_key(&tx, &hash).await?.map(|found| Actor {
            who: Who::Agent(found.agent),
            tenant: Some((found.tenant, found.tenant_name)),
            text: found.agent.to_string(),
        }),
        KeyKind::Api | KeyKind::Operator => api_keys::holder(&tx, &hash)
            .await?
            .and_then(|holder| of_holder(kind, holder)),
    };
    // It only reads: nobody waits for its end.
    drop(tx);
    actor.ok_or_else(refused)
}

/// The prefix says what the holder must be: an operator's key that leads to a tenant's row is refused, and the other
/// way round, and so is a role that is not known.
fn of_holder(kind: KeyKind, holder: api_keys::KeyHolder) -> Option<Actor> {
    let role = Role::from_name(&holder.role)?;
    let is_operator = role == Role::Operator;
    let fits = match kind {
        KeyKind::Operator => is_operator && holder.tenant.is_none(),
        KeyKind::Api => !is_operator && holder.tenant.is_some(),
        KeyKind::Agent => false,
    };
    fits.then(|| Actor {
        who: Who::Key(holder.id, role),
        tenant: holder.tenant,
        text: holder.id.to_string(),
    })
}
