//! `/v1/tenants/{tenant}/api-keys`

use axum::extract::State as Shared;
use serde::Deserialize;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, PageQuery};
use super::{Answer, Created, Json, Path, Query, created};
use crate::access::Keys;
use crate::api::State;
use crate::command::api_keys;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateApiKey {
    /// What its owner calls it.
    name: String,
    /// `owner`, `admin`, `auditor` or `member`.
    role: String,
}

/// Makes an API key. The answer carries it, this once.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/api-keys", operation_id = "CreateApiKey", tag = "api keys",
    request_body = CreateApiKey, responses((status = 201, body = v1::CreateApiKeyResponse)))]
pub(super) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<CreateApiKey>,
) -> Created<v1::CreateApiKeyResponse> {
    let by = caller.may::<Keys>(&tenant).await?;
    let request = v1::CreateApiKeyRequest {
        tenant,
        name: body.name,
        role: body.role,
    };
    created(api_keys::create(&state, &by, request).await)
}

/// Lists the API keys of a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/api-keys", operation_id = "ListApiKeys", tag = "api keys",
    params(PageQuery), responses((status = 200, body = v1::ListApiKeysResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListApiKeysResponse> {
    let by = caller.may::<Keys>(&tenant).await?;
    let page = Some(query.page());
    let request = v1::ListApiKeysRequest { tenant, page };
    Ok(Json(api_keys::list(&state, &by, request).await?))
}

/// Deletes an API key. The last owner's key stays.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/api-keys/{api_key}", operation_id = "DeleteApiKey",
    tag = "api keys", responses((status = 200, body = v1::Deleted)))]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, api_key)): Path<(String, String)>,
) -> Answer<v1::Deleted> {
    let by = caller.may::<Keys>(&tenant).await?;
    Ok(Json(api_keys::delete(&state, &by, &api_key).await?))
}
