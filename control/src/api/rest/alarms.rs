//! `/v1/alarms`

use axum::extract::State as Shared;
use serde::Deserialize;
use sortie_proto::wire::v1;

use super::extract::{Caller, page};
use super::{Answer, Json, Query};
use crate::api::State;
use crate::command::alarms;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AlarmsQuery {
    /// 1 to 1,000; 100 if it is not given.
    page_size: Option<i32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
    /// Of this gateway only: its id or name.
    #[serde(default)]
    gateway: String,
}

/// Lists alarms about gateways' journals: records that are missing, or are not those that were written.
#[utoipa::path(get, path = "/v1/alarms", operation_id = "ListJournalAlarms", tag = "gateways", params(AlarmsQuery),
    responses((status = 200, body = v1::ListJournalAlarmsResponse)))]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(query): Query<AlarmsQuery>,
) -> Answer<v1::ListJournalAlarmsResponse> {
    let by = caller.operates()?;
    let request = v1::ListJournalAlarmsRequest {
        gateway: query.gateway,
        page: Some(page(query.page_size, query.page_token)),
    };
    Ok(Json(alarms::list(&state, &by, request).await?))
}
