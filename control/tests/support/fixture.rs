//! A control plane with one of everything that a gateway needs.

use std::ops::Deref;

use serde_json::json;
use sortie_control::database::changes;
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::id::{AgentId, DecisionId, SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::token::{Claims, VaultClaim};
use sortie_proto::wire::v1;

use super::control::Halted;
use super::{Caller, Control, Following, Gateway};

/// A control plane with the tenant `acme`, its vault `v`, its agent `runner` and a session of that.
pub(crate) struct Fixture {
    control: Control,
    pub(crate) owner: Caller,
    pub(crate) tenant: TenantId,
    pub(crate) vault: VaultId,
    agent: AgentId,
    pub(crate) session: SessionId,
    /// The session's token.
    pub(crate) token: String,
}

impl Deref for Fixture {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let control = Control::start().await;
        let owner = control.vault("acme").await;
        let runner = control.agent(&owner, "runner").await;
        let vault = owner.get("/v1/tenants/-/vaults/v").await.expect(200);
        let agent = owner.get("/v1/tenants/-/agents/runner").await.expect(200);
        let wanted = json!({ "vaults": ["v"] });
        let minted = runner
            .post("/v1/tenants/-/sessions", wanted)
            .await
            .expect(201);
        Self {
            control,
            owner,
            tenant: vault["tenant_id"].as_str().unwrap().parse().unwrap(),
            vault: vault["id"].as_str().unwrap().parse().unwrap(),
            agent: agent["id"].as_str().unwrap().parse().unwrap(),
            session: minted["id"].as_str().unwrap().parse().unwrap(),
            token: minted["token"].as_str().unwrap().to_owned(),
        }
    }

    /// What a token of the session says.
    pub(crate) fn claims(&self) -> Claims {
        let now = jiff::Timestamp::now().as_second();
        Claims {
            epoch: 1,
            tenant: self.tenant,
            tenant_generation: 0,
            session: self.session,
            agent: self.agent,
            agent_generation: 0,
            vaults: vec![VaultClaim {
                id: self.vault,
                name: "v".to_owned(),
                generation: 0,
            }],
            user: None,
            labels: std::collections::BTreeMap::new(),
            parent: None,
            ancestors: Vec::new(),
            subjects_generation: 0,
            scope: vec![],
            source: None,
            iat: now,
            exp: now + 3_600,
        }
    }

    /// A token that says so, signed by the cluster.
    pub(crate) async fn sign(&self, claims: &Claims) -> String {
        let signer = self.state().keys.signer().await.unwrap();
        let token = signer.mint(claims).unwrap();
        String::from_utf8(token.expose().to_vec()).unwrap()
    }

    pub(crate) async fn publish(&self, vault: Option<VaultId>, tombstone: Tombstone) -> Revision {
        let tx = self.database().tenant(self.tenant).await.unwrap();
        changes::publish(&tx, Some(self.tenant), vault, &Object::Tombstone(tombstone))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.state().sequencer.committed().await.unwrap()
    }

    pub(crate) async fn revoke(&self, session: SessionId) -> Revision {
        let revocation = Revocation {
            tenant: self.tenant,
            subject: RevokedSubject::Session(session),
            expires_at: jiff::Timestamp::now().as_second() + 60,
        };
        let tx = self.database().tenant(self.tenant).await.unwrap();
        changes::revoke(&tx, &revocation).await.unwrap();
        tx.commit().await.unwrap();
        self.state().sequencer.committed().await.unwrap()
    }

    /// A gateway that follows and has asked for the vault.
    pub(crate) async fn asks(&self, gateway: &mut Gateway) -> Following {
        let mut stream = gateway.welcomed().await;
        stream.subscribe(self.vault, &self.token, None).await;
        stream
    }

    /// A gateway that follows and has the vault, and what it was given.
    pub(crate) async fn held(&self, gateway: &mut Gateway) -> (Following, v1::VaultSnapshot) {
        let mut stream = self.asks(gateway).await;
        stream.tenant().await;
        let vault = stream.vault().await;
        (stream, vault)
    }

    /// A gateway that follows and has the vault.
    pub(crate) async fn hold(&self, gateway: &mut Gateway) -> Following {
        self.held(gateway).await.0
    }

    /// Records that a gateway has the vault.
    pub(crate) async fn release_to(&self, gateway: &Gateway) {
        let (node, vault) = (gateway.id().uuid(), self.vault.uuid());
        let (tenant, session) = (self.tenant.uuid(), self.session.uuid());
        let sql =
            "INSERT INTO vault_releases (gateway_id, vault_id, tenant_id, session_id, expires_at)";
        self.alter(&format!(
            "{sql} VALUES ('{node}', '{vault}', '{tenant}', '{session}', 0)"
        ))
        .await;
    }

    /// Stops it and keeps what it leaves.
    pub(crate) async fn halt(self) -> Halted {
        self.control.halt().await
    }

    pub(crate) async fn stop(self) {
        self.control.stop().await;
    }
}

/// An hour ago and so many microseconds later.
fn micros(n: u64) -> i64 {
    static BEGUN: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let begun = BEGUN.get_or_init(|| jiff::Timestamp::now().as_microsecond() - 3_600 * 1_000_000);
    begun + i64::try_from(n).unwrap()
}

/// A well-formed record of a use.
pub(crate) fn use_record(fixture: &Fixture, n: u64) -> v1::Record {
    let event = v1::Use {
        decision_id: DecisionId::generate().to_bytes(),
        at_micros: micros(n),
        tenant_id: fixture.tenant.to_bytes(),
        vault_id: fixture.vault.to_bytes(),
        session_id: fixture.session.to_bytes(),
        agent_id: fixture.agent.to_bytes(),
        service: "github".to_owned(),
        credentials: vec![v1::CredentialUse {
            name: "TOKEN".to_owned(),
            version: 2,
        }],
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        host: "api.github.com".to_owned(),
        port: 443,
        path: "/user".to_owned(),
        outcome: v1::Outcome::Brokered.into(),
        ..v1::Use::default()
    };
    v1::Record {
        event: Some(v1::record::Event::Use(event)),
    }
}

/// A well-formed record of a request's end.
pub(crate) fn completion_record(fixture: &Fixture, n: u64) -> v1::Record {
    let event = v1::Completion {
        decision_id: DecisionId::generate().to_bytes(),
        at_micros: micros(n),
        tenant_id: fixture.tenant.to_bytes(),
        status: 200,
        ..v1::Completion::default()
    };
    v1::Record {
        event: Some(v1::record::Event::Completion(event)),
    }
}
