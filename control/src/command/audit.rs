//! The audit log: what agents had brokered, and what administrators and agents did, as one list.

use jiff::Timestamp;
use sortie_proto::id::{SessionId, VaultId};
use sortie_proto::wire::v1;
use uuid::Uuid;

use super::fields::{self, Problems};
use super::page::Page;
use super::{Context, vault_of};
use crate::access::{Audit, Authorized};
use crate::database::{Transaction, acts, journal};
use crate::error::{Error, Result};

/// What both sources are asked for.
#[derive(Debug, Clone)]
struct Wanted {
    vault: Option<VaultId>,
    session: Option<SessionId>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    before: Option<(Timestamp, Uuid)>,
    limit: i64,
}

/// Lists the audit log of a tenant, newest first.
///
/// # Errors
/// `invalid_argument`, `not_found` for the vault, or as the database's.
pub async fn list(
    cx: &Context,
    by: &Authorized<Audit>,
    request: v1::ListAuditRequest,
) -> Result<v1::ListAuditResponse> {
    let page: Page<(Timestamp, Uuid)> = Page::read(request.page)?;
    let mut problems = Problems::default();
    let since = problems.take("since", fields::instant(&request.since));
    let until = problems.take("until", fields::instant(&request.until));
    let session = match request.session.as_str() {
        "" => None,
        text => problems.take("session", text.parse::<SessionId>()),
    };
    let (requests, admin) = match request.kind.as_str() {
        "" => (true, true),
        "request" => (true, false),
        "admin" => (false, true),
        _ => {
            problems.add("kind", "must be `request` or `admin`");
            (false, false)
        }
    };
    problems.finish()?;
    let tx = cx.database.read(by.tenant()).await?;
    let vault = match request.vault.as_str() {
        "" => None,
        text => Some(vault_of(&tx, by, text).await?.id),
    };
    let wanted = Wanted {
        vault,
        session,
        since: since.flatten(),
        until: until.flatten(),
        before: page.after,
        limit: page.limit(),
    };
    let mut entries = Vec::new();
    if requests {
        entries.extend(of_requests(&tx, by, &wanted).await?);
    }
    if admin {
        let acts = of_acts(&tx, by, &wanted).await?;
        entries.extend(acts.into_iter().map(|act| (position(&act), act)));
    }
    tx.commit().await?;
    entries.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    let next_page_token = page.cut(&mut entries, |(place, _)| *place);
    Ok(v1::ListAuditResponse {
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
        next_page_token,
    })
}

/// Where an entry stands in the list: both sources are ordered by time, and then by id.
type Place = (Timestamp, Uuid);

/// Where an act stands, whose time and id are what was read from its row.
fn position(entry: &v1::AuditEntry) -> Place {
    let digits = entry.id.rsplit('_').next().unwrap_or_default();
    (
        entry.at.parse().unwrap_or(Timestamp::MIN),
        Uuid::try_parse(digits).unwrap_or_default(),
    )
}

async fn of_requests(
    tx: &Transaction,
    by: &Authorized<Audit>,
    wanted: &Wanted,
) -> Result<Vec<(Place, v1::AuditEntry)>> {
    let filter = journal::Filter {
        tenant: by.tenant(),
        vault: wanted.vault,
        session: wanted.session,
        since_micros: wanted.since.map(Timestamp::as_microsecond),
        until_micros: wanted.until.map(Timestamp::as_microsecond),
        before: wanted.before.map(|(at, decision)| journal::Cursor {
            at_micros: at.as_microsecond(),
            decision,
        }),
        limit: wanted.limit,
    };
    let entries = journal::list(tx, &filter).await?;
    entries
        .into_iter()
        .map(|(place, entry)| {
            let at = Timestamp::from_microsecond(place.at_micros).map_err(Error::internal)?;
            Ok(((at, place.decision), entry))
        })
        .collect()
}

async fn of_acts(
    tx: &Transaction,
    by: &Authorized<Audit>,
    wanted: &Wanted,
) -> Result<Vec<v1::AuditEntry>> {
    let filter = acts::Filter {
        vault: wanted.vault,
        session: wanted.session,
        since: wanted.since,
        until: wanted.until,
        before: wanted.before,
        limit: wanted.limit,
    };
    acts::list(tx, by.tenant(), &filter).await
}
