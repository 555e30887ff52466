//! `sortie.v1.Journal`: takes gateways' records in.

use sortie_proto::wire::v1;
use sortie_proto::wire::v1::journal_server::Journal;
use tonic::{Request, Response, Status};

use super::feed::{answer, caller};
use crate::fleet::{Fleet, ingest};

/// The service.
#[derive(Debug, Clone)]
pub struct JournalService {
    fleet: Fleet,
}

impl JournalService {
    /// Over a fleet.
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

#[tonic::async_trait]
impl Journal for JournalService {
    async fn ship(
        &self,
        request: Request<v1::ShipRequest>,
    ) -> Result<Response<v1::ShipResponse>, Status> {
        let _turn = self.fleet.ingest_turn().await?;
        let gateway = caller(&self.fleet, &request).await?;
        answer(
            "taking in a journal",
            ingest::ship(&self.fleet, &gateway, request.into_inner()).await,
        )
    }
}
