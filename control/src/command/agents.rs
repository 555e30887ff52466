//! Agents: made, listed, revoked and deleted.

use serde_json::json;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::code::Code;
use sortie_proto::id::AgentId;
use sortie_proto::key::KeyKind;
use sortie_proto::wire::v1;

use super::fields::{self, Problems, show};
use super::page::Page;
use super::reveal::new_key;
use super::{Context, Draft, Wait, last_token_ends, not_found, record_in};
use crate::access::{Authorized, Manage, ReadAgent};
use crate::database::agents::{self as rows, AgentRow};
use crate::database::grants::{self, GrantRow};
use crate::database::{Reference, Transaction, changes};
use crate::error::{Error, Result};

fn view(row: AgentRow, granted: &[GrantRow]) -> v1::AgentView {
    let grants = granted
        .iter()
        .filter(|granted| granted.grant.agent == row.id)
        .map(|granted| v1::GrantView {
            vault: granted.vault_name.clone(),
            agent: row.name.clone(),
            role: granted.grant.role.name().to_owned(),
            expires_at: show(granted.expires_at),
        })
        .collect();
    v1::AgentView {
        id: row.id.to_string(),
        name: row.name,
        delegate: row.delegate,
        generation: row.generation,
        grants,
        created_at: row.created_at.to_string(),
        limits: (&row.limits).into(),
        session_limits: (&row.session_limits).into(),
    }
}

/// Makes an agent. The answer carries its key, this once.
///
/// # Errors
/// `invalid_argument`, `already_exists`, or as the database's.
pub async fn create(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::CreateAgentRequest,
) -> Result<v1::CreateAgentResponse> {
    let mut problems = Problems::default();
    problems.take("name", fields::name(&request.name));
    problems.finish()?;
    let key = new_key(&cx.keys, KeyKind::Agent)?;
    let (tenant, agent) = (by.tenant(), AgentId::generate());
    let tx = cx.database.tenant(tenant).await?;
    let row = rows::insert(
        &tx,
        (tenant, agent),
        &request.name,
        request.delegate,
        &key.hash,
    )
    .await?
    .ok_or_else(|| Error::new(Code::AlreadyExists))?;
    let draft = Draft {
        action: "agent.create",
        subject: request.name,
        agent: Some(agent),
        detail: json!({ "delegate": request.delegate }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    tx.commit().await?;
    Ok(v1::CreateAgentResponse {
        agent: Some(view(row, &[])),
        key: key.text,
    })
}

/// What a path names, for the caller: an agent says `-` for itself, and others do not exist for it.
fn reference<'a, A>(by: &Authorized<A>, agent: &'a str) -> Reference<'a> {
    match by.agent() {
        Some(own) if agent == "-" => Reference::id(own.uuid()),
        Some(_) | None => Reference::read(agent, AgentId::uuid),
    }
}

/// Describes an agent with its grants.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn get(cx: &Context, by: &Authorized<ReadAgent>, agent: &str) -> Result<v1::AgentView> {
    let tx = cx.database.read(by.tenant()).await?;
    let row = rows::get(&tx, by.tenant(), reference(by, agent))
        .await?
        .filter(|row| by.agent().is_none_or(|own| own == row.id))
        .ok_or_else(not_found)?;
    let granted = grants::of_agents(&tx, by.tenant(), &[row.id.uuid()]).await?;
    tx.commit().await?;
    Ok(view(row, &granted))
}

/// Lists the agents of a tenant; an agent sees itself.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<ReadAgent>,
    request: v1::ListAgentsRequest,
) -> Result<v1::ListAgentsResponse> {
    let page = Page::read(request.page)?;
    let tx = cx.database.read(by.tenant()).await?;
    let mut rows = match by.agent() {
        Some(own) => Vec::from_iter(rows::get(&tx, by.tenant(), Reference::id(own.uuid())).await?),
        None => rows::list(&tx, by.tenant(), page.after.map(Into::into), page.limit()).await?,
    };
    let next_page_token = page.cut(&mut rows, |row| row.id.uuid());
    let ids: Vec<_> = rows.iter().map(|row| row.id.uuid()).collect();
    let granted = grants::of_agents(&tx, by.tenant(), &ids).await?;
    tx.commit().await?;
    Ok(v1::ListAgentsResponse {
        agents: rows.into_iter().map(|row| view(row, &granted)).collect(),
        next_page_token,
    })
}

/// Sets what an agent and each of its sessions may use. Its grants carry that to gateways.
///
/// # Errors
/// `invalid_argument`, `not_found`, or as the database's.
pub async fn update(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::UpdateAgentRequest,
) -> Result<v1::AgentView> {
    let mut problems = Problems::default();
    let mut read = |at, spec: Option<_>| spec.map(|spec| fields::limits(&mut problems, at, spec));
    let limits = (
        read("limits", request.limits),
        read("session_limits", request.session_limits),
    );
    problems.finish()?;
    let tenant = by.tenant();
    let tx = cx.database.tenant(tenant).await?;
    let row = rows::limit(&tx, tenant, reference(by, &request.agent), limits)
        .await?
        .ok_or_else(not_found)?;
    for grant in grants::raise(&tx, tenant, row.id).await? {
        let vault = grant.vault;
        changes::publish(&tx, Some(tenant), Some(vault), &Object::Grant(grant)).await?;
    }
    let granted = grants::of_agents(&tx, tenant, &[row.id.uuid()]).await?;
    let view = view(row, &granted);
    let draft = Draft {
        action: "agent.update",
        subject: view.name.clone(),
        agent: view.id.parse().ok(),
        detail: json!({ "limits": view.limits, "session_limits": view.session_limits }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    cx.settle(tx).await?;
    Ok(view)
}

async fn refuse_tokens(tx: &Transaction, by: &Authorized<Manage>, row: &AgentRow) -> Result<()> {
    let revocation = Revocation {
        tenant: by.tenant(),
        subject: RevokedSubject::Agent(row.id, row.generation),
        expires_at: last_token_ends(),
    };
    changes::revoke(tx, &revocation).await
}

/// Deletes an agent with its grants, and refuses its tokens.
///
/// # Errors
/// `not_found`, or as the database's.
pub async fn delete(cx: &Context, by: &Authorized<Manage>, agent: &str) -> Result<v1::Deleted> {
    let tenant = by.tenant();
    let tx = cx.database.tenant(tenant).await?;
    let row = rows::raise(&tx, tenant, reference(by, agent))
        .await?
        .ok_or_else(not_found)?;
    let granted = grants::of_agents(&tx, tenant, &[row.id.uuid()]).await?;
    rows::delete(&tx, tenant, Reference::id(row.id.uuid())).await?;
    for granted in granted {
        let vault = granted.grant.vault;
        let object = Object::Tombstone(Tombstone::Grant(vault, row.id));
        changes::publish(&tx, Some(tenant), Some(vault), &object).await?;
    }
    refuse_tokens(&tx, by, &row).await?;
    let draft = Draft {
        action: "agent.delete",
        subject: row.name,
        agent: Some(row.id),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?.to_string();
    Ok(v1::Deleted { revision })
}

/// Refuses every token of an agent that is out, and waits for gateways as the request says. The agent's key stays good:
/// it may mint new ones.
///
/// # Errors
/// `invalid_argument`, `not_found`, or as the database's.
pub async fn revoke(
    cx: &Context,
    by: &Authorized<Manage>,
    request: v1::RevokeAgentRequest,
) -> Result<v1::Revoked> {
    let wait = Wait::read(request.wait_seconds)?;
    let tx = cx.database.tenant(by.tenant()).await?;
    let row = rows::raise(&tx, by.tenant(), reference(by, &request.agent))
        .await?
        .ok_or_else(not_found)?;
    refuse_tokens(&tx, by, &row).await?;
    let draft = Draft {
        action: "agent.revoke",
        subject: row.name,
        agent: Some(row.id),
        detail: json!({ "generation": row.generation }),
        ..Draft::default()
    };
    record_in(&tx, by, draft).await?;
    let revision = cx.publish(tx).await?;
    Ok(wait.answer(cx, (by.tenant(), None), revision).await)
}
