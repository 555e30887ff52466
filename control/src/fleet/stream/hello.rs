//! What a gateway tells of itself: with its first message that it is there, what it runs, and how far it has seen; and
//! now and then what is open on it.
//!
//! **Invariant.** None of it counts as an acknowledgement.

use std::time::Duration;

use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;

use super::Gateway;
use crate::database::{Transaction, gateways};
use crate::error::Result;

/// The longest text that a gateway may say of itself.
const VERSION_MAX: usize = 64;

/// Writes down that a gateway is there, before it is told anything: who waits for a revocation from here on counts it.
///
/// Answers what it has acknowledged so far, which is nothing: what it knows is not what it enforces, and that it says
/// of itself, at once.
pub(super) async fn write_down(
    tx: &Transaction,
    gateway: &Gateway,
    (boot, version): (&[u8], &str),
    resume: Option<Revision>,
) -> Result<Revision> {
    let acknowledged = Revision {
        n: 0,
        ..resume.unwrap_or_default()
    };
    let said = gateways::Said {
        gateway: gateway.id(),
        boot,
        version,
        acknowledged,
        ago: Duration::ZERO,
        report: None,
    };
    gateways::seen(tx, &[said], &[said]).await?;
    Ok(acknowledged)
}

/// What a gateway says of itself, fit for a log and a list.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(VERSION_MAX)
        .collect()
}

/// What a gateway reports, within what the table holds: a node that says nonsense must not keep others' words from it.
pub(super) fn readable(report: &v1::Report) -> gateways::Report {
    const COUNT_MAX: u32 = i32::MAX.cast_unsigned();
    gateways::Report {
        sessions: report.sessions.min(COUNT_MAX),
        connections: report.connections.min(COUNT_MAX),
        vaults: report.vaults.min(COUNT_MAX),
        lease_age_millis: report.lease_age_millis.min(i64::MAX.cast_unsigned()),
    }
}
