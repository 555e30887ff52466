//! One simulated gateway: what its follow service says and when, and nothing behind it.
//!
//! **Invariant.** It acknowledges a revision once everything up to there has come, and not before all that a stream
//! begins with has: as a gateway does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::FutureExt as _;
use rand::Rng as _;
use sortie_proto::capability;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_client::FeedClient;
use sortie_proto::wire::v1::follow_event::Event;
use sortie_proto::wire::v1::follow_request::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::board::{Board, Seen};
use super::enrol::Enrolled;

const TICK: Duration = Duration::from_secs(1);
/// How long control may be silent.
const SILENCE: Duration = Duration::from_secs(15);
/// The bounds of the wait before the next stream; the wait itself is random below a limit that doubles.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(20));
/// The most events that are taken before they are acknowledged together.
const EVENTS_MAX: usize = 256;
/// The most messages that wait to be sent.
const OUTGOING_MAX: usize = 1024;
/// The largest event.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A vault that a node holds, and the session that it shows for it.
#[derive(Clone)]
pub struct Holds {
    /// The vault's id, as on the wire.
    pub vault: Vec<u8>,
    /// A session's token.
    pub token: Arc<str>,
}

impl std::fmt::Debug for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holds")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

/// A simulated gateway.
#[derive(Debug)]
pub struct Node {
    index: usize,
    enrolled: Enrolled,
    boot: [u8; 16],
    holds: Vec<Holds>,
    tenants: Vec<Vec<u8>>,
    position: Option<Revision>,
    acknowledged: Option<Revision>,
    whole: bool,
    /// Vaults of the stream that is open, and whether their snapshot has come.
    held: HashMap<Vec<u8>, bool>,
    missing: usize,
    nonce: u64,
}

impl Node {
    /// One that holds vaults.
    #[must_use]
    pub fn new(index: usize, enrolled: Enrolled, holds: Vec<Holds>) -> Self {
        Self {
            index,
            enrolled,
            boot: rand::rng().random(),
            holds,
            tenants: Vec::new(),
            position: None,
            acknowledged: None,
            whole: false,
            held: HashMap::new(),
            missing: 0,
            nonce: 0,
        }
    }

    /// How many vaults it holds.
    #[must_use]
    pub fn vaults(&self) -> usize {
        self.holds.len()
    }

    /// Follows control for ever; opens a stream again whenever one ends.
    pub async fn follow(mut self, board: Arc<Board>) {
        let mut limit = BACKOFF.0;
        loop {
            let ended = Box::pin(self.stream(&board)).await;
            board.synced(self.index, false);
            if ended.is_err() {
                board.broke();
            }
            if self.whole {
                limit = BACKOFF.0;
            }
            let wait = rand::rng().random_range(Duration::ZERO..=limit);
            limit = limit.saturating_mul(2).min(BACKOFF.1);
            sleep(wait).await;
        }
    }

    async fn stream(&mut self, board: &Board) -> Result<()> {
        let mut client = FeedClient::new(self.enrolled.connect().await?)
            .max_decoding_message_size(EVENT_BYTES_MAX);
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        outgoing.send(self.hello()).await?;
        let mut events = client
            .follow(ReceiverStream::new(messages))
            .await?
            .into_inner();
        self.acknowledged = None;
        let mut welcomed = false;
        let mut heard = Instant::now();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut say = Vec::new();
            tokio::select! {
                event = events.message() => {
                    heard = Instant::now();
                    let event = event?.context("control ended the stream")?;
                    welcomed |= self.take(event, &mut events, (board, &mut say))?;
                }
                _ = ticks.tick() => {
                    if heard.elapsed() > SILENCE {
                        bail!("control is silent");
                    }
                    if welcomed {
                        self.nonce += 1;
                        say.push(Message::Beat(v1::Beat { nonce: self.nonce }));
                    }
                }
            }
            for message in say {
                outgoing.send(request(message)).await?;
            }
        }
    }

    fn hello(&self) -> v1::FollowRequest {
        request(Message::Hello(v1::Hello {
            resume: self.position.filter(|_| self.whole).map(Into::into),
            version: concat!("loadtest-", env!("CARGO_PKG_VERSION")).to_owned(),
            boot_id: self.boot.to_vec(),
            capabilities: capability::ALL.map(Into::into).to_vec(),
            tenants: self.tenants.clone(),
        }))
    }

    /// Takes an event and those that are there already, and acknowledges them together. Answers whether a welcome was
    /// among them.
    fn take(
        &mut self,
        first: v1::FollowEvent,
        events: &mut Streaming<v1::FollowEvent>,
        (board, say): (&Board, &mut Vec<Message>),
    ) -> Result<bool> {
        let mut changes = Vec::new();
        let mut welcomed = self.event(first, board, say, &mut changes)?;
        for _ in 0..EVENTS_MAX {
            let Some(event) = events.message().now_or_never() else {
                break;
            };
            let event = event?.context("control ended the stream")?;
            welcomed |= self.event(event, board, say, &mut changes)?;
        }
        self.acknowledge(say);
        let at = Instant::now();
        for revision in changes {
            board.saw(Seen {
                node: self.index,
                revision,
                at,
            });
        }
        board.synced(self.index, self.whole && self.missing == 0);
        Ok(welcomed)
    }

    /// Takes an event. Answers whether it is the welcome.
    fn event(
        &mut self,
        event: v1::FollowEvent,
        board: &Board,
        say: &mut Vec<Message>,
        changes: &mut Vec<Revision>,
    ) -> Result<bool> {
        match event.event.context("an event without content")? {
            Event::Welcome(welcome) => {
                self.welcome(&welcome, say)?;
                return Ok(true);
            }
            Event::Change(change) => {
                let revision = change.revision.context("a change without a revision")?;
                changes.push(revision.into());
                self.position = self.position.max(Some(revision.into()));
            }
            Event::Tenant(tenant) => {
                let id = tenant.tenant.context("no tenant")?.id;
                if !self.tenants.contains(&id) {
                    self.tenants.push(id);
                }
            }
            Event::EncodedVault(vault) => self.has(&vault.vault_id),
            Event::Vault(snapshot) => self.has(&snapshot.vault.context("no vault")?.id),
            Event::VaultRefused(refused) => {
                board.was_refused();
                self.has(&refused.vault_id);
            }
            Event::Echo(echo) => {
                let revision = echo.revision.context("an echo without a revision")?;
                self.position = self.position.max(Some(revision.into()));
                self.whole = true;
            }
        }
        Ok(false)
    }

    fn acknowledge(&mut self, say: &mut Vec<Message>) {
        if self.whole && self.position > self.acknowledged {
            self.acknowledged = self.position;
            let revision = self.position.map(Into::into);
            say.push(Message::Acknowledge(v1::Acknowledge { revision }));
        }
    }

    fn welcome(&mut self, welcome: &v1::Welcome, say: &mut Vec<Message>) -> Result<()> {
        let revision: Revision = welcome
            .revision
            .context("a welcome without a revision")?
            .into();
        if !welcome.resumed {
            self.whole = false;
            self.position = Some(revision);
        }
        self.position = self.position.or(Some(revision));
        self.missing = 0;
        for held in &self.holds {
            // What a stream that goes on has brought already is not asked for again, as a gateway does.
            let has = welcome.resumed && self.held.get(&held.vault) == Some(&true);
            self.held.insert(held.vault.clone(), has);
            self.missing += usize::from(!has);
            say.push(Message::Subscribe(v1::Subscribe {
                vault_id: held.vault.clone(),
                session_token: held.token.to_string(),
                have: self.position.filter(|_| has).map(Into::into),
            }));
        }
        Ok(())
    }

    fn has(&mut self, vault: &[u8]) {
        if let Some(has) = self.held.get_mut(vault)
            && !std::mem::replace(has, true)
        {
            self.missing = self.missing.saturating_sub(1);
        }
    }
}

fn request(message: Message) -> v1::FollowRequest {
    v1::FollowRequest {
        message: Some(message),
    }
}
