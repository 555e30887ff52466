//! `/v1/tenants/{tenant}/vaults/{vault}/services`

use axum::extract::State as Shared;
use sortie_proto::wire::v1;

use super::extract::{Caller, PageQuery};
use super::{Answer, Json, Path, Query};
use crate::access::{Manage, Read};
use crate::api::State;
use crate::command::services;

/// Adds a service, or replaces it.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/vaults/{vault}/services/{service}", operation_id = "PutService",
    tag = "services", request_body = v1::ServiceSpec, responses((status = 200, body = v1::ServiceView)))]
pub(super) async fn put(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, name)): Path<(String, String, String)>,
    Json(spec): Json<v1::ServiceSpec>,
) -> Answer<v1::ServiceView> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::PutServiceRequest {
        tenant,
        vault,
        name,
        spec: Some(spec),
    };
    Ok(Json(Box::pin(services::put(&state, &by, request)).await?))
}

/// Describes a service.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/vaults/{vault}/services/{service}", operation_id = "GetService",
    tag = "services", responses((status = 200, body = v1::ServiceView)))]
pub(super) async fn get(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, service)): Path<(String, String, String)>,
) -> Answer<v1::ServiceView> {
    let by = caller.may::<Read>(&tenant).await?;
    let request = v1::GetServiceRequest {
        tenant,
        vault,
        service,
    };
    Ok(Json(services::get(&state, &by, request).await?))
}

/// Lists the services of a vault.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/vaults/{vault}/services", operation_id = "ListServices",
    tag = "services", params(PageQuery), responses((status = 200, body = v1::ListServicesResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListServicesResponse> {
    let by = caller.may::<Read>(&tenant).await?;
    let request = v1::ListServicesRequest {
        tenant,
        vault,
        page: Some(query.page()),
    };
    Ok(Json(services::list(&state, &by, request).await?))
}

/// Deletes a service.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/vaults/{vault}/services/{service}",
    operation_id = "DeleteService", tag = "services", responses((status = 200, body = v1::Deleted)))]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault, service)): Path<(String, String, String)>,
) -> Answer<v1::Deleted> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::DeleteServiceRequest {
        tenant,
        vault,
        service,
    };
    Ok(Json(services::delete(&state, &by, request).await?))
}
