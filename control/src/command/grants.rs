//! Agents' roles on vaults.

use jiff::Timestamp;
use serde_json::json;
use sortie_proto::agent::VaultRole;
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::AgentId;
use sortie_proto::wire::v1;

use super::fields::{self, Problems, show};
use super::{Context, Draft, not_found, record_in, vault_of};
use crate::access::{Authorized, Manage};
use crate::database::{Reference, agents, changes, grants as rows};
use crate::error::{Error, Result};

/// The most grants that a vault may have: a gateway gets them in one message.
const PER_VAULT_MAX: i64 = 50_000;

/// Gives an agent a role on a vault, in the place of the one that it had.
///
/// # Errors
/// `invalid_argument`, `not_found`, `resource_exhausted`, or as the database's.
pub async fn put(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::PutGrantRequest,
) -> Result<v1::GrantView> {
    let mut problems = Problems::default();
    let role = VaultRole::from_name(&request.role).ok_or("must be `user`, `editor` or `admin`");
    let role = problems.take("role", role);
    let expires_at = problems.take("expires_at", fields::instant(&request.expires_at));
    if expires_at
        .flatten()
        .is_some_and(|end| end <= Timestamp::now())
    {
        problems.add("expires_at", "must be in the future");
    }
    problems.finish()?;
    let (role, expires_at) = role
        .zip(expires_at)
        .ok_or_else(|| Error::new(Code::InvalidArgument))?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let vault = vault_of(&tx, by, &request.vault).await?;
    // Whoever changes its limits raises the grants that are there: this one, or it carries the new ones.
    let agent = Reference::read(&request.agent, AgentId::uuid);
    let agent = agents::share(&tx, by.tenant(), agent).await?;
    let agent = agent.ok_or_else(not_found)?;
    let ends = (vault.id, agent.id);
    if rows::count_others(&tx, by.tenant(), ends).await? >= PER_VAULT_MAX {
        return Err(Error::new(Code::ResourceExhausted).because("The vault has 50,000 grants."));
    }
    let grant = rows::put(&tx, by.tenant(), ends, role, expires_at).await?;
    let object = Object::Grant(grant);
    changes::publish(&tx, Some(by.tenant()), Some(vault.id), &object).await?;
    let view = v1::GrantView {
        vault: vault.name,
        agent: agent.name,
        role: role.name().to_owned(),
        expires_at: show(expires_at),
    };
    let draft = Draft {
        action: "grant.put",
        subject: format!("{}/{}", view.vault, view.agent),
        vault: Some(vault.id),
        agent: Some(agent.id),
        detail: json!({ "role": view.role, "expires_at": view.expires_at }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    cx.settle(tx).await?;
    Ok(view)
}

/// Takes an agent's role on a vault.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn delete(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::DeleteGrantRequest,
) -> Result<v1::Deleted> {
    let tx = cx.database.tenant(by.tenant()).await?;
    let vault = vault_of(&tx, by, &request.vault).await?;
    let agent = Reference::read(&request.agent, AgentId::uuid);
    let agent = agents::get(&tx, by.tenant(), agent).await?;
    let agent = agent.ok_or_else(not_found)?;
    if !rows::delete(&tx, by.tenant(), (vault.id, agent.id)).await? {
        return Err(not_found());
    }
    let object = Object::Tombstone(Tombstone::Grant(vault.id, agent.id));
    changes::publish(&tx, Some(by.tenant()), Some(vault.id), &object).await?;
    let draft = Draft {
        action: "grant.delete",
        subject: format!("{}/{}", vault.name, agent.name),
        vault: Some(vault.id),
        agent: Some(agent.id),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?.to_string();
    Ok(v1::Deleted { revision })
}
