//! From a gateway's journal to the audit log, each record once.
//!
//! One transaction a call: lock each lane's cursor, skip what it has, write, move the cursor. A record that means
//! nothing is kept aside with the reason: it never holds up the ones behind it. So is one that says that a tenant's
//! vault was used where the gateway never had one: only refusals may name whom they like. What only a later version has
//! a name for, an outcome or a code, means something: it is stored as it came. What does not fit the node's chain raises
//! an alarm, and the rest goes on; see `lane`.

mod lane;
mod record;

use std::collections::HashSet;

use prost::Message;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::record::Event;
use uuid::Uuid;

use self::lane::Lane;
use super::Fleet;
use super::admit::Gateway;
use super::release::id;
use crate::database::Transaction;
use crate::database::gateways::processes;
use crate::database::journal::alarms::{self, Alarm, Kind, Raised};
use crate::database::journal::cursors::{self, Cursor};
use crate::database::journal::write::{self, Arrival, Completion, Use};
use crate::database::journal::{self, Boot};
use crate::error::{Error, Result};

/// How many records one call may carry.
pub const RECORDS_MAX: usize = 20_000;
/// How many lanes one call may carry.
pub const LANES_MAX: usize = 256;

/// Takes a batch in. Answers up to where each lane is committed.
///
/// # Errors
/// `failed_precondition` for a gap that the node does not call one; `invalid_argument` for a batch that is too large or
/// malformed.
pub async fn ship(
    fleet: &Fleet,
    gateway: &Gateway,
    mut request: v1::ShipRequest,
) -> Result<v1::ShipResponse> {
    let boot = Boot {
        gateway: gateway.id(),
        id: id::<BootId>(&request.boot_id, "boot_id")?,
    };
    request.lanes.sort_by_key(|batch| batch.lane);
    check(&request)?;
    let tx = fleet.database().system().await?;
    let mut raised = if request.ended {
        ended(&tx, boot, &request.torn_lanes).await?
    } else {
        Vec::new()
    };
    let mut sorted = Sorted::default();
    let cursors = if request.lanes.is_empty() {
        Vec::new()
    } else {
        take(&tx, boot, request.lanes, &mut sorted).await?
    };
    raised.append(&mut sorted.alarms);
    let raised = raise(&tx, boot, raised).await?;
    tx.commit().await?;
    sorted.count(fleet);
    tell(fleet, gateway, boot, &raised);
    Ok(v1::ShipResponse {
        cursors,
        takes_payloads: true,
    })
}

/// Takes in what lanes bring. Answers how far each is.
async fn take(
    tx: &Transaction,
    boot: Boot,
    lanes: Vec<v1::LaneBatch>,
    sorted: &mut Sorted,
) -> Result<Vec<v1::LaneCursor>> {
    let numbers: Vec<_> = lanes.iter().map(|batch| batch.lane).collect();
    let (mut locked, now) = cursors::lock(tx, boot, &numbers).await?;
    locked.sort_by_key(|cursor| cursor.lane);
    let batches: Vec<_> = lanes.into_iter().map(Batch::read).collect();
    let named: Vec<Uuid> = named(&batches).into_iter().collect();
    sorted.served = journal::served(tx, boot.gateway, &named).await?;
    let mut cursors = Vec::with_capacity(batches.len());
    let mut moved = Vec::new();
    for (before, batch) in locked.into_iter().zip(batches) {
        let mut lane = Lane::begin(boot.id, before, &batch.head, batch.records.len())?;
        sorted.take(&mut lane, batch);
        let (cursor, found) = lane.end();
        sorted.alarms.extend(found);
        if cursor != before {
            moved.push(cursor);
        }
        cursors.push(v1::LaneCursor {
            lane: cursor.lane,
            sequence: cursor.sequence,
        });
    }
    let arrival = Arrival { boot, now };
    write::uses(tx, arrival, &mut sorted.uses).await?;
    write::completions(tx, arrival, &mut sorted.completions).await?;
    for aside in &sorted.aside {
        let at = (aside.lane, aside.sequence);
        tracing::warn!(gateway.id = %boot.gateway, lane = aside.lane, sequence = aside.sequence, reason = aside.reason, "a journal record was quarantined");
        cursors::quarantine(tx, boot, at, aside.reason, &aside.body).await?;
    }
    cursors::advance(tx, boot, &moved).await?;
    Ok(cursors)
}

fn check(request: &v1::ShipRequest) -> Result<()> {
    let records: usize = request
        .lanes
        .iter()
        .map(|lane| lane.records.len().saturating_add(lane.payloads.len()))
        .sum();
    let lanes = request.lanes.len().max(request.torn_lanes.len());
    if lanes > LANES_MAX || records > RECORDS_MAX {
        return Err(Error::invalid(
            "lanes",
            "at most 256 lanes and 20,000 records a call",
        ));
    }
    let mut pairs = request.lanes.iter().zip(request.lanes.iter().skip(1));
    if pairs.any(|(one, next)| one.lane == next.lane) {
        return Err(Error::invalid("lanes", "must be different lanes"));
    }
    Ok(())
}

/// A dead boot has nothing more: what it had announced and did not leave is lost.
async fn ended(tx: &Transaction, boot: Boot, torn: &[u32]) -> Result<Vec<Alarm>> {
    processes::ended(tx, boot.gateway, &boot.id.to_bytes()).await?;
    let mut raised = Vec::new();
    let announced = cursors::announced(tx, boot).await?;
    for cursor in &announced {
        raised.extend(cursor.mark.map(|mark| Alarm {
            kind: Kind::Lost,
            lane: cursor.lane,
            first: cursor.sequence.saturating_add(1),
            last: mark.sequence,
        }));
    }
    let settled = announced.into_iter().map(|cursor| Cursor {
        mark: None,
        ..cursor
    });
    cursors::advance(tx, boot, &settled.collect::<Vec<_>>()).await?;
    if !torn.is_empty() {
        let mut torn = torn.to_vec();
        torn.sort_unstable();
        torn.dedup();
        let (cursors, _) = cursors::lock(tx, boot, &torn).await?;
        raised.extend(cursors.iter().map(|cursor| Alarm {
            kind: Kind::Torn,
            lane: cursor.lane,
            first: cursor.sequence.saturating_add(1),
            last: cursor.sequence.saturating_add(1),
        }));
    }
    Ok(raised)
}

/// Raises alarms; answers those that nobody was told of, and whether each is kept.
async fn raise(tx: &Transaction, boot: Boot, found: Vec<Alarm>) -> Result<Vec<(Alarm, bool)>> {
    let mut untold = Vec::new();
    for alarm in found {
        match alarms::raise(tx, boot, &alarm).await? {
            Raised::New => untold.push((alarm, true)),
            Raised::Full => untold.push((alarm, false)),
            Raised::Known => {}
        }
    }
    Ok(untold)
}

fn tell(fleet: &Fleet, gateway: &Gateway, boot: Boot, raised: &[(Alarm, bool)]) {
    for (alarm, kept) in raised {
        let kind = alarm.kind.name();
        fleet.metrics().alarms.with_label_values(&[kind]).inc();
        tracing::error!(
            gateway.id = %gateway.id(),
            gateway.name = gateway.name(),
            boot.id = %boot.id,
            lane = alarm.lane,
            first = alarm.first,
            last = alarm.last,
            kind,
            kept,
            "a gateway's journal does not hold what it wrote"
        );
    }
}

/// A lane's batch, with its records decoded.
struct Batch {
    head: v1::LaneBatch,
    records: Vec<Incoming>,
}

/// A record that has come in: its bytes, if the node sends them, and what they mean.
struct Incoming {
    payload: Option<Vec<u8>>,
    event: Option<Event>,
}

impl Batch {
    fn read(mut batch: v1::LaneBatch) -> Self {
        let records = std::mem::take(&mut batch.records);
        let payloads = std::mem::take(&mut batch.payloads);
        let old = records.into_iter().map(|record| Incoming {
            payload: None,
            event: record.event,
        });
        let new = payloads.into_iter().map(|payload| Incoming {
            event: v1::Record::decode(payload.as_slice())
                .ok()
                .and_then(|record| record.event),
            payload: Some(payload),
        });
        Self {
            records: old.chain(new).collect(),
            head: batch,
        }
    }
}

/// What the lanes of one call bring, sorted by the table that it goes into.
#[derive(Default)]
struct Sorted {
    uses: Vec<Use>,
    completions: Vec<Completion>,
    aside: Vec<Aside>,
    alarms: Vec<Alarm>,
    /// The tenants of which the gateway had a vault.
    served: HashSet<Uuid>,
}

/// A record that is kept aside.
struct Aside {
    lane: u32,
    sequence: u64,
    reason: &'static str,
    body: Vec<u8>,
}

/// The tenants whose vaults a batch says were used.
fn named(batches: &[Batch]) -> HashSet<Uuid> {
    let records = batches.iter().flat_map(|batch| &batch.records);
    records
        .filter_map(|record| match &record.event {
            Some(Event::Use(event)) if event.outcome() != v1::Outcome::Refused => {
                Uuid::from_slice(&event.tenant_id).ok()
            }
            Some(Event::Use(_) | Event::Completion(_)) | None => None,
        })
        .collect()
}

impl Sorted {
    fn take(&mut self, lane: &mut Lane, batch: Batch) {
        for (sequence, record) in (batch.head.first_sequence..).zip(batch.records) {
            if !lane.take(sequence, record.payload.as_deref()) {
                continue;
            }
            let number = lane.cursor.lane;
            let Incoming { payload, event } = record;
            // What is kept aside is kept as it came.
            let kept = payload.or_else(|| {
                let event = event.clone();
                Some(v1::Record { event }.encode_to_vec())
            });
            let outcome = if batch.head.damaged.contains(&sequence) {
                Err("its checksum is wrong: it is not what the node wrote")
            } else {
                self.add(event, number, sequence)
            };
            if let Err(reason) = outcome {
                self.aside.push(Aside {
                    lane: number,
                    sequence,
                    reason,
                    body: kept.unwrap_or_default(),
                });
            }
        }
    }

    fn add(&mut self, event: Option<Event>, lane: u32, sequence: u64) -> Result<(), &'static str> {
        match event {
            Some(Event::Use(event)) => {
                let refused = event.outcome() == v1::Outcome::Refused;
                let read = record::read_use(event, lane, sequence)?;
                if !refused && !self.served.contains(&read.tenant) {
                    return Err("a tenant of which this gateway never had a vault");
                }
                self.uses.push(read);
            }
            Some(Event::Completion(event)) => {
                self.completions.push(record::read_completion(event)?);
            }
            None => return Err("neither a use nor a completion"),
        }
        Ok(())
    }

    fn count(&self, fleet: &Fleet) {
        for (kind, count) in [
            ("use", self.uses.len()),
            ("completion", self.completions.len()),
            ("quarantined", self.aside.len()),
        ] {
            fleet
                .metrics()
                .records
                .with_label_values(&[kind])
                .inc_by(u64::try_from(count).unwrap_or(0));
        }
    }
}
