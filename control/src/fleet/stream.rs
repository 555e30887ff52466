//! One gateway's stream: snapshots and changes out; subscriptions, acknowledgements and nonces in.
//!
//! One task a stream, one message at a time: what a gateway asked before a nonce is answered before that nonce is
//! echoed. A gateway that does not take its events for 30 s is cut off and resumes by revision.

mod dialect;
mod hello;
mod quarantine;
mod refused;

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use prost::Message as _;
use sortie_proto::capability;
use sortie_proto::code::Code;
use sortie_proto::id::{TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::follow_event::Event;
use sortie_proto::wire::v1::follow_request::Message;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tonic::Status;

use self::dialect::Dialect;
use self::hello::{open, readable};
use self::refused::{Refused, is_about_the_token};
use super::admit::Gateway;
use super::lease::Nonces;
use super::release::{id, release};
use super::scope::Scope;
use super::{Fleet, Presence};
use crate::database::{changes, keys};
use crate::error::{Error, Result};
use crate::feed::cache::Encoded;
use crate::feed::read::Subject;

/// How long a gateway may leave its events lying.
const SEND_MAX: Duration = Duration::from_secs(30);
/// How long it may take to say hello.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// How often releases and locks are looked at.
const CHECK: Duration = Duration::from_secs(1);

/// What is sent to a gateway.
pub type Events = mpsc::Sender<Result<v1::FollowEvent, Status>>;

struct Following {
    fleet: Fleet,
    gateway: Gateway,
    events: Events,
    presence: Presence,
    dialect: Dialect,
    scope: Scope,
    nonces: Nonces,
    /// What it last said that it cannot understand.
    quarantined: Vec<v1::QuarantinedObject>,
    /// Everything up to here that is in scope has been sent.
    sent: Revision,
}

/// Serves a gateway until it goes, is cut off or shut out, or the process stops. The last event is the reason, as a
/// status.
pub async fn run(
    fleet: Fleet,
    gateway: Gateway,
    requests: impl Stream<Item = Result<v1::FollowRequest, Status>> + Unpin + Send,
    events: Events,
) {
    let shutdown = fleet.0.tasks.shutdown().clone();
    let last = events.clone();
    let id = gateway.id();
    let ended = tokio::select! {
        () = shutdown.cancelled() => Err(Error::new(Code::Unavailable).because("this replica is stopping")),
        ended = follow(fleet, gateway, requests, events) => ended,
    };
    if let Err(error) = ended {
        error.log("a gateway's stream");
        tracing::info!(gateway.id = %id, code = error.code().name(), "a gateway's stream was ended");
        // The queue may be full of what the gateway does not take: then it learns from the end of the stream alone.
        let _sent = last.try_send(Err(error.to_status()));
    }
}

async fn follow(
    fleet: Fleet,
    gateway: Gateway,
    mut requests: impl Stream<Item = Result<v1::FollowRequest, Status>> + Unpin + Send,
    events: Events,
) -> Result<()> {
    let first = timeout(HELLO_MAX, requests.next())
        .await
        .unwrap_or_default();
    let Some(Message::Hello(hello)) = first
        .and_then(Result::ok)
        .and_then(|request| request.message)
    else {
        return Err(Error::invalid("hello", "must be the first message"));
    };
    let mut following = Following::greet(fleet, gateway, events, hello).await?;
    let mut changed = following.fleet.0.log.follow();
    let mut beats = following.fleet.0.beats.follow();
    let mut check = interval(CHECK);
    loop {
        following.flush().await?;
        tokio::select! {
            request = requests.next() => match request {
                Some(Ok(request)) => following.answer(request).await?,
                Some(Err(_)) | None => return Ok(()),
            },
            Ok(()) = changed.changed() => {}
            Ok(()) = beats.changed() => {
                let beat = *beats.borrow_and_update();
                following.nonces.beaten(beat);
            }
            _ = check.tick() => following.check().await?,
        }
    }
}

impl Following {
    /// Answers the first message: what follows, and from where.
    async fn greet(
        fleet: Fleet,
        gateway: Gateway,
        events: Events,
        hello: v1::Hello,
    ) -> Result<Self> {
        let opening = open(&fleet, &gateway, &hello).await?;
        let resumed = opening.resumed;
        tracing::info!(gateway.id = %gateway.id(), gateway.name = gateway.name(), version = opening.connected.version,
            resumed, "a gateway follows");
        let presence = fleet.join(opening.connected);
        let mut following = Self {
            sent: opening.from,
            fleet,
            gateway,
            events,
            presence,
            dialect: Dialect::of(&hello),
            scope: Scope::default(),
            nonces: Nonces::default(),
            quarantined: Vec::new(),
        };
        following.welcome(&opening.signers, resumed).await?;
        for tenant in opening.tenants {
            if resumed {
                following.resume_tenant(tenant).await?;
            } else if let Err(error) = following.send_tenant(tenant).await {
                // The gateway does without this one, and hears why when it asks for a vault of it.
                if error.code() != Code::ResourceExhausted {
                    return Err(error);
                }
            }
        }
        Ok(following)
    }

    /// Says from where the gateway follows, and by whose signature it knows a session.
    async fn welcome(&mut self, signers: &[keys::StoredSigner], resumed: bool) -> Result<()> {
        self.send(Event::Welcome(v1::Welcome {
            revision: Some(self.sent.into()),
            signing_keys: signers
                .iter()
                .map(|signer| (&signer.verifying).into())
                .collect(),
            capabilities: capability::ALL.map(Into::into).to_vec(),
            resumed,
        }))
        .await
    }

    /// Sends what is new, and the echo that waited for it.
    async fn flush(&mut self) -> Result<()> {
        loop {
            let entries = self.fleet.0.log.after(self.sent).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let change = self.scope.admits(&entry).then_some(&entry.change);
                let dialect = &mut self.dialect;
                if let Some(change) =
                    change.and_then(|change| dialect.change(entry.revision, change))
                {
                    self.send(Event::Change(change)).await?;
                }
                self.sent = entry.revision;
            }
        }
        if self.fleet.is_written_down()
            && let Some(nonce) = self.nonces.echo(self.sent)
        {
            self.send(Event::Echo(v1::Echo {
                nonce,
                revision: Some(self.sent.into()),
                gateways: self.fleet.live(),
                at_micros: self.fleet.0.beats.time(),
            }))
            .await?;
        }
        Ok(())
    }

    async fn answer(&mut self, request: v1::FollowRequest) -> Result<()> {
        self.presence.heard(None);
        match request.message {
            Some(Message::Subscribe(subscribe)) => self.subscribe(subscribe).await,
            Some(Message::Unsubscribe(unsubscribe)) => {
                self.scope.forget(id(&unsubscribe.vault_id, "vault_id")?);
                Ok(())
            }
            Some(Message::Acknowledge(acknowledge)) => {
                // No further than what was sent: a node cannot have enforced what it never had.
                let revision = acknowledge
                    .revision
                    .map(|revision| self.dialect.counts(Revision::from(revision).min(self.sent)));
                self.presence.heard(revision);
                Ok(())
            }
            Some(Message::Report(report)) => {
                self.presence.reported(readable(&report));
                Ok(())
            }
            Some(Message::Beat(beat)) => {
                self.nonces.arrived(beat.nonce, self.fleet.0.beats.begun());
                Ok(())
            }
            Some(Message::Quarantined(said)) => {
                self.take_quarantined(said);
                Ok(())
            }
            Some(Message::Hello(_)) => Err(Error::invalid("hello", "comes once")),
            // A message of a later version: its sender learns nothing false by our silence.
            None => Ok(()),
        }
    }

    async fn subscribe(&mut self, subscribe: v1::Subscribe) -> Result<()> {
        let vault: VaultId = id(&subscribe.vault_id, "vault_id")?;
        let have = subscribe.have.map(Revision::from);
        let prolongs = have.is_some() && self.scope.holds(vault);
        match self
            .serve_vault(vault, &subscribe.session_token, have)
            .await
        {
            Ok(()) => {
                self.fleet
                    .metrics()
                    .releases
                    .with_label_values(&["ok"])
                    .inc();
                Ok(())
            }
            // The stream itself is broken, not this vault.
            Err(Refused::Stream(error)) => Err(error),
            Err(Refused::Vault(error)) => {
                error.log("a subscription");
                let code = error.code().name();
                self.fleet
                    .metrics()
                    .releases
                    .with_label_values(&[code])
                    .inc();
                if prolongs && is_about_the_token(error.code()) {
                    return self.tell_refused(vault, code, true).await;
                }
                self.refuse(vault, code).await
            }
        }
    }

    /// Releases a vault: the tenant first, if it is new to the stream; then the vault, unless the gateway's copy is
    /// current.
    async fn serve_vault(
        &mut self,
        vault: VaultId,
        token: &str,
        have: Option<Revision>,
    ) -> Result<(), Refused> {
        let known = self.scope.holds(vault);
        if !known && self.scope.vaults() >= self.fleet.0.config.vaults_per_gateway {
            return Err(Refused::Vault(Error::new(Code::ResourceExhausted)));
        }
        let release = {
            let _turn = self.fleet.0.admission.turn().await?;
            release(&self.fleet, &self.gateway, vault, token).await?
        };
        if known && have.is_some() {
            self.scope.prolong(&release);
            return Ok(());
        }
        if !self.scope.serves(release.tenant) {
            self.send_tenant(release.tenant).await?;
        }
        if let Some(have) = have
            && self.is_current(vault, have).await?
        {
            self.scope.hold(&release, have);
            return Ok(());
        }
        let snapshots = &self.fleet.0.snapshots;
        let encoded = snapshots.vault(release.tenant, vault).await?;
        self.scope.hold(&release, encoded.revision);
        self.fleet.metrics().snapshots.inc();
        self.send_vault(vault, encoded)
            .await
            .map_err(Refused::Stream)
    }

    async fn send_vault(&self, vault: VaultId, encoded: Encoded) -> Result<()> {
        if self.dialect.takes_encoded() {
            return self
                .send(Event::EncodedVault(v1::EncodedVault {
                    vault_id: vault.to_bytes(),
                    snapshot: encoded.bytes,
                }))
                .await;
        }
        let mut wire = v1::VaultSnapshot::decode(encoded.bytes).map_err(Error::internal)?;
        self.dialect.vault(&mut wire);
        self.send(Event::Vault(wire)).await
    }

    /// Whether nothing about a vault has changed since the gateway's copy. The database is asked only for what lies
    /// further back than memory reaches.
    async fn is_current(&self, vault: VaultId, have: Revision) -> Result<bool> {
        if have <= self.sent
            && let Some(unchanged) = self.fleet.0.log.is_unchanged(Subject::Vault(vault), have)
        {
            return Ok(unchanged);
        }
        let _turn = self.fleet.0.admission.turn().await?;
        let tx = self.fleet.database().snapshot().await?;
        let head = changes::head(&tx).await?;
        let current = have.epoch == head.last.epoch
            && have <= head.last
            && have.n >= head.compacted
            && !changes::vault_changed(&tx, vault, have).await?;
        tx.commit().await?;
        Ok(current)
    }

    async fn send_tenant(&mut self, tenant: TenantId) -> Result<()> {
        let mut state = self.fleet.0.snapshots.tenant(tenant).await?;
        let revision = state.revision.map(Revision::from).unwrap_or_default();
        self.dialect.tenant(revision, &mut state);
        self.scope.serve(tenant, revision);
        self.send(Event::Tenant(state)).await
    }

    /// Goes on with a tenant that the gateway knows up to where it resumes.
    async fn resume_tenant(&mut self, tenant: TenantId) -> Result<()> {
        self.scope.serve(tenant, self.sent);
        if !self.dialect.asks_when_resumed() {
            return Ok(());
        }
        match self.fleet.0.snapshots.tenant(tenant).await {
            Ok(state) => self.dialect.resumed(self.sent, Some(&state)),
            Err(error) if error.code() == Code::ResourceExhausted => {
                self.dialect.resumed(self.sent, None);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends releases whose token has ended, and the stream of a gateway that was shut out.
    async fn check(&mut self) -> Result<()> {
        if self.fleet.is_locked(self.gateway.id()) {
            return Err(Error::new(Code::PermissionDenied).because("this gateway is shut out"));
        }
        for vault in self.scope.ended(Timestamp::now().as_second()) {
            self.refuse(vault, Code::TokenExpired.name()).await?;
        }
        Ok(())
    }

    /// Tells that a vault is not, or no longer, sent: the gateway must not serve it.
    async fn refuse(&mut self, vault: VaultId, code: &str) -> Result<()> {
        self.scope.forget(vault);
        self.tell_refused(vault, code, false).await
    }

    async fn tell_refused(&self, vault: VaultId, code: &str, held: bool) -> Result<()> {
        self.send(Event::VaultRefused(v1::VaultRefused {
            vault_id: vault.to_bytes(),
            code: code.to_owned(),
            held,
        }))
        .await
    }

    async fn send(&self, event: Event) -> Result<()> {
        let event = v1::FollowEvent { event: Some(event) };
        match timeout(SEND_MAX, self.events.send(Ok(event))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(Error::new(Code::Unavailable).because("the gateway is gone")),
            Err(_late) => {
                Err(Error::new(Code::Overloaded).because("the gateway does not take its events"))
            }
        }
    }
}
