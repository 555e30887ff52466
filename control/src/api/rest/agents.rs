//! `/v1/tenants/{tenant}/agents`

use axum::extract::{Request, State as Shared};
use serde::Deserialize;
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, PageQuery, Revoke, optional};
use super::{Answer, Created, Json, Path, Query, created, split_verb};
use crate::access::{Manage, ReadAgent};
use crate::api::State;
use crate::command::agents;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAgent {
    /// 1 to 63 lower-case letters, digits and hyphens.
    name: String,
    /// Whether it may mint sessions for a person.
    #[serde(default)]
    delegate: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateAgent {
    /// Takes the place of the limits that were set; `{}` removes them.
    limits: Option<v1::LimitsSpec>,
    /// The same, of each of the agent's sessions.
    session_limits: Option<v1::LimitsSpec>,
}

/// Makes an agent. The answer carries its key, this once.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/agents", operation_id = "CreateAgent", tag = "agents",
    request_body = CreateAgent, responses((status = 201, body = v1::CreateAgentResponse)))]
pub(super) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<CreateAgent>,
) -> Created<v1::CreateAgentResponse> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::CreateAgentRequest {
        tenant,
        name: body.name,
        delegate: body.delegate,
    };
    created(agents::create(&state, &by, request).await)
}

/// Lists the agents of a tenant with their grants; an agent sees itself.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/agents", operation_id = "ListAgents", tag = "agents",
    params(PageQuery), responses((status = 200, body = v1::ListAgentsResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListAgentsResponse> {
    let by = caller.may::<ReadAgent>(&tenant).await?;
    let page = Some(query.page());
    let request = v1::ListAgentsRequest { tenant, page };
    Ok(Json(agents::list(&state, &by, request).await?))
}

/// Describes an agent with its grants. An agent may say `-` for itself.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/agents/{agent}", operation_id = "GetAgent", tag = "agents",
    responses((status = 200, body = v1::AgentView)))]
pub(super) async fn get(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, agent)): Path<(String, String)>,
) -> Answer<v1::AgentView> {
    let by = caller.may::<ReadAgent>(&tenant).await?;
    Ok(Json(agents::get(&state, &by, &agent).await?))
}

/// Sets what an agent, and each of its sessions, may use.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/agents/{agent}", operation_id = "UpdateAgent", tag = "agents",
    request_body = UpdateAgent, responses((status = 200, body = v1::AgentView)))]
pub(super) async fn update(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, agent)): Path<(String, String)>,
    Json(body): Json<UpdateAgent>,
) -> Answer<v1::AgentView> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::UpdateAgentRequest {
        tenant,
        agent,
        limits: body.limits,
        session_limits: body.session_limits,
    };
    Ok(Json(agents::update(&state, &by, request).await?))
}

/// Deletes an agent with its grants, and refuses its tokens.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/agents/{agent}", operation_id = "DeleteAgent", tag = "agents",
    responses((status = 200, body = v1::Deleted)))]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, agent)): Path<(String, String)>,
) -> Answer<v1::Deleted> {
    let by = caller.may::<Manage>(&tenant).await?;
    Ok(Json(agents::delete(&state, &by, &agent).await?))
}

/// Refuses every token of an agent that is out. Its key stays good.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/agents/{agent}:revoke", operation_id = "RevokeAgent",
    tag = "agents", request_body = Option<Revoke>, responses((status = 200, body = v1::Revoked)))]
pub(super) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, agent)): Path<(String, String)>,
    Json(body): Json<Revoke>,
) -> Answer<v1::Revoked> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::RevokeAgentRequest {
        tenant,
        agent,
        wait_seconds: body.wait_seconds,
    };
    Ok(Json(agents::revoke(&state, &by, request).await?))
}

/// `…/{agent}:revoke`
pub(super) async fn verb(
    state: Shared<State>,
    caller: Caller,
    Path((tenant, segment)): Path<(String, String)>,
    request: Request,
) -> Answer<v1::Revoked> {
    match split_verb(&segment) {
        Some((agent, "revoke")) => {
            let body = optional(&state.0, request).await?;
            let path = Path((tenant, agent.to_owned()));
            Box::pin(revoke(state, caller, path, body)).await
        }
        Some(_) => Err(Code::NotFound.into()),
        None => Err(Code::MethodNotAllowed.into()),
    }
}
