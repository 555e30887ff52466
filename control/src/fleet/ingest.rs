//! From a gateway's journal to the audit log, each record once.
//!
//! One transaction a call: lock each lane's cursor, skip what it has, refuse gaps, write, move the cursor. A record
//! that means nothing is kept aside with the reason: it never holds up the ones behind it. So is one that says that a
//! tenant's vault was used where the gateway never had one: only refusals may name whom they like.

use std::collections::HashSet;

use prost::Message;
use sortie_proto::code::Code;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::record::Event;
use uuid::Uuid;

use super::Fleet;
use super::admit::Gateway;
use super::release::id;
use crate::database::Transaction;
use crate::database::journal::write::{self, Completion, Use};
use crate::database::journal::{self, Boot, Lane};
use crate::error::{Error, Result};

/// How many records one call may carry.
pub const RECORDS_MAX: usize = 20_000;
/// How many lanes one call may carry.
pub const LANES_MAX: usize = 256;
/// The longest text in a record, in bytes: a path.
const TEXT_MAX: usize = 8 * 1024;
/// 2100-01-01 in microseconds since the Unix epoch.
const AT_MAX: i64 = 4_102_444_800_000_000;

/// Takes a batch in. Answers up to where each lane is committed.
///
/// # Errors
/// `failed_precondition` for a gap; `invalid_argument` for a batch that is too large.
pub async fn ship(
    fleet: &Fleet,
    gateway: &Gateway,
    mut request: v1::ShipRequest,
) -> Result<v1::ShipResponse> {
    let boot = Boot {
        gateway: gateway.id(),
        id: id::<BootId>(&request.boot_id, "boot_id")?,
    };
    let records: usize = request.lanes.iter().map(|lane| lane.records.len()).sum();
    if request.lanes.len() > LANES_MAX || records > RECORDS_MAX {
        return Err(Error::invalid(
            "lanes",
            "at most 256 lanes and 20,000 records a call",
        ));
    }
    // Always in the same order, so that two calls of one node cannot deadlock.
    request.lanes.sort_by_key(|batch| batch.lane);
    let tx = fleet.database().system().await?;
    let mut cursors = Vec::with_capacity(request.lanes.len());
    let named: Vec<Uuid> = named(&request).into_iter().collect();
    let mut sorted = Sorted {
        served: journal::served(&tx, gateway.id(), &named).await?,
        ..Sorted::default()
    };
    for batch in request.lanes {
        let lane = Lane {
            boot,
            lane: i32::try_from(batch.lane)
                .map_err(|error| Error::invalid("lane", "is too large").caused_by(error))?,
        };
        let number = batch.lane;
        let sequence = take(&tx, lane, batch, &mut sorted).await?;
        cursors.push(v1::LaneCursor {
            lane: number,
            sequence,
        });
    }
    write::uses(&tx, boot, &sorted.uses).await?;
    write::completions(&tx, boot, &sorted.completions).await?;
    tx.commit().await?;
    for (kind, count) in [
        ("use", sorted.uses.len()),
        ("completion", sorted.completions.len()),
        ("quarantined", sorted.quarantined),
    ] {
        fleet
            .metrics()
            .records
            .with_label_values(&[kind])
            .inc_by(u64::try_from(count).unwrap_or(0));
    }
    Ok(v1::ShipResponse { cursors })
}

/// What the lanes of one call bring, sorted by the table that it goes into.
#[derive(Default)]
struct Sorted {
    uses: Vec<Use>,
    completions: Vec<Completion>,
    quarantined: usize,
    /// The tenants of which the gateway had a vault.
    served: HashSet<Uuid>,
}

/// The tenants whose vaults a batch says were used.
fn named(request: &v1::ShipRequest) -> HashSet<Uuid> {
    let records = request.lanes.iter().flat_map(|lane| &lane.records);
    records
        .filter_map(|record| match &record.event {
            Some(Event::Use(event)) if event.outcome() != v1::Outcome::Refused => {
                Uuid::from_slice(&event.tenant_id).ok()
            }
            Some(Event::Use(_) | Event::Completion(_)) | None => None,
        })
        .collect()
}

async fn take(
    tx: &Transaction,
    lane: Lane,
    batch: v1::LaneBatch,
    sorted: &mut Sorted,
) -> Result<u64> {
    let has = journal::lock_cursor(tx, lane).await?;
    let unsigned = |number: i64| u64::try_from(number).map_err(Error::internal);
    if batch.records.is_empty() {
        return unsigned(has);
    }
    let first = i64::try_from(batch.first_sequence).unwrap_or(i64::MAX);
    if first < 1 || first > has.saturating_add(1) {
        return Err(Error::new(Code::FailedPrecondition).because(
            "the batch does not begin where the lane ends: ask for the cursor with an empty batch",
        ));
    }
    let mut last = has;
    for (sequence, record) in (first..).zip(batch.records) {
        if sequence <= has {
            continue;
        }
        last = sequence;
        if let Err(reason) = sorted.add(&record, lane.lane, sequence) {
            sorted.quarantined += 1;
            tracing::warn!(gateway.id = %lane.boot.gateway, lane = lane.lane, sequence, reason, "a journal record was quarantined");
            journal::quarantine(tx, lane, sequence, reason, &record.encode_to_vec()).await?;
        }
    }
    if last > has {
        journal::move_cursor(tx, lane, last).await?;
    }
    unsigned(last)
}

impl Sorted {
    fn add(&mut self, record: &v1::Record, lane: i32, sequence: i64) -> Result<(), &'static str> {
        match &record.event {
            Some(Event::Use(event)) => {
                let read = read_use(event, lane, sequence)?;
                if event.outcome() != v1::Outcome::Refused && !self.served.contains(&read.tenant) {
                    return Err("a tenant of which this gateway never had a vault");
                }
                self.uses.push(read);
            }
            Some(Event::Completion(event)) => self.completions.push(read_completion(event)?),
            None => return Err("neither a use nor a completion"),
        }
        Ok(())
    }
}

fn uuid(bytes: &[u8], what: &'static str) -> Result<Uuid, &'static str> {
    Uuid::from_slice(bytes).or(Err(what))
}

fn instant(micros: i64) -> Result<i64, &'static str> {
    if (0..AT_MAX).contains(&micros) {
        Ok(micros)
    } else {
        Err("at_micros")
    }
}

/// PostgreSQL stores no NUL in text, nor in JSON.
fn text(text: &str) -> Result<String, &'static str> {
    if text.len() > TEXT_MAX || text.contains('\0') {
        return Err("a text that is too long or holds a NUL");
    }
    Ok(text.to_owned())
}

fn json(value: &impl serde::Serialize) -> Result<String, &'static str> {
    let json = serde_json::to_string(value).or(Err("what is no JSON"))?;
    // JSON spells a NUL with an escape.
    if json.len() > TEXT_MAX || json.contains("\\u0000") {
        return Err("labels or credentials that are too long or hold a NUL");
    }
    Ok(json)
}

fn read_use(event: &v1::Use, lane: i32, sequence: i64) -> Result<Use, &'static str> {
    let outcome = match event.outcome() {
        v1::Outcome::Unspecified => return Err("outcome"),
        known @ (v1::Outcome::Brokered
        | v1::Outcome::Passed
        | v1::Outcome::Tunnelled
        | v1::Outcome::Refused
        | v1::Outcome::Answered) => i16::try_from(i32::from(known)).or(Err("outcome"))?,
    };
    let names: Vec<String> = event
        .credentials
        .iter()
        .map(|used| format!("{}@{}", used.name, used.version))
        .collect();
    let url = match event.host.as_str() {
        "" => String::new(),
        host => format!("{}://{host}:{}{}", event.scheme, event.port, event.path),
    };
    Ok(Use {
        lane,
        sequence,
        decision: uuid(&event.decision_id, "decision_id")?,
        at: instant(event.at_micros)?,
        tenant: uuid(&event.tenant_id, "tenant_id")?,
        vault: uuid(&event.vault_id, "vault_id")?,
        session: uuid(&event.session_id, "session_id")?,
        agent: uuid(&event.agent_id, "agent_id")?,
        user: text(&event.user)?,
        labels: json(&event.labels)?,
        service: text(&event.service)?,
        credentials: json(&names)?,
        method: text(&event.method)?,
        url: text(&url)?,
        outcome,
        code: text(&event.code)?,
        source: text(&event.source)?,
    })
}

fn read_completion(event: &v1::Completion) -> Result<Completion, &'static str> {
    // Counters past what the column holds say "very many" just as well.
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let short = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    Ok(Completion {
        decision: uuid(&event.decision_id, "decision_id")?,
        at: instant(event.at_micros)?,
        tenant: uuid(&event.tenant_id, "tenant_id")?,
        status: short(event.status),
        request_bytes: long(event.request_bytes),
        response_bytes: long(event.response_bytes),
        duration_micros: long(event.duration_micros),
        upstream_micros: long(event.upstream_micros),
        code: text(&event.code)?,
        redactions: short(event.redactions),
    })
}
