use sortie_proto::limits::Period;

use super::*;
use crate::fixture as objects;

const MANY: NonZeroU32 = NonZeroU32::MAX;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn config(session: u32, vault: u32) -> Config {
    Config {
        session_requests_max: number(session),
        vault_requests_max: number(vault),
        requests_max: MANY,
        buckets_max: 1_000,
    }
}

fn limits(session: u32, vault: u32) -> Limits {
    fixture::with(config(session, vault), State::new(), None)
}

/// What requests are about. Tests set limits on its parts.
struct World {
    tenant: Tenant,
    vault: Vault,
    service: Service,
    grant: Grant,
}

impl World {
    fn new() -> Self {
        let tenant = objects::tenant();
        let mut state = objects::vault(&tenant, vec![]);
        let claims = objects::session(&mut state);
        Self {
            service: objects::service("a", "https://a.test/"),
            grant: state.grants.remove(&claims.agent).unwrap(),
            vault: state.vault,
            tenant,
        }
    }

    fn asked(&self, session: SessionId) -> Asked<'_> {
        Asked {
            session,
            agent: self.grant.agent,
            grant: Some(&self.grant),
            service: Some(&self.service),
            vault: &self.vault,
            tenant: &self.tenant,
        }
    }

    /// The limits of each kind of subject, in the order in which they are asked.
    fn sets(&mut self) -> [(Subject, &mut Set); 6] {
        [
            (Subject::Session, &mut self.vault.session_limits),
            (Subject::Session, &mut self.grant.session_limits),
            (Subject::Agent, &mut self.grant.agent_limits),
            (Subject::Service, &mut self.service.limits),
            (Subject::Vault, &mut self.vault.limits),
            (Subject::Tenant, &mut self.tenant.limits),
        ]
    }
}

fn exceeded(result: Result<Slot>) -> Option<(Subject, Unit)> {
    let error = result.err()?;
    error.exceeded().map(|found| (found.of, found.unit))
}

fn rate(count: u64, per: Period) -> Rate {
    Rate::new(count, per, count).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_session_and_a_vault_have_the_nodes_own_bounds() {
    let limits = limits(2, 3);
    let (world, first, second) = (World::new(), SessionId::generate(), SessionId::generate());
    let one = limits.admit(&world.asked(first)).unwrap();
    let two = limits.admit(&world.asked(first)).unwrap();
    let full = exceeded(limits.admit(&world.asked(first)));
    assert_eq!(full, Some((Subject::Session, Unit::Concurrency)));
    let three = limits.admit(&world.asked(second)).unwrap();
    let full = exceeded(limits.admit(&world.asked(second)));
    assert_eq!(full, Some((Subject::Vault, Unit::Concurrency)));
    let elsewhere = limits.admit(&World::new().asked(second)).unwrap();
    drop(one);
    let again = limits.admit(&world.asked(first)).unwrap();
    drop((two, three, elsewhere, again));
    assert_eq!(limits.0.open.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_subject_has_limits_of_its_own_and_a_refusal_names_whose() {
    for at in 0..6 {
        let mut world = World::new();
        let (subject, set) = world.sets().into_iter().nth(at).unwrap();
        set.requests = Some(rate(2, Period::Minute));
        let limits = limits(8, 8);
        let session = SessionId::generate();
        for _ in 0..2 {
            drop(limits.admit(&world.asked(session)).unwrap());
        }
        let error = limits.admit(&world.asked(session)).unwrap_err();
        let found = error.exceeded().unwrap();
        assert_eq!((found.of, found.unit), (subject, Unit::Requests), "{at}");
        assert_eq!(error.code(), Code::RateLimited);
        assert_eq!(found.retry_after, Duration::from_secs(30));
        let another = limits.admit(&world.asked(SessionId::generate()));
        assert_eq!(another.is_ok(), subject == Subject::Session, "{at}");
        drop(another);
        tokio::time::advance(found.retry_after).await;
        assert!(limits.admit(&world.asked(session)).is_ok(), "{at}");
        assert_eq!(limits.0.open.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn each_subject_may_have_so_many_open_and_gets_the_place_back() {
    for at in 0..6 {
        let mut world = World::new();
        let (subject, set) = world.sets().into_iter().nth(at).unwrap();
        set.concurrency = Some(number(1));
        let limits = limits(8, 8);
        let session = SessionId::generate();
        let held = limits.admit(&world.asked(session)).unwrap();
        let found = exceeded(limits.admit(&world.asked(session)));
        assert_eq!(found, Some((subject, Unit::Concurrency)), "{at}");
        drop(held);
        assert!(limits.admit(&world.asked(session)).is_ok(), "{at}");
        assert_eq!(limits.0.open.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_limit_refuses_no_other_one_is_charged_for() {
    let mut world = World::new();
    world.grant.session_limits.requests = Some(rate(5, Period::Minute));
    world.tenant.limits.requests = Some(rate(1, Period::Second));
    let limits = limits(8, 8);
    let session = SessionId::generate();
    drop(limits.admit(&world.asked(session)).unwrap());
    for _ in 0..100 {
        let found = exceeded(limits.admit(&world.asked(session)));
        assert_eq!(found, Some((Subject::Tenant, Unit::Requests)));
    }
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(limits.admit(&world.asked(session)).unwrap());
    }
    assert_eq!(
        exceeded(limits.admit(&world.asked(session))),
        Some((Subject::Session, Unit::Requests))
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_that_passed_are_owed_and_the_next_request_waits_for_them() {
    let mut world = World::new();
    world.vault.limits.bytes = Some(rate(1_000, Period::Second));
    let limits = limits(8, 8);
    let session = SessionId::generate();
    let mut slot = limits.admit(&world.asked(session)).unwrap();
    // Nothing is cut for it, however much it is.
    slot.count(6_000);
    let beside = limits.admit(&world.asked(session));
    assert!(beside.is_ok(), "less than is counted at once");
    drop((slot, beside));
    let error = limits.admit(&world.asked(session)).unwrap_err();
    let found = error.exceeded().unwrap();
    assert_eq!((found.of, found.unit), (Subject::Vault, Unit::Bytes));
    assert_eq!(found.retry_after, Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(limits.admit(&world.asked(session)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_takes_its_part_of_a_limit_and_follows_the_number_of_nodes() {
    let mut world = World::new();
    world.tenant.limits = Set {
        requests: Some(rate(12, Period::Minute)),
        bytes: None,
        concurrency: Some(number(7)),
    };
    let state = State::new();
    state.set_gateways(3);
    let limits = fixture::with(config(64, 64), state.clone(), None);
    let admitted = |limits: &Limits| {
        let slots: Vec<_> =
            std::iter::from_fn(|| limits.admit(&world.asked(SessionId::generate())).ok()).collect();
        slots.len()
    };
    assert_eq!(admitted(&limits), 3, "a third of seven at once, rounded up");
    assert_eq!(admitted(&limits), 1, "and a third of twelve in a minute");
    assert_eq!(admitted(&limits), 0);
    state.set_gateways(1);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(admitted(&limits), 7);
}

#[tokio::test(start_paused = true)]
async fn without_limits_there_are_no_buckets() {
    let (limits, world) = (limits(8, 8), World::new());
    let mut slot = limits.admit(&world.asked(SessionId::generate())).unwrap();
    slot.count(1 << 30);
    drop(slot);
    limits.0.buckets.run_pending_tasks();
    assert_eq!(limits.0.buckets.entry_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn on_a_full_node_who_uses_its_share_is_refused_and_nobody_else() {
    let limits = fixture::with(
        Config {
            requests_max: number(10),
            ..config(64, 64)
        },
        State::new(),
        None,
    );
    let (noisy, quiet) = (World::new(), World::new());
    let take = |world: &World| limits.admit(&world.asked(SessionId::generate()));
    let mut held: Vec<_> = std::iter::from_fn(|| take(&noisy).ok()).collect();
    assert_eq!(held.len(), 10, "alone it may have all of it");
    let beside: Vec<_> = std::iter::from_fn(|| take(&quiet).ok()).collect();
    assert_eq!(beside.len(), 5, "half of it, although none is left");
    held.truncate(6);
    let refused = take(&noisy).unwrap_err();
    assert_eq!(refused.code(), Code::Overloaded);
    drop(beside);
    assert!(take(&noisy).is_ok());
    drop(held);
    assert_eq!(limits.0.open.len(), 0);
}

#[test]
fn counts_stay_exact_under_contention() {
    let (limits, world) = (limits(3, 1_000), World::new());
    let session = SessionId::generate();
    let open = AtomicU32::new(0);
    let turn = || {
        if let Ok(slot) = limits.admit(&world.asked(session)) {
            assert!(open.fetch_add(1, Ordering::SeqCst) < 3);
            open.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..2_000).for_each(|_| turn()));
        }
    });
    assert_eq!(limits.0.open.len(), 0);
    let free = crate::pressure::Short {
        memory: crate::pressure::Memory::Short,
        lags: false,
    };
    // Nothing is left of the load either: one request alone is no share of anything.
    let judged = limits.0.load.judge((0, NonZeroU32::MIN), MANY, free);
    assert_eq!(judged, None);
}
