//! `/v1/tenants/{tenant}/vaults/{vault}/grants`

use axum::extract::State as Shared;
use serde::Deserialize;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::Caller;
use super::{Answer, Json, Path};
use crate::access::Manage;
use crate::api::State;
use crate::command::grants;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutGrant {
    /// `user`, `editor` or `admin`.
    role: String,
    /// When it ends; never if it is not given.
    #[serde(default)]
    expires_at: String,
}

/// Gives an agent a role on a vault.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/vaults/{vault}/grants/{agent}", operation_id = "PutGrant",
    tag = "agents", request_body = PutGrant, responses((status = 200, body = v1::GrantView)))]
pub(super) async fn put(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, agent)): Path<(String, String, String)>,
    Json(body): Json<PutGrant>,
) -> Answer<v1::GrantView> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::PutGrantRequest {
        tenant,
        vault,
        agent,
        role: body.role,
        expires_at: body.expires_at,
    };
    Ok(Json(grants::put(&state, &by, request).await?))
}

/// Takes an agent's role on a vault.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/vaults/{vault}/grants/{agent}", operation_id = "DeleteGrant",
    tag = "agents", responses((status = 200, body = v1::Deleted)))]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, agent)): Path<(String, String, String)>,
) -> Answer<v1::Deleted> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::DeleteGrantRequest {
        tenant,
        vault,
        agent,
    };
    Ok(Json(grants::delete(&state, &by, request).await?))
}
