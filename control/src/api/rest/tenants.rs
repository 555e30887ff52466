//! `/v1/tenants`

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, PageQuery, Revoke, optional};
use super::{Answer, Created, Json, Path, Query, created, split_verb};
use crate::access::{Describe, Manage};
use crate::api::State;
use crate::api::problem::Problem;
use crate::command::{self, tenants};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTenant {
    /// 1 to 63 lower-case letters, digits and hyphens.
    name: String,
    /// Private ranges that upstreams of the tenant may live in.
    #[serde(default)]
    private_allow: Vec<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateTenant {
    /// Whether anything of the tenant is brokered.
    enabled: Option<bool>,
    /// Takes the place of the ranges that were allowed.
    private_allow: Option<Vec<String>>,
    /// Takes the place of the limits that were set; `{}` removes them.
    limits: Option<v1::LimitsSpec>,
    /// Its part of an overloaded gateway, relative to other tenants': 1 to 1,000.
    weight: Option<u32>,
}

/// Makes a tenant. The answer carries the key of its first owner, this once.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "CreateTenant", tag = "tenants",
    request_body = CreateTenant, responses((status = 201, body = v1::CreateTenantResponse)))]
pub(super) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Json(body): Json<CreateTenant>,
) -> Created<v1::CreateTenantResponse> {
    let by = caller.operates()?;
    let request = v1::CreateTenantRequest {
        name: body.name,
        private_allow: body.private_allow,
    };
    created(tenants::create(&state, &by, request).await)
}

/// Lists the tenants of the cluster.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "ListTenants", tag = "tenants", params(PageQuery),
    responses((status = 200, body = v1::ListTenantsResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListTenantsResponse> {
    let by = caller.operates()?;
    let request = v1::ListTenantsRequest {
        page: Some(query.page()),
    };
    Ok(Json(tenants::list(&state, &by, request).await?))
}

/// Describes a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", operation_id = "GetTenant", tag = "tenants",
    responses((status = 200, body = v1::TenantView)))]
pub(super) async fn get(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Answer<v1::TenantView> {
    let by = caller.may::<Describe>(&tenant).await?;
    Ok(Json(tenants::get(&state, &by).await?))
}

/// Switches a tenant on or off, and says which private ranges its upstreams may live in, and how much it may use.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", operation_id = "UpdateTenant", tag = "tenants",
    request_body = UpdateTenant, responses((status = 200, body = v1::TenantView)))]
pub(super) async fn update(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<UpdateTenant>,
) -> Answer<v1::TenantView> {
    let by = caller.operates()?;
    let request = v1::UpdateTenantRequest {
        tenant,
        enabled: body.enabled,
        replace_private_allow: body.private_allow.is_some(),
        private_allow: body.private_allow.unwrap_or_default(),
        limits: body.limits,
        weight: body.weight,
    };
    Ok(Json(tenants::update(&state, &by, request).await?))
}

/// The certificate that a tenant's agents must trust; as PEM alone with `Accept: application/x-pem-file`.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/authority", operation_id = "GetAuthority", tag = "tenants",
    responses((status = 200, content(
        (v1::AuthorityView = "application/json"),
        (String = "application/x-pem-file"),
    ))))]
pub(super) async fn authority(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let by = caller.may::<Describe>(&tenant).await?;
    let view = tenants::authority(&state, &by).await?;
    let accept = headers.get(header::ACCEPT);
    let wants_pem = accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/x-pem-file"));
    Ok(if wants_pem {
        ([(header::CONTENT_TYPE, "application/x-pem-file")], view.pem).into_response()
    } else {
        Json(view).into_response()
    })
}

/// Refuses every token of a tenant that is out. Answers the revision at which gateways do.
#[utoipa::path(post, path = "/v1/tenants/{tenant}:revoke", operation_id = "RevokeTenant", tag = "tenants",
    request_body = Option<Revoke>, responses((status = 200, body = v1::Revoked)))]
pub(super) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<Revoke>,
) -> Answer<v1::Revoked> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::RevokeTenantRequest {
        tenant,
        wait_seconds: body.wait_seconds,
    };
    Ok(Json(command::revoke::tenant(&state, &by, request).await?))
}

/// `…/{tenant}:revoke`
pub(super) async fn verb(
    state: Shared<State>,
    caller: Caller,
    Path(segment): Path<String>,
    request: Request,
) -> Answer<v1::Revoked> {
    match split_verb(&segment) {
        Some((tenant, "revoke")) => {
            let body = optional(&state.0, request).await?;
            Box::pin(revoke(state, caller, Path(tenant.to_owned()), body)).await
        }
        Some(_) => Err(Code::NotFound.into()),
        None => Err(Code::MethodNotAllowed.into()),
    }
}
