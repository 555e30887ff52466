//! `/v1/gateways`

use axum::extract::State as Shared;
use serde::Deserialize;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, PageQuery};
use super::{Answer, Created, Json, Query, created};
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
