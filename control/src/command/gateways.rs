//! Gateways, for operators.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sortie_proto::code::Code;
use sortie_proto::id::GatewayId;
use sortie_proto::wire::v1;

use super::fields::{self, Problems};
use super::page::Page;
use super::{Context, Draft, not_found, record, reveal};
use crate::access::Operator;
use crate::database::{Reference, gateways as rows};
use crate::error::{Error, Result};
use crate::feed::signals::Signals;

/// After so long without a word a gateway counts as away. It beats each second, which is written down every other one.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A gateway that has not enforced what is older than this is late, and one whose leases are.
const LAG_MAX: Duration = Duration::from_secs(10);

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
    Ok(v1::ListGatewaysResponse {
        gateways: {
            let following = following(cx);
            let view = |row| view(&following, row);
            gateways.into_iter().map(view).collect()
        },
        next_page_token,
    })
}

/// The gateways that follow this replica.
fn following(cx: &Context) -> HashSet<GatewayId> {
    let connected = cx.fleet.connected();
    connected.into_iter().map(|one| one.gateway).collect()
}

fn view(following: &HashSet<GatewayId>, gateway: rows::Gateway) -> v1::GatewayView {
    let heard = gateway.silent.is_some_and(|silent| silent <= SILENCE_MAX);
    let connected = gateway.locked_at.is_none() && (heard || following.contains(&gateway.id));
    let (report, reported_at) = gateway.reported.unzip();
    let report = report.unwrap_or_default();
    let lease_age = Duration::from_millis(report.lease_age_millis);
    let health = match (gateway.locked_at, connected) {
        (Some(_), _) => "locked",
        (None, false) => "away",
        (None, true) if gateway.lag.max(lease_age) > LAG_MAX => "late",
        (None, true) => "live",
    };
    v1::GatewayView {
        id: gateway.id.to_string(),
        name: gateway.name,
        version: gateway.version,
        connected,
        acknowledged: gateway.acknowledged.to_string(),
        last_seen_at: fields::show(gateway.last_seen_at),
        created_at: gateway.created_at.to_string(),
        health: health.to_owned(),
        behind: gateway.behind,
        lag_millis: u64::try_from(gateway.lag.as_millis()).unwrap_or(u64::MAX),
        sessions: report.sessions,
        connections: report.connections,
        vaults: report.vaults,
        reported_at: fields::show(reported_at),
        locked_at: fields::show(gateway.locked_at),
    }
}

/// Shuts a gateway out: it gets nothing more, its certificate is not renewed, and its leases end. One that hears of it
/// drops what it holds and ends what is open.
///
/// # Errors
/// `not_found`, `failed_precondition` for a name that several have, or as the database's.
pub async fn lock(
    cx: &Context,
    by: &Operator,
    request: v1::LockGatewayRequest,
) -> Result<v1::GatewayView> {
    set_locked(cx, by, &request.gateway, true).await
}

/// Lets a gateway in again that was shut out.
///
/// # Errors
/// As [`lock`].
pub async fn unlock(
    cx: &Context,
    by: &Operator,
    request: v1::UnlockGatewayRequest,
) -> Result<v1::GatewayView> {
    set_locked(cx, by, &request.gateway, false).await
}

async fn set_locked(
    cx: &Context,
    by: &Operator,
    gateway: &str,
    locked: bool,
) -> Result<v1::GatewayView> {
    let tx = cx.database.system().await?;
    let named = rows::named(&tx, Reference::read(gateway, GatewayId::uuid)).await?;
    let id = match named.as_slice() {
        [] => return Err(not_found()),
        [id] => *id,
        _ => {
            let why = "Several gateways have that name. Give the id.";
            return Err(Error::new(Code::FailedPrecondition).because(why));
        }
    };
    rows::set_locked(&tx, id, locked).await?;
    Signals::lock(&tx).await?;
    let row = rows::get(&tx, id).await?.ok_or_else(not_found)?;
    let draft = Draft {
        action: if locked {
            "gateway.lock"
        } else {
            "gateway.unlock"
        },
        subject: row.name.clone(),
        detail: json!({ "gateway": id }),
        ..Draft::default()
    };
    record(&tx, None, by.actor(), draft).await?;
    tx.commit().await?;
    Ok(view(&following(cx), row))
}
