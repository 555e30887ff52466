//! `/v1/tenants/{tenant}/audit`

use axum::extract::State as Shared;
use serde::Deserialize;
use sortie_proto::wire::v1;

use super::extract::{Caller, page};
use super::{Answer, Json, Path, Query};
use crate::access::Audit;
use crate::api::State;
use crate::command::audit;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// 1 to 1,000; 100 if it is not given.
    page_size: Option<i32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
    /// Of this vault only: its id or name.
    vault: Option<String>,
    /// Of this session only: its id.
    session: Option<String>,
    /// Not before this time.
    since: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// `request` or `admin`; both if it is not given.
    kind: Option<String>,
}

/// Lists the audit log of a tenant, newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit", operation_id = "ListAudit", tag = "audit",
    params(AuditQuery), responses((status = 200, body = v1::ListAuditResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(query): Query<AuditQuery>,
) -> Answer<v1::ListAuditResponse> {
    let by = caller.may::<Audit>(&tenant).await?;
    let request = v1::ListAuditRequest {
        tenant,
        page: Some(page(query.page_size, query.page_token)),
        vault: query.vault.unwrap_or_default(),
        session: query.session.unwrap_or_default(),
        since: query.since.unwrap_or_default(),
        until: query.until.unwrap_or_default(),
        kind: query.kind.unwrap_or_default(),
    };
    Ok(Json(audit::list(&state, &by, request).await?))
}
