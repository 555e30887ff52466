//! A gateway that serves nobody: it has enrolled, is given a vault, and ships records over mutual TLS as a gateway does, with
//! the chain over them.

use anyhow::{Context as _, Result, ensure};
use futures_util::stream;
use prost::Message as _;
use sortie_proto::chain::Head;
use sortie_proto::id::{AgentId, BootId, DecisionId, SessionId, TenantId, VaultId};
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_client::FeedClient;
use sortie_proto::wire::v1::follow_event::Event;
use sortie_proto::wire::v1::follow_request::Message;
use sortie_proto::wire::v1::journal_client::JournalClient;
use tonic::transport::Channel;

use crate::fleet::enrol::Enrolled;

/// What the records are about.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Whose.
    pub(super) tenant: TenantId,
    /// What was used.
    pub(super) vault: VaultId,
    /// By which session.
    pub(super) session: SessionId,
    /// Of which agent.
    pub(super) agent: AgentId,
    /// The session's token.
    pub(super) token: String,
}

/// A simulated gateway.
pub(super) struct Node {
    journal: JournalClient<Channel>,
    boot: BootId,
    /// The next sequence, and the head before it.
    at: (u64, Head),
    subject: Subject,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Follows control, and is given the subject's vault: control takes no record of a vault that a node never had.
    ///
    /// # Errors
    /// When control refuses.
    pub(super) async fn follow(enrolled: &Enrolled, subject: Subject) -> Result<Self> {
        let channel = enrolled.connect().await?;
        let boot = BootId::generate();
        follow(&channel, boot, &subject).await?;
        Ok(Self {
            journal: JournalClient::new(channel),
            boot,
            at: (1, Head::of_lane(boot, 0)),
            subject,
        })
    }

    /// Ships a use and a completion for each of so many requests, and waits until they are committed.
    ///
    /// # Errors
    /// When control refuses, or commits something else.
    pub(super) async fn ship(&mut self, requests: u64) -> Result<()> {
        let (first, mut head) = self.at;
        let mut payloads = Vec::new();
        for number in 0..requests {
            let (used, completed) = self.records(first.saturating_add(number));
            for event in [used, completed] {
                let payload = v1::Record { event: Some(event) }.encode_to_vec();
                head = head.then(&payload);
                payloads.push(payload);
            }
        }
        let last = first
            .saturating_add(requests.saturating_mul(2))
            .saturating_sub(1);
        let batch = v1::LaneBatch {
            lane: 0,
            first_sequence: first,
            payloads,
            mark: Some(v1::Mark {
                sequence: last,
                head: head.as_bytes().to_vec(),
            }),
            ..v1::LaneBatch::default()
        };
        let request = v1::ShipRequest {
            boot_id: self.boot.to_bytes(),
            lanes: vec![batch],
            ..v1::ShipRequest::default()
        };
        let answer = self.journal.ship(request).await?.into_inner();
        let cursor = answer.cursors.first().context("no cursor")?;
        ensure!(
            cursor.sequence == last,
            "control has {} of {last}",
            cursor.sequence
        );
        self.at = (last.saturating_add(1), head);
        Ok(())
    }

    /// What a brokered request leaves: the sizes are those of a call to an API.
    fn records(&self, number: u64) -> (v1::record::Event, v1::record::Event) {
        let subject = &self.subject;
        let decision = DecisionId::generate().to_bytes();
        let at = now_micros();
        let used = v1::Use {
            decision_id: decision.clone(),
            at_micros: at,
            tenant_id: subject.tenant.to_bytes(),
            vault_id: subject.vault.to_bytes(),
            session_id: subject.session.to_bytes(),
            agent_id: subject.agent.to_bytes(),
            user: "ada@example.com".to_owned(),
            labels: [("run".to_owned(), "7c1f09".to_owned())].into(),
            service: "github".to_owned(),
            credentials: vec![v1::CredentialUse {
                name: "GITHUB_TOKEN".to_owned(),
                version: 3,
            }],
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            host: "api.github.com".to_owned(),
            port: 443,
            path: format!("/repos/acme/widgets/issues/{number}"),
            outcome: v1::Outcome::Brokered.into(),
            source: "10.1.2.3".to_owned(),
            ..v1::Use::default()
        };
        let completed = v1::Completion {
            decision_id: decision,
            at_micros: at,
            tenant_id: subject.tenant.to_bytes(),
            status: 200,
            request_bytes: 512,
            response_bytes: 4_096,
            duration_micros: 35_000,
            upstream_micros: 34_000,
            ..v1::Completion::default()
        };
        (
            v1::record::Event::Use(used),
            v1::record::Event::Completion(completed),
        )
    }
}

fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// Follows the feed until the vault has come.
async fn follow(channel: &Channel, boot: BootId, subject: &Subject) -> Result<()> {
    let hello = v1::Hello {
        boot_id: boot.to_bytes(),
        version: "loadtest".to_owned(),
        ..v1::Hello::default()
    };
    let subscribe = v1::Subscribe {
        vault_id: subject.vault.to_bytes(),
        session_token: subject.token.clone(),
        have: None,
    };
    let says = [Message::Hello(hello), Message::Subscribe(subscribe)];
    let says = says.map(|message| v1::FollowRequest {
        message: Some(message),
    });
    // It stays open: a stream that its node has ended is ended by control, too.
    let says = futures_util::StreamExt::chain(stream::iter(says), stream::pending());
    let mut events = FeedClient::new(channel.clone())
        .follow(says)
        .await?
        .into_inner();
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Vault(_) | Event::EncodedVault(_)) => return Ok(()),
            Some(Event::VaultRefused(refused)) => {
                anyhow::bail!("the vault is refused: {refused:?}")
            }
            Some(Event::Welcome(_) | Event::Tenant(_) | Event::Change(_) | Event::Echo(_))
            | None => {}
        }
    }
    anyhow::bail!("the stream ended before the vault came")
}
