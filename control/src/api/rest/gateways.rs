//! `/v1/gateways`

use axum::extract::State as Shared;
use serde::Deserialize;
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, PageQuery};
use super::{Answer, Created, Json, Path, Query, created, split_verb};
use crate::api::State;
use crate::command::gateways;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateJoin {
    /// What the gateway will be called.
    name: String,
    /// 60 to 604,800; 3,600 if it is not given.
    #[serde(default)]
    valid_seconds: u32,
}

/// Makes a join string, good for one gateway.
#[utoipa::path(post, path = "/v1/gateways:join", operation_id = "CreateJoinToken", tag = "gateways",
    request_body = CreateJoin, responses((status = 201, body = v1::JoinTokenView)))]
pub(super) async fn create_join(
    Shared(state): Shared<State>,
    caller: Caller,
    Json(body): Json<CreateJoin>,
) -> Created<v1::JoinTokenView> {
    let by = caller.operates()?;
    let request = v1::CreateJoinTokenRequest {
        name: body.name,
        valid_seconds: body.valid_seconds,
    };
    created(gateways::create_join(&state, &by, request).await)
}

/// Lists the gateways of the cluster.
#[utoipa::path(get, path = "/v1/gateways", operation_id = "ListGateways", tag = "gateways", params(PageQuery),
    responses((status = 200, body = v1::ListGatewaysResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListGatewaysResponse> {
    let by = caller.operates()?;
    let request = v1::ListGatewaysRequest {
        page: Some(query.page()),
    };
    Ok(Json(gateways::list(&state, &by, request).await?))
}

/// Shuts a gateway out: it gets nothing more, and its certificate is not renewed.
#[utoipa::path(post, path = "/v1/gateways/{gateway}:lock", operation_id = "LockGateway", tag = "gateways",
    responses((status = 200, body = v1::GatewayView)))]
pub(super) async fn lock(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Answer<v1::GatewayView> {
    let by = caller.operates()?;
    let request = v1::LockGatewayRequest { gateway };
    Ok(Json(gateways::lock(&state, &by, request).await?))
}

/// Lets a gateway in again that was shut out.
#[utoipa::path(post, path = "/v1/gateways/{gateway}:unlock", operation_id = "UnlockGateway", tag = "gateways",
    responses((status = 200, body = v1::GatewayView)))]
pub(super) async fn unlock(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Answer<v1::GatewayView> {
    let by = caller.operates()?;
    let request = v1::UnlockGatewayRequest { gateway };
    Ok(Json(gateways::unlock(&state, &by, request).await?))
}

/// `…/{gateway}:lock` and `…/{gateway}:unlock`
pub(super) async fn verb(
    state: Shared<State>,
    caller: Caller,
    Path(segment): Path<String>,
) -> Answer<v1::GatewayView> {
    let (gateway, verb) = split_verb(&segment).ok_or(Code::MethodNotAllowed)?;
    let path = Path(gateway.to_owned());
    match verb {
        "lock" => Box::pin(lock(state, caller, path)).await,
        "unlock" => Box::pin(unlock(state, caller, path)).await,
        _ => Err(Code::NotFound.into()),
    }
}
