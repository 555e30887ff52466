//! From a gateway's journal to the audit log, each record once.
//!
//! One transaction a call: lock each lane's cursor, skip what it has, refuse gaps, write, move the cursor. A record
//! that means nothing is kept aside with the reason: it never holds up the ones behind it.

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
use crate::database::journal::{self, Completions, Lane, Uses};
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
    let boot: BootId = id(&request.boot_id, "boot_id")?;
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
    let mut counts = Counts::default();
    for batch in request.lanes {
        let lane = Lane {
            gateway: gateway.id(),
            boot,
            lane: i32::try_from(batch.lane)
                .map_err(|error| Error::invalid("lane", "is too large").caused_by(error))?,
        };
        let number = batch.lane;
        let sequence = take(&tx, lane, batch, &mut counts).await?;
        cursors.push(v1::LaneCursor {
            lane: number,
            sequence,
        });
    }
    tx.commit().await?;
    for (kind, count) in [
        ("use", counts.uses),
        ("completion", counts.completions),
        ("quarantined", counts.quarantined),
    ] {
        fleet
            .metrics()
            .records
            .with_label_values(&[kind])
            .inc_by(count);
    }
    Ok(v1::ShipResponse { cursors })
}

#[derive(Default)]
struct Counts {
    uses: u64,
    completions: u64,
    quarantined: u64,
}

async fn take(
    tx: &Transaction,
    lane: Lane,
    batch: v1::LaneBatch,
    counts: &mut Counts,
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
    let mut uses = Uses::default();
    let mut completions = Completions::default();
    let mut last = has;
    for (sequence, record) in (first..).zip(batch.records) {
        if sequence <= has {
            continue;
        }
        last = sequence;
        if let Err(reason) = sort_in(&record, sequence, &mut uses, &mut completions) {
            counts.quarantined += 1;
            tracing::warn!(gateway.id = %lane.gateway, lane = lane.lane, sequence, reason, "a journal record was quarantined");
            journal::quarantine(tx, lane, sequence, reason, &record.encode_to_vec()).await?;
        }
    }
    counts.uses += u64::try_from(uses.decision.len()).unwrap_or(0);
    counts.completions += u64::try_from(completions.decision.len()).unwrap_or(0);
    journal::insert_uses(tx, lane, &uses).await?;
    journal::insert_completions(tx, &completions).await?;
    if last > has {
        journal::move_cursor(tx, lane, last).await?;
    }
    unsigned(last)
}

fn sort_in(
    record: &v1::Record,
    sequence: i64,
    uses: &mut Uses,
    completions: &mut Completions,
) -> Result<(), &'static str> {
    match &record.event {
        Some(Event::Use(event)) => add_use(event, sequence, uses),
        Some(Event::Completion(event)) => add_completion(event, completions),
        None => Err("neither a use nor a completion"),
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

fn add_use(event: &v1::Use, sequence: i64, uses: &mut Uses) -> Result<(), &'static str> {
    // Everything is read before anything is pushed: the columns stay of one length.
    let ids = [
        uuid(&event.decision_id, "decision_id")?,
        uuid(&event.tenant_id, "tenant_id")?,
        uuid(&event.vault_id, "vault_id")?,
        uuid(&event.session_id, "session_id")?,
        uuid(&event.agent_id, "agent_id")?,
    ];
    let at = instant(event.at_micros)?;
    let outcome = match event.outcome() {
        v1::Outcome::Unspecified => return Err("outcome"),
        known @ (v1::Outcome::Brokered
        | v1::Outcome::Passed
        | v1::Outcome::Tunnelled
        | v1::Outcome::Refused) => i16::try_from(i32::from(known)).or(Err("outcome"))?,
    };
    let labels = serde_json::to_string(&event.labels).or(Err("labels"))?;
    let names: Vec<String> = event
        .credentials
        .iter()
        .map(|used| format!("{}@{}", used.name, used.version))
        .collect();
    let credentials = serde_json::to_string(&names).or(Err("credentials"))?;
    for json in [&labels, &credentials] {
        // JSON spells a NUL with an escape.
        if json.len() > TEXT_MAX || json.contains("\\u0000") {
            return Err("labels or credentials that are too long or hold a NUL");
        }
    }
    let url = match event.host.as_str() {
        "" => String::new(),
        host => text(&format!(
            "{}://{host}:{}{}",
            event.scheme, event.port, event.path
        ))?,
    };
    let (user, service, method) = (
        text(&event.user)?,
        text(&event.service)?,
        text(&event.method)?,
    );
    let (code, source) = (text(&event.code)?, text(&event.source)?);
    let [decision, tenant, vault, session, agent] = ids;
    uses.decision.push(decision);
    uses.at_micros.push(at);
    uses.tenant.push(tenant);
    uses.vault.push(vault);
    uses.session.push(session);
    uses.agent.push(agent);
    uses.user.push(user);
    uses.labels.push(labels);
    uses.service.push(service);
    uses.credentials.push(credentials);
    uses.method.push(method);
    uses.url.push(url);
    uses.outcome.push(outcome);
    uses.code.push(code);
    uses.source.push(source);
    uses.sequence.push(sequence);
    Ok(())
}

fn add_completion(
    event: &v1::Completion,
    completions: &mut Completions,
) -> Result<(), &'static str> {
    let decision = uuid(&event.decision_id, "decision_id")?;
    let tenant = uuid(&event.tenant_id, "tenant_id")?;
    let at = instant(event.at_micros)?;
    let code = text(&event.code)?;
    // Counters past what the column holds say "very many" just as well.
    let clamp = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    completions.decision.push(decision);
    completions.tenant.push(tenant);
    completions.at_micros.push(at);
    completions.code.push(code);
    completions
        .status
        .push(i32::try_from(event.status).unwrap_or(i32::MAX));
    completions.request_bytes.push(clamp(event.request_bytes));
    completions.response_bytes.push(clamp(event.response_bytes));
    completions
        .duration_micros
        .push(clamp(event.duration_micros));
    completions
        .upstream_micros
        .push(clamp(event.upstream_micros));
    completions
        .redactions
        .push(i32::try_from(event.redactions).unwrap_or(i32::MAX));
    Ok(())
}
