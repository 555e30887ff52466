//! Limits for tests of this stage and later ones.

use prometheus::Registry;

use super::*;

pub(crate) fn limits(session: NonZeroU32, vault: NonZeroU32) -> Limits {
    with(
        Config {
            session_requests_max: session,
            vault_requests_max: vault,
            requests_max: NonZeroU32::MAX,
            buckets_max: 1_000,
        },
        State::new(),
        None,
    )
}

pub(crate) fn with(config: Config, state: State, wishes: Option<mpsc::Sender<Wish>>) -> Limits {
    let parts = Parts {
        state,
        pressure: Pressure::default(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
        wishes,
    };
    Limits::new(config, parts)
}

/// A session of an agent without limits.
pub(crate) fn asked(session: SessionId, permit: &Permit) -> Asked<'_> {
    Asked {
        session,
        agent: AgentId::generate(),
        grant: None,
        service: permit.service().map(AsRef::as_ref),
        vault: &permit.vault().vault,
        tenant: permit.tenant(),
    }
}
