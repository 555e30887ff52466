//! Gateways, for operators.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::{Context, Draft, record, reveal};
use crate::access::Operator;
use crate::database::gateways as rows;
use crate::error::{Error, Result};

/// How long a join string is good for that does not say.
const VALID_DEFAULT: u32 = 60 * 60;
/// The longest that a join string is good for.
const VALID_MAX: u32 = 7 * 24 * 60 * 60;

/// Makes a join string, good for one gateway.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn create_join(
    cx: &Context,
    by: &Operator,
    request: v1::CreateJoinTokenRequest,
) -> Result<v1::JoinTokenView> {
    let mut problems = Problems::default();
    problems.take("name", fields::name(&request.name));
    let seconds = match request.valid_seconds {
        0 => VALID_DEFAULT,
        seconds => seconds,
    };
    if !(60..=VALID_MAX).contains(&seconds) {
        problems.add("valid_seconds", "must be 60 to 604,800 seconds");
    }
    problems.finish()?;
    let valid = Duration::from_secs(seconds.into());
    let tx = cx.database.system().await?;
    let join = cx.fleet.create_join(&tx, &request.name, valid).await?;
    let draft = Draft {
        action: "gateway.join",
        subject: request.name,
        detail: json!({ "valid_seconds": seconds }),
        ..Draft::default()
    };
    record(&tx, None, by.actor(), draft).await?;
    tx.commit().await?;
    let end = Timestamp::now()
        .checked_add(valid)
        .map_err(Error::internal)?;
    Ok(v1::JoinTokenView {
        join: reveal::text(&join)?,
        expires_at: end.to_string(),
    })
}

/// Lists the gateways of the cluster.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn list(
    cx: &Context,
    _by: &Operator,
    request: v1::ListGatewaysRequest,
) -> Result<v1::ListGatewaysResponse> {
    let page: Page<uuid::Uuid> = Page::read(request.page)?;
    let tx = cx.database.system().await?;
    let mut gateways = rows::list(&tx, page.after.map(Into::into), page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut gateways, |gateway| gateway.id.uuid());
    let connected = cx.fleet.connected();
    let view = |gateway: rows::Gateway| v1::GatewayView {
        id: gateway.id.to_string(),
        name: gateway.name,
        version: gateway.version,
        connected: connected.iter().any(|one| one.gateway == gateway.id),
        acknowledged: gateway.acknowledged.to_string(),
        last_seen_at: fields::show(gateway.last_seen_at),
        created_at: gateway.created_at.to_string(),
    };
    Ok(v1::ListGatewaysResponse {
        gateways: gateways.into_iter().map(view).collect(),
        next_page_token,
    })
}
