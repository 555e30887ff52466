#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the model makes three kinds of objects, and panics on any other"
)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;
use sortie_proto::agent::{Grant, Revocation, RevokedSubject, VaultRole};
use sortie_proto::change::{Change, Object, Snapshot, Tombstone};
use sortie_proto::credential::Credential;
use sortie_proto::host::{HostPattern, PathPattern};
use sortie_proto::id::{AgentId, CredentialId, ServiceId};
use sortie_proto::limits::Limits;
use sortie_proto::sealed::{Sealed, SealingKey};
use sortie_proto::service::{Intercept, Scheme, Service};
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{Claims, VaultClaim};
use sortie_proto::vault::{Vault, VaultMode};
use uuid::Uuid;
use v1::follow_event::Event;

use super::*;

mod poison;

const NOW: i64 = 1_000_000;

fn at(n: u64) -> Revision {
    Revision { epoch: 1, n }
}

fn event(event: Event) -> v1::FollowEvent {
    v1::FollowEvent { event: Some(event) }
}

fn tenant_id() -> TenantId {
    TenantId::from(Uuid::from_u128(1))
}

fn vault_id() -> VaultId {
    VaultId::from(Uuid::from_u128(2))
}

fn vault(id: VaultId) -> Vault {
    Vault {
        id,
        tenant: tenant_id(),
        name: "main".into(),
        version: 1,
        generation: 1,
        enabled: true,
        mode: VaultMode::Deny,
        staleness: std::time::Duration::from_secs(900),
        durable: false,
        limits: Limits::default(),
        session_limits: Limits::default(),
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: tenant_id(),
        name: "acme".into(),
        version: 1,
        generation: 1,
        enabled: true,
        private_allow: Vec::new(),
        limits: Limits::default(),
        weight: NonZeroU32::MIN,
    }
}

fn service(n: u8, version: u64) -> Arc<Service> {
    Arc::new(Service {
        id: ServiceId::from(Uuid::from_u128(100 + u128::from(n))),
        vault: vault_id(),
        name: format!("service-{n}"),
        version,
        enabled: true,
        scheme: Scheme::Https,
        host: HostPattern::parse("api.example.com").unwrap(),
        port: None,
        methods: Vec::new(),
        path: PathPattern::parse("/**").unwrap(),
        inject: Vec::new(),
        placeholders: None,
        redact: true,
        intercept: Intercept::Always,
        encoded_slash: false,
        limits: Limits::default(),
    })
}

fn credential(n: u8, version: u64) -> Credential {
    Credential {
        id: CredentialId::from(Uuid::from_u128(200 + u128::from(n))),
        vault: vault_id(),
        name: format!("C{n}"),
        placeholder: format!("__C{n}__"),
        version: u32::try_from(version).unwrap(),
        sealed: Some(Sealed {
            key: SealingKey::generate().reference(),
            nonce: [0; 12],
            ciphertext: vec![1],
        }),
    }
}

fn grant(n: u8, version: u64) -> Grant {
    Grant {
        vault: vault_id(),
        agent: AgentId::from(Uuid::from_u128(300 + u128::from(n))),
        role: VaultRole::User,
        expires_at: None,
        version,
        agent_limits: Limits::default(),
        session_limits: Limits::default(),
    }
}

fn snapshot_of(id: VaultId, n: u64) -> v1::FollowEvent {
    event(Event::Vault(
        (&Snapshot {
            revision: at(n),
            vault: vault(id),
            services: Vec::new(),
            credentials: Vec::new(),
            grants: Vec::new(),
            data_keys: Vec::new(),
        })
            .into(),
    ))
}

fn changed(n: u64, object: Object) -> v1::FollowEvent {
    event(Event::Change(
        (&Change {
            revision: at(n),
            object,
        })
            .into(),
    ))
}

fn welcome(n: u64, resumed: bool) -> v1::FollowEvent {
    event(Event::Welcome(v1::Welcome {
        revision: Some(at(n).into()),
        signing_keys: Vec::new(),
        capabilities: Vec::new(),
        resumed,
    }))
}

fn ticket(n: u128, end: i64) -> Ticket {
    Ticket {
        tenant: tenant_id(),
        session: SessionId::from(Uuid::from_u128(n)),
        end,
        token: Arc::new(Secret::new(n.to_string().into_bytes())),
    }
}

fn claims() -> Claims {
    Claims {
        epoch: 1,
        tenant: tenant_id(),
        tenant_generation: 1,
        session: SessionId::from(Uuid::from_u128(7)),
        agent: AgentId::from(Uuid::from_u128(8)),
        agent_generation: 1,
        vaults: vec![VaultClaim {
            id: vault_id(),
            name: "main".into(),
            generation: 1,
        }],
        user: Some("ada".into()),
        labels: BTreeMap::new(),
        parent: Some(SessionId::from(Uuid::from_u128(9))),
        ancestors: vec![SessionId::from(Uuid::from_u128(10))],
        subjects_generation: 1,
        scope: Vec::new(),
        source: None,
        iat: NOW,
        exp: NOW + 3_600,
    }
}

type Answered = oneshot::Receiver<Result<Arc<VaultState>, Code>>;

fn want(replica: &mut Replica, ticket: Ticket) -> Answered {
    let (answer, answered) = oneshot::channel();
    replica.want(vault_id(), ticket, answer);
    answered
}

fn welcomed() -> (State, Replica) {
    let state = State::new();
    let mut replica = Replica::new(state.clone());
    replica.event(welcome(10, false), NOW).unwrap();
    replica
        .event(
            event(Event::Tenant(v1::TenantState {
                revision: Some(at(10).into()),
                tenant: Some((&tenant()).into()),
                revocations: Vec::new(),
            })),
            NOW,
        )
        .unwrap();
    (state, replica)
}

/// With a vault in memory, released until `end`.
fn with_vault(end: i64) -> (State, Replica) {
    let (state, mut replica) = welcomed();
    drop(want(&mut replica, ticket(1, end)));
    replica.event(snapshot_of(vault_id(), 10), NOW).unwrap();
    replica.take_outgoing();
    assert!(state.vault(vault_id()).is_some());
    (state, replica)
}

/// The tokens that vaults were asked for with, and whether a copy was named.
fn subscriptions(replica: &mut Replica) -> Vec<(String, bool)> {
    let sent = replica.take_outgoing().into_iter();
    sent.filter_map(|sent| match sent.message {
        Some(Message::Subscribe(subscribe)) => {
            Some((subscribe.session_token, subscribe.have.is_some()))
        }
        _ => None,
    })
    .collect()
}

fn refused(code: &str) -> v1::FollowEvent {
    event(Event::VaultRefused(v1::VaultRefused {
        vault_id: vault_id().to_bytes(),
        code: code.into(),
        held: false,
    }))
}

#[test]
fn many_that_wait_for_a_cold_vault_share_one_subscription() {
    let (state, mut replica) = welcomed();
    let mut first = want(&mut replica, ticket(1, NOW + 60));
    let mut second = want(&mut replica, ticket(2, NOW + 90));
    assert_eq!(subscriptions(&mut replica), [("1".into(), false)]);
    assert!(state.vault(vault_id()).is_none());
    replica.event(snapshot_of(vault_id(), 10), NOW).unwrap();
    assert!(first.try_recv().unwrap().is_ok());
    assert!(second.try_recv().unwrap().is_ok());
    assert!(state.vault(vault_id()).is_some());
}

#[test]
fn a_refusal_is_for_the_token_that_asked_and_the_next_one_asks() {
    let (_, mut replica) = welcomed();
    let mut first = want(&mut replica, ticket(1, NOW + 60));
    let mut second = want(&mut replica, ticket(2, NOW + 60));
    replica.take_outgoing();
    replica.event(refused("session_revoked"), NOW).unwrap();
    assert_eq!(first.try_recv().unwrap().unwrap_err(), Code::SessionRevoked);
    assert_eq!(subscriptions(&mut replica), [("2".into(), false)]);
    replica.event(snapshot_of(vault_id(), 10), NOW).unwrap();
    assert!(second.try_recv().unwrap().is_ok());
}

#[test]
fn a_wish_without_a_stream_is_asked_for_when_there_is_one() {
    let mut replica = Replica::new(State::new());
    let mut answered = want(&mut replica, ticket(1, NOW + 60));
    assert!(subscriptions(&mut replica).is_empty());
    replica.event(welcome(10, false), NOW).unwrap();
    assert_eq!(subscriptions(&mut replica), [("1".into(), false)]);
    replica.event(snapshot_of(vault_id(), 10), NOW).unwrap();
    assert!(answered.try_recv().unwrap().is_ok());
}

#[test]
fn a_revocation_that_is_not_understood_takes_its_tenant_away_for_good() {
    let (state, mut replica) = with_vault(NOW + 600);
    let change = v1::Change {
        revision: Some(at(11).into()),
        object: Some(v1::change::Object::Revocation(v1::Revocation {
            tenant_id: tenant_id().to_bytes(),
            ..v1::Revocation::default()
        })),
        ..v1::Change::default()
    };
    replica.event(event(Event::Change(change)), NOW).unwrap();
    assert!(state.vault(vault_id()).is_none() && state.tenant(tenant_id()).is_none());
    assert!(state.is_unclear(tenant_id()), "what is open is cut");
    let mut answered = want(&mut replica, ticket(1, NOW + 600));
    replica.event(snapshot_of(vault_id(), 12), NOW).unwrap();
    assert_eq!(
        answered.try_recv().unwrap().unwrap_err(),
        Code::VaultUnavailable
    );
    replica
        .event(changed(13, Object::Tenant(tenant())), NOW)
        .unwrap();
    assert!(state.tenant(tenant_id()).is_none());
    // All of the tenant, and nothing of it is unknown any more.
    let whole = v1::TenantState {
        revision: Some(at(14).into()),
        tenant: Some((&tenant()).into()),
        revocations: Vec::new(),
    };
    replica.event(event(Event::Tenant(whole)), NOW).unwrap();
    assert!(!state.is_unclear(tenant_id()) && state.tenant(tenant_id()).is_some());
}

#[test]
fn a_node_that_is_shut_out_keeps_nothing_and_starts_afresh() {
    let (state, mut replica) = with_vault(NOW + 600);
    let nonce = state.lease().beat();
    replica
        .event(
            event(Event::Echo(v1::Echo {
                nonce,
                revision: Some(at(10).into()),
                gateways: 1,
                at_micros: 0,
            })),
            NOW,
        )
        .unwrap();
    let staleness = std::time::Duration::from_secs(900);
    assert!(state.lease_holds(staleness));
    let woken = state.revocations();
    replica.disconnected();
    replica.shut_out();
    assert!(state.vault(vault_id()).is_none() && state.tenant(tenant_id()).is_none());
    assert!(!state.lease_holds(staleness));
    assert!(state.is_unclear(tenant_id()) && woken.has_changed().unwrap());
    // Let in again it asks for the tenant, from the start.
    assert_eq!(resumes(&replica), (None, vec![tenant_id().to_bytes()]));
}

#[test]
fn a_node_that_is_shut_out_before_its_tenants_came_again_ends_what_they_have_open() {
    let (state, mut replica) = with_vault(NOW + 600);
    replica.disconnected();
    replica.event(welcome(20, false), NOW).unwrap();
    replica.disconnected();
    replica.shut_out();
    assert!(state.is_unclear(tenant_id()));
}

#[test]
fn control_is_told_what_is_open_if_it_says_that_it_takes_it() {
    let reports = |replica: &mut Replica| {
        for _ in 0..REPORT_TICKS {
            replica.tick(NOW);
        }
        let messages = replica.take_outgoing().into_iter();
        let reports = messages.filter_map(|request| match request.message {
            Some(Message::Report(report)) => Some((report.sessions, report.connections)),
            _ => None,
        });
        reports.collect::<Vec<_>>()
    };
    let (state, mut replica) = with_vault(NOW + 600);
    state.note_open(2, 5);
    assert_eq!(reports(&mut replica), []);
    replica.disconnected();
    let welcome = v1::Welcome {
        revision: Some(at(10).into()),
        capabilities: vec![capability::REPORT.into()],
        ..v1::Welcome::default()
    };
    replica.event(event(Event::Welcome(welcome)), NOW).unwrap();
    assert_eq!(reports(&mut replica), [(2, 5)]);
}

#[test]
fn control_that_is_behind_is_not_followed() {
    let (state, mut replica) = with_vault(NOW + 600);
    replica
        .event(changed(20, Object::Tenant(tenant())), NOW)
        .unwrap();
    replica.disconnected();
    let behind = replica.event(welcome(19, false), NOW).unwrap_err();
    assert_eq!(behind, Broken::RolledBack(at(19), at(20)));
    assert!(state.vault(vault_id()).is_some());
    replica.event(welcome(20, true), NOW).unwrap();
    let other_epoch = Echo { epoch: 2, nonce: 1 }.into();
    assert!(replica.event(other_epoch, NOW).is_err());
}

struct Echo {
    epoch: u64,
    nonce: u64,
}

impl From<Echo> for v1::FollowEvent {
    fn from(echo: Echo) -> Self {
        event(Event::Echo(v1::Echo {
            nonce: echo.nonce,
            revision: Some(
                Revision {
                    epoch: echo.epoch,
                    n: 30,
                }
                .into(),
            ),
            gateways: 0,
            at_micros: 0,
        }))
    }
}

#[test]
fn an_echo_confirms_the_lease_and_moves_the_resume_point() {
    let (state, mut replica) = welcomed();
    let staleness = std::time::Duration::from_secs(30);
    assert!(!state.lease_holds(staleness));
    replica.beat();
    replica
        .event(Echo { epoch: 1, nonce: 1 }.into(), NOW)
        .unwrap();
    assert!(state.lease_holds(staleness));
    assert_eq!(replica.position(), Some(at(30)));
    replica.take_outgoing();
    replica.acknowledge();
    replica.acknowledge();
    assert_eq!(replica.take_outgoing().len(), 1);
}

fn said(replica: &mut Replica) -> Option<u64> {
    replica.acknowledge();
    let sent = replica.take_outgoing().into_iter();
    sent.filter_map(|sent| match sent.message {
        Some(Message::Acknowledge(acknowledge)) => acknowledge.revision.map(|at| at.n),
        _ => None,
    })
    .next_back()
}

fn resumes(replica: &Replica) -> (Option<u64>, Vec<Vec<u8>>) {
    match replica.hello(&[]).message {
        Some(Message::Hello(hello)) => (hello.resume.map(|at| at.n), hello.tenants),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_acknowledged_before_all_that_a_stream_begins_with_has_come() {
    let (state, mut replica) = welcomed();
    let echo = |nonce| Echo { epoch: 1, nonce }.into();
    let all = vec![tenant_id().to_bytes()];
    assert_eq!(said(&mut replica), None);
    replica.event(echo(1), NOW).unwrap();
    assert_eq!(said(&mut replica), Some(30));
    assert_eq!(resumes(&replica), (Some(30), all.clone()));

    // A resumed stream sends what came since, in order.
    replica.disconnected();
    replica.event(welcome(30, true), NOW).unwrap();
    assert_eq!(said(&mut replica), Some(30));

    // Another one begins with the tenants. If it ends before they came, the next one still names them.
    replica.disconnected();
    replica.event(welcome(30, false), NOW).unwrap();
    assert_eq!(state.tenants(), []);
    assert_eq!(said(&mut replica), None);
    replica.disconnected();
    assert_eq!(resumes(&replica), (None, all.clone()));
    replica.event(welcome(30, false), NOW).unwrap();
    replica
        .event(changed(30, Object::Tenant(tenant())), NOW)
        .unwrap();
    assert_eq!(said(&mut replica), None);
    replica.event(echo(2), NOW).unwrap();
    assert_eq!(said(&mut replica), Some(30));
    assert_eq!(resumes(&replica), (Some(30), all));
}

#[test]
fn a_release_is_prolonged_by_a_later_token_and_ends_without_one() {
    let (state, mut replica) = with_vault(NOW + 100);
    replica.tick(NOW);
    assert!(subscriptions(&mut replica).is_empty());
    replica.offer(vault_id(), ticket(2, NOW + 1_000));
    replica.tick(NOW);
    assert_eq!(subscriptions(&mut replica), [("2".into(), true)]);
    replica.tick(NOW + 999);
    assert!(state.vault(vault_id()).is_some());
    replica.tick(NOW + 1_000);
    assert!(state.vault(vault_id()).is_none());
    assert!(matches!(
        replica.take_outgoing().pop().unwrap().message,
        Some(Message::Unsubscribe(_))
    ));
}

#[test]
fn a_refused_prolonging_leaves_the_vault_until_its_release_ends() {
    let (state, mut replica) = with_vault(NOW + 100);
    replica.offer(vault_id(), ticket(2, NOW + 1_000));
    replica.tick(NOW);
    assert_eq!(subscriptions(&mut replica), [("2".into(), true)]);
    let kept = Event::VaultRefused(v1::VaultRefused {
        vault_id: vault_id().to_bytes(),
        code: "session_revoked".into(),
        held: true,
    });
    replica.event(event(kept), NOW).unwrap();
    assert!(state.vault(vault_id()).is_some());
    // The refused token is not shown again; another one is.
    replica.tick(NOW);
    assert!(subscriptions(&mut replica).is_empty());
    replica.offer(vault_id(), ticket(3, NOW + 500));
    replica.tick(NOW);
    assert_eq!(subscriptions(&mut replica), [("3".into(), true)]);
    replica.event(refused("vault_disabled"), NOW).unwrap();
    assert!(state.vault(vault_id()).is_none());
}

#[test]
fn without_a_better_token_the_release_ends_when_it_would_have() {
    let (state, mut replica) = with_vault(NOW + 100);
    replica.offer(vault_id(), ticket(2, NOW + 1_000));
    replica.tick(NOW);
    let kept = Event::VaultRefused(v1::VaultRefused {
        vault_id: vault_id().to_bytes(),
        code: "session_revoked".into(),
        held: true,
    });
    replica.event(event(kept), NOW).unwrap();
    replica.tick(NOW + 99);
    assert!(state.vault(vault_id()).is_some());
    replica.tick(NOW + 100);
    assert!(state.vault(vault_id()).is_none());
}

#[test]
fn a_vault_that_nobody_uses_is_dropped_and_one_in_use_is_not() {
    let (state, mut replica) = with_vault(NOW + 100_000);
    for _ in 0..IDLE_TICKS {
        replica.tick(NOW);
    }
    assert!(state.vault(vault_id()).is_some());
    for _ in 0..=IDLE_TICKS {
        replica.tick(NOW);
    }
    assert_eq!(replica.vault_count(), 1, "it was used a moment ago");
    for _ in 0..=IDLE_TICKS {
        replica.tick(NOW);
    }
    assert!(state.vault(vault_id()).is_none());
}

#[test]
fn a_revocation_outlives_its_end_by_more_than_clocks_differ() {
    let state = State::new();
    let claims = claims();
    state.set_epoch(claims.epoch);
    state.revoke([Revocation {
        tenant: claims.tenant,
        subject: RevokedSubject::Session(claims.session),
        expires_at: NOW,
    }]);
    state.expire_revocations(NOW + 500);
    assert!(state.revoked(&claims));
    state.expire_revocations(NOW + 700);
    assert!(!state.revoked(&claims));
}

#[test]
fn a_deleted_vault_is_forgotten() {
    let (state, mut replica) = with_vault(NOW + 600);
    let tombstone = Object::Tombstone(Tombstone::Vault(vault_id()));
    replica.event(changed(11, tombstone), NOW).unwrap();
    assert!(state.vault(vault_id()).is_none());
}

#[test]
fn a_token_is_refused_by_each_of_its_subjects_and_a_later_epoch() {
    let ancestor = SessionId::from(Uuid::from_u128(10));
    let subjects = [
        RevokedSubject::Session(claims().session),
        RevokedSubject::Agent(claims().agent, 2),
        RevokedSubject::Vault(vault_id(), 2),
        RevokedSubject::Tenant(2),
        RevokedSubject::User("ada".into(), 2),
        RevokedSubject::Parent(SessionId::from(Uuid::from_u128(9)), 2),
        RevokedSubject::Parent(ancestor, 2),
    ];
    for subject in subjects {
        let (state, mut replica) = with_vault(NOW + 600);
        assert!(!state.revoked(&claims()));
        let woken = state.revocations();
        let before = state.revocation_version();
        let revocation = Revocation {
            tenant: tenant_id(),
            subject: subject.clone(),
            expires_at: NOW + 600,
        };
        replica
            .event(changed(11, Object::Revocation(revocation)), NOW)
            .unwrap();
        assert!(state.revoked(&claims()), "{subject:?}");
        assert!(state.revocation_version() > before && woken.has_changed().unwrap());
    }
    let (state, mut replica) = with_vault(NOW + 600);
    let raised = Vault {
        generation: 2,
        version: 2,
        ..vault(vault_id())
    };
    replica
        .event(changed(11, Object::Vault(raised)), NOW)
        .unwrap();
    assert!(state.revoked(&claims()));
    let (state, _) = with_vault(NOW + 600);
    assert!(state.revoked(&Claims {
        epoch: 2,
        ..claims()
    }));
}

#[test]
fn a_subject_that_is_another_or_was_revoked_before_refuses_nothing() {
    let (state, _) = with_vault(NOW + 600);
    let revoke = |subject: RevokedSubject| {
        state.revoke([Revocation {
            tenant: tenant_id(),
            subject,
            expires_at: NOW + 600,
        }]);
    };
    for subject in [
        RevokedSubject::User("grace".into(), 9),
        RevokedSubject::Parent(claims().session, 9),
        // What the token carries is not below it: it was minted behind the revocation.
        RevokedSubject::User("ada".into(), 1),
        RevokedSubject::Parent(SessionId::from(Uuid::from_u128(9)), 1),
    ] {
        revoke(subject.clone());
        assert!(!state.revoked(&claims()), "{subject:?}");
    }
    // Without a user and a parent there is nothing to compare.
    revoke(RevokedSubject::User("ada".into(), 2));
    let nobody = Claims {
        user: None,
        parent: None,
        ancestors: Vec::new(),
        subjects_generation: 0,
        ..claims()
    };
    assert!(state.revoked(&claims()) && !state.revoked(&nobody));
}

#[test]
fn the_use_of_a_credential_ends_with_the_version_that_was_revoked() {
    let (state, mut replica) = with_vault(NOW + 600);
    let id = credential(1, 1).id;
    let put = Object::Credential(credential(1, 2));
    replica.event(changed(11, put), NOW).unwrap();
    assert!(!state.use_ended(tenant_id(), &[(id, 2)]));
    let revoked = Credential {
        sealed: None,
        ..credential(1, 2)
    };
    let object = Object::Credential(revoked);
    replica.event(changed(12, object), NOW).unwrap();
    let of = |state: &State| state.vault(vault_id()).unwrap().credentials["C1"].clone();
    assert!(of(&state).sealed.is_none());
    let woken = state.revocations();
    let revocation = Revocation {
        tenant: tenant_id(),
        subject: RevokedSubject::Credential(id, 2),
        expires_at: NOW + 600,
    };
    replica
        .event(changed(13, Object::Revocation(revocation)), NOW)
        .unwrap();
    assert!(woken.has_changed().unwrap());
    for (version, ended) in [(1, true), (2, true), (3, false)] {
        assert_eq!(state.use_ended(tenant_id(), &[(id, version)]), ended);
    }
    assert!(!state.revoked(&claims()), "no session is covered");
    // The version that was revoked does not come back; the next one does.
    let late = Object::Credential(credential(1, 2));
    replica.event(changed(14, late), NOW).unwrap();
    assert!(of(&state).sealed.is_none());
    let next = Object::Credential(credential(1, 3));
    replica.event(changed(15, next), NOW).unwrap();
    assert!(of(&state).sealed.is_some());
}

#[test]
fn the_pool_changes_with_credentials_and_not_with_services() {
    let (state, mut replica) = with_vault(NOW + 600);
    let pool = |state: &State| state.vault(vault_id()).unwrap().pool;
    let first = pool(&state);
    replica
        .event(changed(11, Object::Service(service(1, 1))), NOW)
        .unwrap();
    assert_eq!(pool(&state), first);
    replica
        .event(changed(12, Object::Credential(credential(1, 1))), NOW)
        .unwrap();
    assert!(pool(&state) > first);
}

/// What happens next between a database, control's stream and this node.
#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Delete(u8),
    Deliver,
    Again(u8),
    TakeSnapshot,
    DeliverSnapshot,
    Reconnect(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..12).prop_map(Step::Put),
        2 => (0_u8..12).prop_map(Step::Delete),
        6 => Just(Step::Deliver),
        2 => any::<u8>().prop_map(Step::Again),
        2 => Just(Step::TakeSnapshot),
        2 => Just(Step::DeliverSnapshot),
        1 => any::<bool>().prop_map(Step::Reconnect),
    ];
    proptest::collection::vec(step, 0..120)
}

/// The database and control, as far as this node can tell.
#[derive(Default)]
struct Control {
    objects: BTreeMap<u8, Object>,
    changes: Vec<Change>,
    sent: usize,
    snapshot: Option<v1::FollowEvent>,
    asked: bool,
}

impl Control {
    fn n(&self) -> u64 {
        10 + u64::try_from(self.changes.len()).unwrap()
    }

    fn commit(&mut self, object: Object) {
        let revision = at(self.n() + 1);
        self.changes.push(Change { revision, object });
    }

    fn put(&mut self, n: u8) {
        let version = self.n();
        let object = match n % 3 {
            0 => Object::Service(service(n, version)),
            1 => Object::Credential(credential(n, version)),
            _ => Object::Grant(grant(n, version)),
        };
        self.objects.insert(n, object.clone());
        self.commit(object);
    }

    fn delete(&mut self, n: u8) {
        let tombstone = match self.objects.remove(&n) {
            Some(Object::Service(service)) => Tombstone::Service(vault_id(), service.id),
            Some(Object::Credential(credential)) => {
                Tombstone::Credential(vault_id(), credential.id)
            }
            Some(Object::Grant(grant)) => Tombstone::Grant(vault_id(), grant.agent),
            None => return,
            Some(other) => panic!("{other:?} is never made"),
        };
        self.commit(Object::Tombstone(tombstone));
    }

    fn take_snapshot(&mut self) {
        let mut snapshot = Snapshot {
            revision: at(self.n()),
            vault: vault(vault_id()),
            services: Vec::new(),
            credentials: Vec::new(),
            grants: Vec::new(),
            data_keys: Vec::new(),
        };
        for object in self.objects.values() {
            match object {
                Object::Service(service) => snapshot.services.push(Arc::clone(service)),
                Object::Credential(credential) => snapshot.credentials.push(credential.clone()),
                Object::Grant(grant) => snapshot.grants.push(grant.clone()),
                other => panic!("{other:?} is never made"),
            }
        }
        self.asked = false;
        self.snapshot = Some(event(Event::Vault((&snapshot).into())));
    }

    fn deliver(&mut self, replica: &mut Replica) {
        if let Some(change) = self.changes.get(self.sent) {
            replica
                .event(event(Event::Change(change.into())), NOW)
                .unwrap();
            self.sent += 1;
        }
    }

    fn step(&mut self, step: &Step, replica: &mut Replica) {
        match step {
            Step::Put(n) => self.put(*n),
            Step::Delete(n) => self.delete(*n),
            Step::Deliver => self.deliver(replica),
            Step::Again(n) => {
                let again = usize::from(*n) % self.sent.max(1);
                if let Some(change) = self.changes[..self.sent].get(again) {
                    replica
                        .event(event(Event::Change(change.into())), NOW)
                        .unwrap();
                }
            }
            Step::TakeSnapshot if self.asked => self.take_snapshot(),
            Step::TakeSnapshot => {}
            Step::DeliverSnapshot => {
                if let Some(snapshot) = self.snapshot.take() {
                    replica.event(snapshot, NOW).unwrap();
                }
            }
            Step::Reconnect(resumed) => {
                replica.disconnected();
                self.snapshot = None;
                // What was committed meanwhile is not sent: this stream has no subscription yet.
                self.sent = self.changes.len();
                replica.event(welcome(self.n(), *resumed), NOW).unwrap();
                self.asked = !subscriptions(replica).is_empty();
                assert!(self.asked);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_interleaving_ends_in_the_databases_state(steps in steps()) {
        let state = State::new();
        let mut replica = Replica::new(state.clone());
        let mut control = Control { asked: true, ..Control::default() };
        replica.event(welcome(10, false), NOW).unwrap();
        let (answer, _answered) = oneshot::channel();
        replica.want(vault_id(), ticket(1, NOW + 600), answer);
        for step in &steps {
            control.step(step, &mut replica);
        }
        control.step(&Step::TakeSnapshot, &mut replica);
        control.step(&Step::DeliverSnapshot, &mut replica);
        while control.sent < control.changes.len() {
            control.deliver(&mut replica);
        }
        let whole = replica.vaults[&vault_id()].whole.as_ref().unwrap();
        prop_assert!(Arc::ptr_eq(&whole.state, &state.vault(vault_id()).unwrap()));
        let mut held = BTreeMap::new();
        for service in &whole.services {
            held.insert(service.name.clone(), service.version);
        }
        for (name, credential) in &whole.state.credentials {
            held.insert(name.clone(), u64::from(credential.version));
        }
        for grant in whole.state.grants.values() {
            held.insert(format!("{:?}", grant.agent), grant.version);
        }
        let wanted: BTreeMap<_, _> = control
            .objects
            .values()
            .map(|object| match object {
                Object::Service(service) => (service.name.clone(), service.version),
                Object::Credential(held) => (held.name.clone(), u64::from(held.version)),
                Object::Grant(grant) => (format!("{:?}", grant.agent), grant.version),
                other => panic!("{other:?} is never made"),
            })
            .collect();
        prop_assert_eq!(held, wanted);
    }
}
