//! `/v1/tenants/{tenant}/vaults`

use axum::extract::{Request, State as Shared};
use serde::Deserialize;
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;

use super::extract::{Caller, PageQuery, Revoke, optional};
use super::{Answer, Created, Json, Path, Query, created, split_verb};
use crate::access::{Manage, Read};
use crate::api::State;
use crate::command::vaults;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateVault {
    /// 1 to 63 lower-case letters, digits and hyphens.
    name: String,
    /// `deny` (the default) or `observe`.
    #[serde(default)]
    mode: String,
    /// 30 to 86,400; 900 if it is not given.
    #[serde(default)]
    staleness_seconds: u32,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateVault {
    /// Whether anything of the vault is brokered.
    enabled: Option<bool>,
    /// `deny` or `observe`.
    mode: Option<String>,
    /// 30 to 86,400.
    staleness_seconds: Option<u32>,
    /// Whether a request waits until its record is on disk.
    durable: Option<bool>,
    /// Takes the place of the limits that were set; `{}` removes them.
    limits: Option<v1::LimitsSpec>,
    /// The same, of each session in this vault.
    session_limits: Option<v1::LimitsSpec>,
}

/// Makes a vault.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/vaults", operation_id = "CreateVault", tag = "vaults",
    request_body = CreateVault, responses((status = 201, body = v1::VaultView)))]
pub(super) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<CreateVault>,
) -> Created<v1::VaultView> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::CreateVaultRequest {
        tenant,
        name: body.name,
        mode: body.mode,
        staleness_seconds: body.staleness_seconds,
    };
    created(vaults::create(&state, &by, request).await)
}

/// Lists the vaults of a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/vaults", operation_id = "ListVaults", tag = "vaults",
    params(PageQuery), responses((status = 200, body = v1::ListVaultsResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<PageQuery>,
) -> Answer<v1::ListVaultsResponse> {
    let by = caller.may::<Read>(&tenant).await?;
    let page = Some(query.page());
    let request = v1::ListVaultsRequest { tenant, page };
    Ok(Json(vaults::list(&state, &by, request).await?))
}

/// Describes a vault.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/vaults/{vault}", operation_id = "GetVault", tag = "vaults",
    responses((status = 200, body = v1::VaultView)))]
pub(super) async fn get(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault)): Path<(String, String)>,
) -> Answer<v1::VaultView> {
    let by = caller.may::<Read>(&tenant).await?;
    Ok(Json(vaults::get(&state, &by, &vault).await?))
}

/// Changes a vault's settings.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/vaults/{vault}", operation_id = "UpdateVault", tag = "vaults",
    request_body = UpdateVault, responses((status = 200, body = v1::VaultView)))]
pub(super) async fn update(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault)): Path<(String, String)>,
    Json(body): Json<UpdateVault>,
) -> Answer<v1::VaultView> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::UpdateVaultRequest {
        tenant,
        vault,
        enabled: body.enabled,
        mode: body.mode,
        staleness_seconds: body.staleness_seconds,
        durable: body.durable,
        limits: body.limits,
        session_limits: body.session_limits,
    };
    Ok(Json(vaults::update(&state, &by, request).await?))
}

/// Deletes a vault with all that it holds.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/vaults/{vault}", operation_id = "DeleteVault", tag = "vaults",
    responses((status = 200, body = v1::Deleted)))]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault)): Path<(String, String)>,
) -> Answer<v1::Deleted> {
    let by = caller.may::<Manage>(&tenant).await?;
    Ok(Json(vaults::delete(&state, &by, &vault).await?))
}

/// Refuses every token of a vault that is out. Answers the revision at which gateways do.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/vaults/{vault}:revoke", operation_id = "RevokeVault",
    tag = "vaults", request_body = Option<Revoke>, responses((status = 200, body = v1::Revoked)))]
pub(super) async fn revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((tenant, vault)): Path<(String, String)>,
    Json(body): Json<Revoke>,
) -> Answer<v1::Revoked> {
    let by = caller.may::<Manage>(&tenant).await?;
    let request = v1::RevokeVaultRequest {
        tenant,
        vault,
        wait_seconds: body.wait_seconds,
    };
    Ok(Json(vaults::revoke(&state, &by, request).await?))
}

/// `…/{vault}:revoke`
pub(super) async fn verb(
    state: Shared<State>,
    caller: Caller,
    Path((tenant, segment)): Path<(String, String)>,
    request: Request,
) -> Answer<v1::Revoked> {
    match split_verb(&segment) {
        Some((vault, "revoke")) => {
            let body = optional(&state.0, request).await?;
            let path = Path((tenant, vault.to_owned()));
            Box::pin(revoke(state, caller, path, body)).await
        }
        Some(_) => Err(Code::NotFound.into()),
        None => Err(Code::MethodNotAllowed.into()),
    }
}
