//! What a gateway tells of itself: with its first message that it is there, what it runs, and how far it has seen; and
//! now and then what is open on it.
//!
//! **Invariant.** None of it counts as an acknowledgement.

use std::time::Duration;

use jiff::Timestamp;
use sortie_proto::id::TenantId;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;

use super::Gateway;
use crate::database::{Transaction, changes, gateways, keys};
use crate::error::Result;
use crate::fleet::release::{entitled, id};
use crate::fleet::{Connected, Fleet};

/// The length of the id of a gateway's process.
const BOOT_BYTES: usize = 16;
/// The longest text that a gateway may say of itself.
const VERSION_MAX: usize = 64;

/// Where a gateway's stream begins.
pub(super) struct Opening {
    /// Everything up to here the gateway has, or is sent at once.
    pub(super) from: Revision,
    /// Whether that is where it says that it was.
    pub(super) resumed: bool,
    /// By whose signature a session is known.
    pub(super) signers: Vec<keys::StoredSigner>,
    /// The tenants that it asks for and may have.
    pub(super) tenants: Vec<TenantId>,
    /// Its line in the list of those that follow.
    pub(super) connected: Connected,
}

/// Reads a gateway's first message beside what the database says of it.
///
/// # Errors
/// `failed_precondition` for one that has seen more than the database holds; `invalid_argument`; or as the database's.
pub(super) async fn open(fleet: &Fleet, gateway: &Gateway, hello: &v1::Hello) -> Result<Opening> {
    let wanted = hello.tenants.iter();
    let wanted = wanted.map(|bytes| id(bytes, "hello.tenants"));
    let mut tenants = wanted.collect::<Result<Vec<TenantId>>>()?;
    let boot: Vec<u8> = hello.boot_id.iter().copied().take(BOOT_BYTES).collect();
    let version = printable(&hello.version);
    let resume = hello.resume.map(Revision::from);
    let _turn = fleet.0.admission.turn().await?;
    // Before the keys are read: one that is published in between arrives as a change too.
    let last = fleet.0.log.last();
    let tx = fleet.database().system().await?;
    let head = changes::head(&tx).await?;
    let signers = keys::signers(&tx).await?;
    fleet.0.witnesses.hear(gateway, resume, head.last)?;
    let acknowledged = write_down(&tx, gateway, (&boot, &version), resume).await?;
    tx.commit().await?;
    let held = entitled(fleet, gateway).await?;
    // A tenant that cannot be served again would be a copy that no revocation reaches: then it starts afresh.
    let resumed = resume.filter(|seen| {
        seen.epoch == last.epoch
            && seen.n >= head.compacted
            && tenants.iter().all(|tenant| held.contains(tenant))
    });
    tenants.retain(|tenant| held.contains(tenant));
    Ok(Opening {
        from: resumed.unwrap_or(last),
        resumed: resumed.is_some(),
        signers,
        tenants,
        connected: Connected {
            gateway: gateway.id(),
            boot,
            name: gateway.name().to_owned(),
            version,
            acknowledged,
            last_seen: Timestamp::now(),
            report: None,
            quarantined: 0,
        },
    })
}

/// Writes down that a gateway is there, before it is told anything: who waits for a revocation from here on counts it.
///
/// Answers what it has acknowledged so far, which is nothing: what it knows is not what it enforces, and that it says
/// of itself, at once.
async fn write_down(
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
