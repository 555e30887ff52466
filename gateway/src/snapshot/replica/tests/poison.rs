//! What cannot be understood refuses what it names, and nothing else: fault F15.

use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sortie_proto::host::Host;
use v1::change::Object as Wire;

use super::*;
use crate::snapshot::quarantine::Quarantined;

fn other() -> VaultId {
    VaultId::from(Uuid::from_u128(3))
}

fn whole(id: VaultId, n: u64) -> v1::VaultSnapshot {
    let mut snapshot = Snapshot {
        revision: at(n),
        vault: vault(id),
        services: vec![service(1, 1), service(2, 1)],
        credentials: vec![credential(1, 1), credential(2, 1)],
        grants: vec![grant(1, 1), grant(2, 1)],
        data_keys: vec![Arc::new(SealingKey::generate())],
    };
    for service in &mut snapshot.services {
        Arc::make_mut(service).vault = id;
    }
    let second = Arc::make_mut(&mut snapshot.services[1]);
    second.host = HostPattern::parse("two.example.com").unwrap();
    for credential in &mut snapshot.credentials {
        credential.vault = id;
    }
    for grant in &mut snapshot.grants {
        grant.vault = id;
    }
    (&snapshot).into()
}

fn encoded(id: VaultId, snapshot: impl Into<bytes::Bytes>) -> v1::FollowEvent {
    event(Event::EncodedVault(v1::EncodedVault {
        vault_id: id.to_bytes(),
        snapshot: snapshot.into(),
    }))
}

fn good(id: VaultId, n: u64) -> v1::FollowEvent {
    encoded(id, whole(id, n).encode_to_vec())
}

fn about(n: u64, object: Option<Wire>) -> v1::FollowEvent {
    event(Event::Change(v1::Change {
        revision: Some(at(n).into()),
        object,
        tenant_id: tenant_id().to_bytes(),
        vault_id: vault_id().to_bytes(),
    }))
}

/// Two vaults in memory, on a clock that the test moves.
fn two() -> (State, Replica) {
    let state = State::with_clock(clock);
    let mut replica = Replica::new(state.clone());
    let capable = v1::Welcome {
        revision: Some(at(10).into()),
        capabilities: vec![capability::QUARANTINE.into()],
        ..v1::Welcome::default()
    };
    replica.event(event(Event::Welcome(capable)), NOW).unwrap();
    let settings = v1::TenantState {
        revision: Some(at(10).into()),
        tenant: Some((&tenant()).into()),
        revocations: Vec::new(),
    };
    replica.event(event(Event::Tenant(settings)), NOW).unwrap();
    for id in [vault_id(), other()] {
        let (answer, _answered) = oneshot::channel();
        replica.want(id, ticket(1, NOW + 1_000_000), answer);
        replica.event(good(id, 10), NOW).unwrap();
    }
    replica.beat();
    replica
        .event(Echo { epoch: 1, nonce: 1 }.into(), NOW)
        .unwrap();
    replica.take_outgoing();
    (state, replica)
}

std::thread_local! {
    static MILLIS: std::cell::Cell<u64> = const { std::cell::Cell::new(1_000) };
}

fn clock() -> u64 {
    MILLIS.get()
}

fn refuses(state: &State, host: &str) -> bool {
    let vault = state.vault(vault_id()).unwrap();
    vault.refuses(&Host::parse(host).unwrap())
}

fn is_served(state: &State, id: VaultId) -> bool {
    state
        .vault(id)
        .is_some_and(|vault| state.vault_lease_holds(&vault))
}

/// What is quarantined, as it is told to control and shown by `/state`.
fn told(replica: &mut Replica, state: &State) -> Vec<String> {
    replica.tell_quarantined();
    let sent = replica.take_outgoing().into_iter();
    let mut said = sent.filter_map(|sent| match sent.message {
        Some(Message::Quarantined(said)) => Some(said.objects),
        _ => None,
    });
    let said: Vec<_> = said.next_back().unwrap_or_default();
    let shown = state.quarantined();
    let shown: Vec<String> = shown
        .iter()
        .map(|one: &Quarantined| one.what.clone())
        .collect();
    assert_eq!(
        said.iter().map(|one| one.what.clone()).collect::<Vec<_>>(),
        shown
    );
    shown
}

#[test]
fn a_service_that_is_not_understood_refuses_the_hosts_that_it_names_or_named() {
    let (state, mut replica) = two();
    let mut wire = v1::Service::from(service(1, 2).as_ref());
    wire.intercept = 77;
    wire.host = "new.example.com".into();
    replica
        .event(about(31, Some(Wire::Service(wire))), NOW)
        .unwrap();
    assert!(refuses(&state, "api.example.com") && refuses(&state, "new.example.com"));
    assert!(!refuses(&state, "two.example.com"));
    assert!(is_served(&state, vault_id()) && is_served(&state, other()));
    let id = service(1, 1).id;
    assert_eq!(told(&mut replica, &state), [format!("service {id}")]);
    // A version that is understood lifts it.
    replica
        .event(changed(32, Object::Service(service(1, 3))), NOW)
        .unwrap();
    assert!(!refuses(&state, "api.example.com") && !refuses(&state, "new.example.com"));
    assert_eq!(told(&mut replica, &state), [""; 0]);
}

#[test]
fn a_credential_and_a_grant_that_are_not_understood_are_as_good_as_deleted() {
    let (state, mut replica) = two();
    let mut wire = v1::Credential::from(&credential(1, 2));
    wire.sealed.as_mut().unwrap().nonce = vec![1];
    replica
        .event(about(31, Some(Wire::Credential(wire))), NOW)
        .unwrap();
    let mut wire = v1::Grant::from(&grant(1, 2));
    wire.role = 9;
    replica
        .event(about(32, Some(Wire::Grant(wire))), NOW)
        .unwrap();
    let vault = state.vault(vault_id()).unwrap();
    assert!(!vault.credentials.contains_key("C1") && vault.credentials.contains_key("C2"));
    assert_eq!(vault.role(grant(1, 1).agent, NOW), None);
    assert_eq!(vault.role(grant(2, 1).agent, NOW), Some(VaultRole::User));
    assert_eq!(told(&mut replica, &state).len(), 2);
    // The same in a whole snapshot.
    let mut snapshot = whole(vault_id(), 40);
    snapshot.credentials[0].sealed.as_mut().unwrap().nonce = vec![1];
    snapshot.grants[0].role = 9;
    snapshot.services[0].scheme = 9;
    replica
        .event(encoded(vault_id(), snapshot.encode_to_vec()), NOW)
        .unwrap();
    let vault = state.vault(vault_id()).unwrap();
    assert_eq!((vault.credentials.len(), vault.grants.len()), (1, 1));
    assert!(refuses(&state, "api.example.com") && !refuses(&state, "two.example.com"));
    assert_eq!(told(&mut replica, &state).len(), 3);
    replica.event(good(vault_id(), 41), NOW).unwrap();
    assert_eq!(told(&mut replica, &state), [""; 0]);
}

#[test]
fn what_cannot_be_named_takes_its_vault_away_and_asks_for_all_of_it_again() {
    let mut settings = v1::Vault::from(&vault(vault_id()));
    settings.mode = 7;
    let nameless = v1::Service {
        vault_id: vault_id().to_bytes(),
        ..v1::Service::default()
    };
    let strange = v1::Service::from(service(1, 2).as_ref());
    let strange = v1::Service {
        vault_id: other().to_bytes(),
        ..strange
    };
    for object in [
        Some(Wire::Vault(settings)),
        Some(Wire::Service(nameless)),
        Some(Wire::Service(strange)),
        None,
    ] {
        let (state, mut replica) = two();
        replica.event(about(31, object.clone()), NOW).unwrap();
        assert!(state.vault(vault_id()).is_none(), "{object:?}");
        assert!(is_served(&state, other()));
        assert_eq!(subscriptions(&mut replica), [("1".into(), false)]);
        replica.event(good(vault_id(), 32), NOW).unwrap();
        assert!(is_served(&state, vault_id()));
    }
}

#[test]
fn a_snapshot_that_means_nothing_leaves_the_last_good_one_until_its_lease_ends() {
    let cut = |snapshot: v1::VaultSnapshot| {
        let bytes = snapshot.encode_to_vec();
        bytes[..bytes.len() - 7].to_vec()
    };
    let with = |alter: fn(&mut v1::VaultSnapshot)| {
        let mut snapshot = whole(vault_id(), 40);
        alter(&mut snapshot);
        snapshot.encode_to_vec()
    };
    let poisons = [
        cut(whole(vault_id(), 40)),
        Vec::new(),
        whole(other(), 40).encode_to_vec(),
        with(|one| one.vault.as_mut().unwrap().tenant_id = vec![9; 16]),
        with(|one| one.vault.as_mut().unwrap().name.clear()),
        with(|one| one.vault.as_mut().unwrap().mode = 7),
        with(|one| one.services = vec![one.services[0].clone(); 100_000]),
        with(|one| one.services.push(one.services[0].clone())),
        with(|one| one.services[0].id.clear()),
    ];
    for poison in poisons {
        MILLIS.set(1_000);
        let (state, mut replica) = two();
        replica.disconnected();
        replica.event(welcome(30, true), NOW).unwrap();
        replica.take_outgoing();
        replica.event(encoded(vault_id(), poison), NOW).unwrap();
        assert!(is_served(&state, vault_id()));
        assert_eq!(state.quarantined().len(), 0, "not told yet");
        replica.tell_quarantined();
        assert_eq!(state.quarantined()[0].what, "vault");
        assert!(state.quarantined()[0].served);
        // What is understood still arrives.
        replica
            .event(
                changed(
                    41,
                    Object::Tombstone(Tombstone::Grant(vault_id(), grant(1, 1).agent)),
                ),
                NOW,
            )
            .unwrap();
        assert_eq!(state.vault(vault_id()).unwrap().grants.len(), 1);
        // Control goes on confirming: that says nothing of this vault.
        MILLIS.set(1_000 + 899_999);
        replica.beat();
        replica
            .event(Echo { epoch: 1, nonce: 2 }.into(), NOW)
            .unwrap();
        assert!(is_served(&state, vault_id()));
        MILLIS.set(1_000 + 900_000);
        assert!(!is_served(&state, vault_id()) && is_served(&state, other()));
        // It is asked for again, and good again.
        replica.take_outgoing();
        for _ in 0..10 {
            replica.tick(NOW);
        }
        assert_eq!(subscriptions(&mut replica), [("1".into(), false)]);
        replica.event(good(vault_id(), 50), NOW).unwrap();
        replica.tell_quarantined();
        assert!(is_served(&state, vault_id()) && state.quarantined().is_empty());
    }
}

#[test]
fn an_answer_that_comes_too_late_does_not_end_a_quarantine() {
    let (state, mut replica) = two();
    replica.event(encoded(vault_id(), vec![1]), NOW).unwrap();
    // It is asked for again, and nobody answers.
    for _ in 0..10 + ANSWER_TICKS + 1 {
        replica.tick(NOW);
    }
    assert_eq!(subscriptions(&mut replica).len(), 1);
    // What comes now is what is held already; what happened meanwhile was not sent.
    replica.event(good(vault_id(), 10), NOW).unwrap();
    replica.tell_quarantined();
    assert_eq!(state.quarantined().len(), 1);
    replica.take_outgoing();
    for _ in 0..20 {
        replica.tick(NOW);
    }
    let asked = subscriptions(&mut replica).len();
    assert_eq!(asked, 1, "it is still asked for");
    replica.event(good(vault_id(), 50), NOW).unwrap();
    replica.tell_quarantined();
    assert!(state.quarantined().is_empty());
}

#[test]
fn a_tenant_that_means_nothing_costs_no_questions_and_is_sent_again_by_another_stream() {
    let (state, mut replica) = two();
    let poison = |replica: &mut Replica| {
        let broken = v1::TenantState {
            revision: Some(at(40).into()),
            tenant: Some(v1::Tenant {
                private_allow: vec!["nowhere".into()],
                ..(&tenant()).into()
            }),
            revocations: Vec::new(),
        };
        replica.event(event(Event::Tenant(broken)), NOW).unwrap();
    };
    poison(&mut replica);
    assert!(state.tenant(tenant_id()).is_none());
    replica.take_outgoing();
    let mut answered = want(&mut replica, ticket(1, NOW + 600));
    assert!(answered.try_recv().unwrap().is_err());
    assert_eq!(subscriptions(&mut replica), []);
    for wait in [10, 20, 40] {
        for _ in 0..wait {
            assert!(!replica.must_reopen(), "after less than {wait} s");
            replica.tick(NOW);
        }
        assert!(replica.must_reopen());
        replica.disconnected();
        assert!(!resumes(&replica).1.contains(&tenant_id().to_bytes()));
        replica.event(welcome(41, true), NOW).unwrap();
        assert!(!replica.must_reopen());
        poison(&mut replica);
    }
    // Another stream, and this time it is understood.
    replica.disconnected();
    replica.event(welcome(42, true), NOW).unwrap();
    replica.take_outgoing();
    let mut answered = want(&mut replica, ticket(1, NOW + 600));
    assert_eq!(subscriptions(&mut replica), [("1".into(), false)]);
    let settings = v1::TenantState {
        revision: Some(at(42).into()),
        tenant: Some((&tenant()).into()),
        revocations: Vec::new(),
    };
    replica.event(event(Event::Tenant(settings)), NOW).unwrap();
    replica.event(good(vault_id(), 50), NOW).unwrap();
    assert!(answered.try_recv().unwrap().is_ok() && !replica.must_reopen());
}

#[test]
fn a_cold_vault_that_means_nothing_is_refused_without_a_question_for_each_request() {
    let (_, mut replica) = welcomed();
    let mut answered = want(&mut replica, ticket(1, NOW + 600));
    replica.take_outgoing();
    replica.event(encoded(vault_id(), vec![1]), NOW).unwrap();
    assert_eq!(
        answered.try_recv().unwrap().unwrap_err(),
        Code::VaultUnavailable
    );
    for _ in 0..9 {
        let mut answered = want(&mut replica, ticket(1, NOW + 600));
        assert!(answered.try_recv().unwrap().is_err());
        assert_eq!(subscriptions(&mut replica), []);
        replica.tick(NOW);
    }
    replica.tick(NOW);
    let mut answered = want(&mut replica, ticket(1, NOW + 600));
    assert_eq!(subscriptions(&mut replica), [("1".into(), false)]);
    replica.event(good(vault_id(), 50), NOW).unwrap();
    assert!(answered.try_recv().unwrap().is_ok());
}

#[test]
fn a_vault_that_control_cannot_make_is_served_until_its_lease_ends_and_a_refused_one_is_not() {
    for (code, kept) in [
        ("internal", true),
        ("resource_exhausted", true),
        ("vault_disabled", false),
        ("not_found", false),
    ] {
        let (state, mut replica) = two();
        replica.event(refused(code), NOW).unwrap();
        assert_eq!(is_served(&state, vault_id()), kept, "{code}");
        assert!(is_served(&state, other()));
    }
}

/// Alters some bytes, or cuts them off.
fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.random()),
            _ => {
                let end = rng.random_range(at..bytes.len());
                let piece = bytes[at..=end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn mutated<M: prost::Message + Default>(rng: &mut StdRng, message: &M) -> Option<M> {
    let mut bytes = message.encode_to_vec();
    mutate(rng, &mut bytes);
    M::decode(bytes.as_slice()).ok()
}

fn poisoned(rng: &mut StdRng, n: u64) -> v1::FollowEvent {
    let one = rng.random_range(1..4);
    match rng.random_range(0..6) {
        0 => about(
            n,
            mutated(rng, &v1::Vault::from(&vault(vault_id()))).map(Wire::Vault),
        ),
        1 => about(
            n,
            mutated(rng, &v1::Service::from(service(one, n).as_ref())).map(Wire::Service),
        ),
        2 => about(
            n,
            mutated(rng, &v1::Credential::from(&credential(one, n))).map(Wire::Credential),
        ),
        3 => about(
            n,
            mutated(rng, &v1::Grant::from(&grant(one, n))).map(Wire::Grant),
        ),
        _ => {
            let mut bytes = whole(vault_id(), n).encode_to_vec();
            mutate(rng, &mut bytes);
            encoded(vault_id(), bytes)
        }
    }
}

/// Feeds mutations of one vault. The other one stays the very same, and the first is good again whenever it comes whole.
fn poison(seed: u64, rounds: u64) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let (state, mut replica) = two();
    let bystander = state.vault(other()).unwrap();
    let mut n = 50;
    for round in 0..rounds {
        n += 1;
        replica.event(poisoned(rng, n), NOW).unwrap();
        replica.tick(NOW);
        replica.tell_quarantined();
        assert!(
            Arc::ptr_eq(&bystander, &state.vault(other()).unwrap()),
            "{seed} {round}"
        );
        if let Some(vault) = state.vault(vault_id()) {
            assert_eq!(
                (vault.vault.id, vault.vault.tenant),
                (vault_id(), tenant_id())
            );
        }
        if round % 16 == 15 {
            let (answer, mut answered) = oneshot::channel();
            replica.drop_vault(vault_id(), Code::VaultUnavailable);
            replica.want(vault_id(), ticket(1, NOW + 1_000_000), answer);
            n += 1;
            replica.event(good(vault_id(), n), NOW).unwrap();
            replica.tell_quarantined();
            assert!(answered.try_recv().unwrap().is_ok());
            assert!(is_served(&state, vault_id()) && state.quarantined().is_empty());
        }
        replica.take_outgoing();
    }
}

#[test]
fn f15_mutated_snapshots_and_changes_touch_no_other_vault() {
    for seed in 0..4 {
        poison(seed, 1_000);
    }
}

#[test]
#[ignore = "make soak"]
fn f15_a_million_mutations_touch_no_other_vault() {
    for seed in 0..10 {
        poison(seed, 100_000);
    }
}
