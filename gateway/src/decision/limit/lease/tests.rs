use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use parking_lot::Mutex;
use sortie_proto::id::SessionId;
use sortie_proto::limits::{Period, Rate};

use super::super::fixture;
use super::*;
use crate::decision::limit::{Asked, Config};
use crate::fixture as objects;
use crate::snapshot::State;

/// One bucket of so many tokens, which fills with nothing, and a switch that stalls it.
#[derive(Debug, Clone, Default)]
struct Shared {
    tokens: Arc<AtomicI64>,
    stalled: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    names: Arc<Mutex<Vec<[u8; 16]>>>,
}

impl Store for Shared {
    async fn connect(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn lease(&mut self, questions: &[Question]) -> Result<Vec<Grant>, Failure> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.stalled.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let answer = |question: &Question| {
            self.names.lock().push(question.name);
            let left = self.tokens.fetch_sub(question.owed, Ordering::SeqCst) - question.owed;
            let tokens = left.clamp(0, question.wanted);
            self.tokens.fetch_sub(tokens, Ordering::SeqCst);
            let dry = if tokens > 0 { 0 } else { 10 };
            Grant {
                tokens,
                dry: Duration::from_secs(dry),
            }
        };
        Ok(questions.iter().map(answer).collect())
    }

    fn give_up(&mut self) {}
}

/// A node that shares one vault's limit of 1,000 requests an hour.
struct Node {
    limits: Limits,
    stop: watch::Sender<bool>,
}

fn node(store: &Shared, nodes: u32) -> Node {
    let (wishes, wished) = mpsc::channel(WISHES_MAX);
    let state = State::new();
    state.set_gateways(nodes);
    let many = std::num::NonZeroU32::MAX;
    let config = Config {
        session_requests_max: many,
        vault_requests_max: many,
        requests_max: many,
        buckets_max: 100,
    };
    let limits = fixture::with(config, state, Some(wishes));
    let lessor = Lessor::new(
        store.clone(),
        wished,
        Duration::from_millis(5),
        limits.clone(),
    );
    let (stop, stopping) = watch::channel(false);
    drop(crate::tasks::spawn("lessor", lessor.run(stopping)));
    Node { limits, stop }
}

impl Node {
    /// How many of so many requests are admitted, one a millisecond.
    async fn admitted(&self, world: &World, requests: u32) -> i64 {
        let mut admitted = 0;
        for _ in 0..requests {
            admitted += i64::from(self.limits.admit(&world.asked()).is_ok());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        admitted
    }
}

struct World {
    tenant: sortie_proto::tenant::Tenant,
    vault: sortie_proto::vault::Vault,
}

impl World {
    fn new() -> Self {
        let tenant = objects::tenant();
        let mut vault = objects::vault(&tenant, vec![]).vault;
        vault.limits.requests = Some(Rate::new(1_000, Period::Hour, 1_000).unwrap());
        Self { tenant, vault }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            session: SessionId::generate(),
            agent: sortie_proto::id::AgentId::generate(),
            grant: None,
            service: None,
            vault: &self.vault,
            tenant: &self.tenant,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_node_may_use_what_others_do_not() {
    let store = Shared::default();
    store.tokens.store(1_000, Ordering::SeqCst);
    let (world, node) = (World::new(), node(&store, 4));
    let admitted = node.admitted(&world, 2_000).await;
    // Its own share is 250, and one batch may be admitted between two answers.
    assert!((1_000..=1_002).contains(&admitted), "{admitted}");
    let names = store.names.lock();
    assert!(names.windows(2).all(|two| matches!(two, [a, b] if a == b)));
    node.stop.send_replace(true);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stalls_costs_its_budget_and_each_node_takes_its_share() {
    let store = Shared::default();
    store.stalled.store(true, Ordering::SeqCst);
    let (world, node) = (World::new(), node(&store, 4));
    assert_eq!(node.admitted(&world, 2_000).await, 250);
    let calls = store.calls.load(Ordering::SeqCst);
    assert!(calls <= 8, "{calls} calls in two seconds: it is left alone");
    // It answers again, and nothing of before is charged.
    store.stalled.store(false, Ordering::SeqCst);
    store.tokens.store(100, Ordering::SeqCst);
    tokio::time::sleep(AWAY_MAX).await;
    let admitted = node.admitted(&world, 2_000).await;
    assert!((100..=102).contains(&admitted), "{admitted}");
}

#[tokio::test(start_paused = true)]
async fn what_is_leased_and_not_used_goes_back() {
    let store = Shared::default();
    store.tokens.store(100, Ordering::SeqCst);
    let mut world = World::new();
    // A batch of 100.
    world.vault.limits.requests = Some(Rate::new(1_000, Period::Second, 1_000).unwrap());
    let node = node(&store, 1);
    assert_eq!(node.admitted(&world, 2).await, 2);
    tokio::time::sleep(IDLE * 3).await;
    assert_eq!(store.tokens.load(Ordering::SeqCst), 98);
}

#[test]
fn a_buckets_name_tells_who_and_what_apart_and_nothing_else() {
    let session = SessionId::generate();
    let vault = sortie_proto::id::VaultId::generate();
    let keys = [
        Who::Session(session),
        Who::SessionIn(session, vault),
        Who::Vault(vault),
    ];
    let mut names: Vec<_> = keys
        .into_iter()
        .flat_map(|who| [Unit::Requests, Unit::Bytes].map(|unit| Key { who, unit }.name()))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 6);
}
