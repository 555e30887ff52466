//! Gateways that have seen more than the database holds: witnesses of a restored backup.
//!
//! Such a gateway is refused, so its lease ends; the others are not, for a node that somebody broke into could else stop
//! them all by claiming a number. What it saw is an alarm until it follows again, which it does once it has forgotten what
//! it saw, or until the order has come that far, as it does when the epoch is raised (`sortie-control restore --fence`):
//! by then it may follow another replica.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus::IntGauge;
use sortie_proto::code::Code;
use sortie_proto::id::GatewayId;
use sortie_proto::revision::Revision;

use super::admit::Gateway;
use crate::error::{Error, Result};

/// The witnesses that this replica has refused: no more than there are gateways.
#[derive(Debug)]
pub(super) struct Witnesses {
    seen: Mutex<HashMap<GatewayId, Revision>>,
    alarm: IntGauge,
}

impl Witnesses {
    pub(super) fn new(alarm: IntGauge) -> Self {
        Self {
            seen: Mutex::default(),
            alarm,
        }
    }

    /// Refuses a gateway that has seen more than the database holds.
    pub(super) fn hear(
        &self,
        gateway: &Gateway,
        resume: Option<Revision>,
        head: Revision,
    ) -> Result<()> {
        let mut seen = self.seen.lock();
        let ahead = resume.filter(|resume| *resume > head);
        match ahead {
            Some(ahead) => seen.insert(gateway.id(), ahead),
            None => seen.remove(&gateway.id()),
        };
        self.count(&seen);
        drop(seen);
        let Some(seen) = ahead else { return Ok(()) };
        tracing::error!(gateway.id = %gateway.id(), gateway.name = gateway.name(), %seen, %head,
            "a gateway has seen a later revision than the database holds and is refused: a backup was restored. Stop every \
             control and run `sortie-control restore --fence`, or put the right database back");
        Err(Error::new(Code::FailedPrecondition).because("the database is behind this gateway"))
    }

    /// The order has come this far: who saw no more than that witnesses nothing.
    pub(super) fn pass(&self, head: Revision) {
        let mut seen = self.seen.lock();
        seen.retain(|_, ahead| *ahead > head);
        self.count(&seen);
    }

    fn count(&self, seen: &HashMap<GatewayId, Revision>) {
        self.alarm
            .set(i64::try_from(seen.len()).unwrap_or(i64::MAX));
    }
}
