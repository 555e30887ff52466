//! `sortie.v1.Feed`: how gateways join and learn the cluster's state. Mutual TLS for all but `Enrol`.

use std::pin::Pin;

use futures_util::Stream;
use sortie_proto::id::TenantId;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_server::Feed;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::authority;
use crate::database::gateways::{self, Act};
use crate::error::Result;
use crate::fleet::admit::{Gateway, admit};
use crate::fleet::{Fleet, enrol, release, stream};

/// The service.
#[derive(Debug, Clone)]
pub struct FeedService {
    fleet: Fleet,
}

impl FeedService {
    /// Over a fleet.
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    async fn enrol_gateway(&self, request: v1::EnrolRequest) -> Result<v1::EnrolResponse> {
        let tx = self.fleet.database().system().await?;
        let keys = self.fleet.keys();
        let enrolled =
            enrol::enrol(&tx, keys, &request.token, &request.certificate_request).await?;
        tx.commit().await?;
        tracing::info!(gateway.id = %enrolled.gateway, gateway.name = enrolled.name, "a gateway enrolled");
        Ok(v1::EnrolResponse {
            gateway_id: enrolled.gateway.to_bytes(),
            certificate_chain: vec![
                enrolled.certificate.to_vec(),
                keys.authority().certificate().to_vec(),
            ],
        })
    }

    async fn renew(
        &self,
        gateway: &Gateway,
        request: &[u8],
    ) -> Result<v1::RenewCertificateResponse> {
        let key = authority::requested_key(request)?;
        let keys = self.fleet.keys();
        let certificate = keys.authority().sign_gateway(gateway.id(), &key)?;
        let tx = self.fleet.database().system().await?;
        let act = Act {
            gateway: gateway.id(),
            action: "gateway.renew",
            subject: gateway.name().to_owned(),
            tenant: None,
            vault: None,
            session: None,
        };
        gateways::record(&tx, &act).await?;
        tx.commit().await?;
        Ok(v1::RenewCertificateResponse {
            certificate_chain: vec![
                certificate.to_vec(),
                keys.authority().certificate().to_vec(),
            ],
        })
    }

    async fn intermediate(
        &self,
        gateway: &Gateway,
        request: v1::SignIntermediateRequest,
    ) -> Result<v1::SignIntermediateResponse> {
        let tenant: TenantId = release::id(&request.tenant_id, "tenant_id")?;
        let key = authority::requested_key(&request.certificate_request)?;
        let tx = self.fleet.database().system().await?;
        let shown = (tenant, request.session_token.as_str());
        let claims = release::serves(&tx, &self.fleet, gateway, shown).await?;
        let node = (tenant, gateway.id());
        let signed =
            authority::tenant::sign_intermediate(&tx, self.fleet.keys(), node, &key).await?;
        let act = Act {
            gateway: gateway.id(),
            action: "authority.sign",
            subject: gateway.id().to_string(),
            tenant: Some(tenant),
            vault: None,
            session: Some(claims.session),
        };
        gateways::record(&tx, &act).await?;
        tx.commit().await?;
        Ok(v1::SignIntermediateResponse {
            certificate: signed.certificate.to_vec(),
            root: signed.root,
        })
    }
}

/// The gateway that calls; see [`admit`].
pub(super) async fn caller<T>(fleet: &Fleet, request: &Request<T>) -> Result<Gateway> {
    let certificates = request.peer_certs();
    admit(fleet.database(), certificates.as_deref().map(Vec::as_slice)).await
}

/// Logs an error, once, and answers it.
pub(super) fn answer<T>(what: &'static str, result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| {
        error.log(what);
        error.to_status()
    })
}

#[tonic::async_trait]
impl Feed for FeedService {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<v1::FollowEvent, Status>> + Send>>;

    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        answer("enrol", self.enrol_gateway(request.into_inner()).await)
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let gateway = caller(&self.fleet, &request).await?;
        answer(
            "renew",
            self.renew(&gateway, &request.into_inner().certificate_request)
                .await,
        )
    }

    async fn sign_intermediate(
        &self,
        request: Request<v1::SignIntermediateRequest>,
    ) -> Result<Response<v1::SignIntermediateResponse>, Status> {
        let gateway = caller(&self.fleet, &request).await?;
        answer(
            "sign an intermediate",
            self.intermediate(&gateway, request.into_inner()).await,
        )
    }

    async fn follow(
        &self,
        request: Request<Streaming<v1::FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let gateway = caller(&self.fleet, &request).await?;
        let (events, out) = mpsc::channel(self.fleet.queue());
        self.fleet.spawn(stream::run(
            self.fleet.clone(),
            gateway,
            request.into_inner(),
            events,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }
}
