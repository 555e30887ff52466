//! `/v1/tenants/{tenant}/sessions`

use std::collections::HashMap;

use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, Revoke, optional, page};
use super::{Answer, Created, Json, Path, Query, created, split_verb};
use crate::access::Sessions;
use crate::api::State;
use crate::api::problem::Problem;
use crate::command::{self, sessions};

/// A session that is asked for, and what its agent's side needs.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MintSession {
    /// An admin names it; an agent mints for itself.
    agent: String,
    /// 1 to 8.
    vaults: Vec<String>,
    /// 60 to 604,800; 3,600 if it is not given.
    ttl_seconds: u32,
    /// The person that it is for.
    user: String,
    labels: HashMap<String, String>,
    /// The network that it may be used from.
    source_cidr: String,
    /// Narrows what the session may use; empty: all that its vaults hold.
    services: Vec<String>,
    /// Services that must be usable now; if one is not, nothing is minted.
    require: Vec<String>,
    /// The session that it comes from: it has that one's user, and is revoked with what came from it.
    parent: String,
    /// Asks for the variables and files of the agent's side; `{}` takes every default.
    environment: Option<v1::EnvironmentSpec>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MintSessions {
    /// 1 to 1,000; all of them are minted, or none.
    sessions: Vec<v1::SessionSpec>,
    /// Asks for the variables and files of the agents' side, once for all; the sessions have the same vaults then.
    environment: Option<v1::EnvironmentSpec>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RenewSession {
    /// 60 to 604,800; 3,600 if it is not given.
    ttl_seconds: u32,
}

/// Whose sessions: exactly one of `user` and `parent`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RevokeSessions {
    /// All sessions for this person.
    user: String,
    /// All sessions that came from this one, and from those; not this one itself.
    parent: String,
    /// Waits so many seconds, at most 20, until gateways enforce it. 0 does not wait.
    wait_seconds: u32,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// 1 to 1,000; 100 if it is not given.
    page_size: Option<i32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
    /// Of this agent only: its id or name.
    agent: Option<String>,
    /// Ended and revoked ones too.
    #[serde(default)]
    include_ended: bool,
}

/// Mints a session.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sessions", operation_id = "MintSession", tag = "sessions",
    request_body = MintSession, responses((status = 201, body = v1::MintedSession)))]
pub(super) async fn mint(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<MintSession>,
) -> Created<v1::MintedSession> {
    let by = caller.may::<Sessions>(&tenant).await?;
    let session = v1::SessionSpec {
        agent: body.agent,
        vaults: body.vaults,
        ttl_seconds: body.ttl_seconds,
        user: body.user,
        labels: body.labels,
        source_cidr: body.source_cidr,
        services: body.services,
        require: body.require,
        parent: body.parent,
    };
    let request = v1::MintSessionRequest {
        tenant,
        session: Some(session),
        environment: body.environment,
    };
    created(Box::pin(sessions::mint(&state, &by, request)).await)
}

/// Mints many sessions: all of them, or none.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sessions:batchMint", operation_id = "MintSessions",
    tag = "sessions", request_body = MintSessions, responses((status = 201, body = v1::MintSessionsResponse)))]
pub(super) async fn mint_batch(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<MintSessions>,
) -> Created<v1::MintSessionsResponse> {
    let by = caller.may::<Sessions>(&tenant).await?;
    let request = v1::MintSessionsRequest {
        tenant,
        sessions: body.sessions,
        environment: body.environment,
    };
    created(Box::pin(sessions::mint_batch(&state, &by, request)).await)
}

/// Lists sessions, newest first; an agent sees its own.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sessions", operation_id = "ListSessions", tag = "sessions",
    params(SessionsQuery), responses((status = 200, body = v1::ListSessionsResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<SessionsQuery>,
) -> Answer<v1::ListSessionsResponse> {
    let by = caller.may::<Sessions>(&tenant).await?;
    let request = v1::ListSessionsRequest {
        tenant,
        page: Some(page(query.page_size, query.page_token)),
        agent: query.agent.unwrap_or_default(),
        include_ended: query.include_ended,
    };
    Ok(Json(sessions::list(&state, &by, request).await?))
}

/// Signs a session's token anew, with a later end.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sessions/{session}:renew", operation_id = "RenewSession",
    tag = "sessions", request_body = RenewSession, responses((status = 200, body = v1::MintedSession)))]
pub(super) async fn renew(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, session)): Path<(String, String)>,
    Json(body): Json<RenewSession>,
) -> Answer<v1::MintedSession> {
    let by = caller.may::<Sessions>(&tenant).await?;
    let request = v1::RenewSessionRequest {
        tenant,
        session,
        ttl_seconds: body.ttl_seconds,
    };
    Ok(Json(sessions::renew(&state, &by, request).await?))
}

/// Refuses a session's tokens. Answers the revision at which gateways do.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sessions/{session}:revoke", operation_id = "RevokeSession",
    tag = "sessions", request_body = Option<Revoke>, responses((status = 200, body = v1::Revoked)))]
pub(super) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, session)): Path<(String, String)>,
    Json(body): Json<Revoke>,
) -> Answer<v1::Revoked> {
    let by = caller.may::<Sessions>(&tenant).await?;
    let request = v1::RevokeSessionRequest {
        tenant,
        session,
        wait_seconds: body.wait_seconds,
    };
    Ok(Json(sessions::revoke(&state, &by, request).await?))
}

/// Refuses the tokens of all sessions of a user, or of all that came from a session, that were minted until now.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sessions:revoke", operation_id = "RevokeSessions",
    tag = "sessions", request_body = RevokeSessions, responses((status = 200, body = v1::Revoked)))]
pub(super) async fn revoke_many(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<RevokeSessions>,
) -> Answer<v1::Revoked> {
    let by = caller.may::<Sessions>(&tenant).await?;
    let request = v1::RevokeSessionsRequest {
        tenant,
        user: body.user,
        parent: body.parent,
        wait_seconds: body.wait_seconds,
    };
    Ok(Json(command::revoke::sessions(&state, &by, request).await?))
}

/// `…/{session}:renew` and `…/{session}:revoke`. Without a body a renewal has the default length, and a revocation does
/// not wait.
pub(super) async fn verb(
    state: Shared<State>,
    caller: Caller,
    Path((tenant, segment)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (session, verb) =
        split_verb(&segment).ok_or_else(|| Problem::from(Code::MethodNotAllowed))?;
    let path = Path((tenant, session.to_owned()));
    match verb {
        "revoke" => {
            let body = optional(&state.0, request).await?;
            Ok(Box::pin(revoke(state, caller, path, body))
                .await?
                .into_response())
        }
        "renew" => {
            let body = optional(&state.0, request).await?;
            Ok(Box::pin(renew(state, caller, path, body))
                .await?
                .into_response())
        }
        _ => Err(Code::NotFound.into()),
    }
}
