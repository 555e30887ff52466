//! What this node tells control of what is open on it, for whoever operates it. Nothing is decided by it.

use sortie_proto::capability;
use sortie_proto::wire::v1;
use v1::follow_request::Message;

use super::Replica;

impl Replica {
    /// Tells control now and then what is open here.
    pub(super) fn report(&mut self) {
        if !self.stream.takes(capability::REPORT) {
            return;
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (sessions, connections, vaults) = self.state.open();
        let age = self.state.lease().age().unwrap_or_default();
        self.send(Message::Report(v1::Report {
            sessions: count(sessions),
            connections: count(connections),
            vaults: count(vaults),
            lease_age_millis: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        }));
    }
}
