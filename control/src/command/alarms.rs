//! What gateways' journals do not hold that they should, for operators.

use sortie_proto::id::GatewayId;
use sortie_proto::wire::v1;
use uuid::Uuid;

use super::Context;
use super::page::Page;
use crate::access::Operator;
use crate::database::Reference;
use crate::database::journal::alarms as rows;
use crate::error::Result;

/// Lists alarms about records that are missing, or are not those that were written; the newest first.
///
/// # Errors
/// `invalid_argument`, or as the database's.
pub async fn list(
    cx: &Context,
    _by: &Operator,
    request: v1::ListJournalAlarmsRequest,
) -> Result<v1::ListJournalAlarmsResponse> {
    let page: Page<Uuid> = Page::read(request.page)?;
    let gateway = match request.gateway.as_str() {
        "" => None,
        text => Some(Reference::read(text, GatewayId::uuid)),
    };
    let tx = cx.database.system().await?;
    let mut found = rows::list(&tx, gateway, page.after, page.limit()).await?;
    tx.commit().await?;
    let next_page_token = page.cut(&mut found, |(id, _)| *id);
    Ok(v1::ListJournalAlarmsResponse {
        alarms: found.into_iter().map(|(_, alarm)| alarm).collect(),
        next_page_token,
    })
}
