//! From a record as a node sends it to the row that it becomes; or why it means nothing.

use serde::Serialize;
use sortie_proto::wire::v1;
use uuid::Uuid;

use crate::database::journal::write::{At, Completion, Json, Use};

/// The longest text in a record, in bytes: a path.
const TEXT_MAX: usize = 8 * 1024;
/// 2100-01-01 in microseconds since the Unix epoch.
const AT_MAX: i64 = 4_102_444_800_000_000;

/// Reads a use.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_use(event: v1::Use, lane: u32, sequence: u64) -> Result<Use, &'static str> {
    // The number as it came: one of a later version than this is kept too, and shown as unknown until this one knows it.
    let outcome = i16::try_from(event.outcome).or(Err("outcome"))?;
    if outcome <= 0 {
        return Err("outcome");
    }
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
        lane: i32::try_from(lane).or(Err("lane"))?,
        sequence: i64::try_from(sequence).or(Err("sequence"))?,
        decision: uuid(&event.decision_id, "decision_id")?,
        at: instant(event.at_micros)?,
        tenant: uuid(&event.tenant_id, "tenant_id")?,
        vault: uuid(&event.vault_id, "vault_id")?,
        session: uuid(&event.session_id, "session_id")?,
        agent: uuid(&event.agent_id, "agent_id")?,
        user: text(event.user)?,
        labels: json(&event.labels)?,
        service: text(event.service)?,
        credentials: json(&names)?,
        method: text(event.method)?,
        url: text(url)?,
        outcome,
        code: text(event.code)?,
        source: text(event.source)?,
    })
}

/// Reads a completion.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_completion(event: v1::Completion) -> Result<Completion, &'static str> {
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
        code: text(event.code)?,
        redactions: short(event.redactions),
    })
}

fn uuid(bytes: &[u8], what: &'static str) -> Result<Uuid, &'static str> {
    Uuid::from_slice(bytes).or(Err(what))
}

fn instant(micros: i64) -> Result<At, &'static str> {
    if (0..AT_MAX).contains(&micros) {
        Ok(At(micros))
    } else {
        Err("at_micros")
    }
}

/// PostgreSQL stores no NUL in text, nor in JSON.
fn text(text: String) -> Result<String, &'static str> {
    if text.len() > TEXT_MAX || text.contains('\0') {
        return Err("a text that is too long or holds a NUL");
    }
    Ok(text)
}

fn json(value: &impl Serialize) -> Result<Json, &'static str> {
    let json = serde_json::to_string(value).or(Err("what is no JSON"))?;
    // JSON spells a NUL with an escape.
    if json.len() > TEXT_MAX || json.contains("\\u0000") {
        return Err("labels or credentials that are too long or hold a NUL");
    }
    Ok(Json(json))
}
