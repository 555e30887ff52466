//! The way to control's audit log: the node's own mutual TLS, opened again whenever a call failed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::journal_client::JournalClient;
use tonic::transport::Channel;

use super::ship::Transport;
use crate::snapshot::identity::Identity;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// The way to control's audit log over the node's own connection.
#[derive(Debug)]
pub struct AuditLink {
    identity: Arc<Identity>,
    channel: Mutex<Option<Channel>>,
}

impl AuditLink {
    /// A link that connects on first use.
    #[must_use]
    pub const fn new(identity: Arc<Identity>) -> Self {
        Self {
            identity,
            channel: Mutex::new(None),
        }
    }
}

#[async_trait]
impl Transport for AuditLink {
    async fn ship(&self, request: v1::ShipRequest) -> Result<v1::ShipResponse, tonic::Status> {
        let kept = self.channel.lock().take();
        let channel = match kept {
            Some(channel) => channel,
            None => self.identity.connect().await.map_err(|error| {
                let mut status = tonic::Status::unavailable("no connection to control");
                status.set_source(Arc::new(error));
                status
            })?,
        };
        let mut client = JournalClient::new(channel.clone());
        let answer = tokio::time::timeout(CALL, client.ship(request)).await;
        let answer = answer.or(Err(tonic::Status::deadline_exceeded("control is slow")))??;
        // Kept only while it works: after a failure the next call connects anew, with the newest certificate.
        *self.channel.lock() = Some(channel);
        Ok(answer.into_inner())
    }
}
