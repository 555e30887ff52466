//! A gateway that only speaks: enrols, follows, ships.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use sortie_proto::id::{BootId, GatewayId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_client::FeedClient;
use sortie_proto::wire::v1::follow_event::Event;
use sortie_proto::wire::v1::follow_request::Message;
use sortie_proto::wire::v1::journal_client::JournalClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};

const WAIT: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    address: SocketAddr,
    authority: String,
    token: String,
    channel: Channel,
    identity: Option<Identity>,
    boot: BootId,
    id: [u8; 16],
    capabilities: Vec<String>,
    /// Its own, in DER.
    certificate: Vec<u8>,
}

fn pem(der: &[u8]) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(der)
    )
}

fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .der()
        .to_vec()
}

fn dial(address: SocketAddr, authority: &str, identity: Option<Identity>) -> Channel {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name("localhost");
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    // A refused handshake then shows in the first call, as any other refusal.
    endpoint.tls_config(tls).unwrap().connect_lazy()
}

impl Gateway {
    pub(crate) async fn enrol(address: SocketAddr, join: &str) -> Self {
        let mut gateway = Self::joining(address, join);
        let key = KeyPair::generate().unwrap();
        let answer = gateway.spend(request(&key)).await.unwrap();
        gateway.id = answer.gateway_id.as_slice().try_into().unwrap();
        gateway.certificate.clone_from(&answer.certificate_chain[0]);
        let chain: String = answer
            .certificate_chain
            .iter()
            .map(|der| pem(der))
            .collect();
        gateway.show(Some((chain, &key)));
        gateway
    }

    /// One that holds a join string and no certificate.
    pub(crate) fn joining(address: SocketAddr, join: &str) -> Self {
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let json = URL_SAFE_NO_PAD
            .decode(join.strip_prefix("sortie_join_").unwrap())
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let authority = pem(&STANDARD.decode(json["ca"].as_str().unwrap()).unwrap());
        Self {
            channel: dial(address, &authority, None),
            identity: None,
            token: json["token"].as_str().unwrap().to_owned(),
            boot: BootId::generate(),
            id: [0; 16],
            capabilities: vec![],
            certificate: vec![],
            address,
            authority,
        }
    }

    fn show(&mut self, identity: Option<(String, &KeyPair)>) {
        self.identity = identity.map(|(chain, key)| Identity::from_pem(chain, key.serialize_pem()));
        self.dial(self.address);
    }

    /// Is another process of the same node from now on.
    pub(crate) fn reboot(&mut self) {
        self.boot = BootId::generate();
    }

    /// Speaks to another replica from now on.
    pub(crate) fn dial(&mut self, address: SocketAddr) {
        self.address = address;
        self.channel = dial(address, &self.authority, self.identity.clone());
    }

    async fn spend(&self, certificate_request: Vec<u8>) -> Result<v1::EnrolResponse, Status> {
        let request = v1::EnrolRequest {
            token: self.token.clone(),
            certificate_request,
            name: String::new(),
        };
        Ok(FeedClient::new(self.channel.clone())
            .enrol(request)
            .await?
            .into_inner())
    }

    /// Spends the join token, once more.
    pub(crate) async fn enrol_again(&self) -> Result<v1::EnrolResponse, Status> {
        self.spend(request(&KeyPair::generate().unwrap())).await
    }

    /// Spends it on what is no certificate request.
    pub(crate) async fn enrol_malformed(&self) -> Result<v1::EnrolResponse, Status> {
        let mut tampered = request(&KeyPair::generate().unwrap());
        let last = tampered.len() - 1;
        tampered[last] ^= 1;
        self.spend(tampered).await
    }

    pub(crate) fn forget_certificate(&mut self) {
        self.show(None);
    }

    /// Shows a certificate in its own name that the cluster did not sign.
    pub(crate) fn forge_certificate(&mut self) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, self.id().to_string());
        let forged = params.self_signed(&key).unwrap();
        self.show(Some((pem(forged.der()), &key)));
    }

    /// Says of itself that it is more than the first version.
    pub(crate) fn understands(&mut self, capabilities: &[&str]) {
        self.capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'_> {
        CertificateDer::from_slice(&self.certificate)
    }

    /// The first message of a stream.
    pub(crate) fn hello(&self, resume: Option<Revision>, tenants: &[TenantId]) -> Message {
        Message::Hello(v1::Hello {
            resume: resume.map(Into::into),
            version: "0.0.0-test".to_owned(),
            boot_id: self.boot.to_bytes(),
            capabilities: self.capabilities.clone(),
            tenants: tenants.iter().map(|tenant| tenant.to_bytes()).collect(),
        })
    }

    pub(crate) fn id(&self) -> GatewayId {
        GatewayId::from_bytes(&self.id).unwrap()
    }

    pub(crate) async fn renew(&mut self) -> Result<v1::RenewCertificateResponse, Status> {
        let request = v1::RenewCertificateRequest {
            certificate_request: request(&KeyPair::generate().unwrap()),
        };
        Ok(FeedClient::new(self.channel.clone())
            .renew_certificate(request)
            .await?
            .into_inner())
    }

    pub(crate) async fn sign_intermediate(
        &mut self,
        tenant: TenantId,
        token: &str,
    ) -> Result<v1::SignIntermediateResponse, Status> {
        let request = v1::SignIntermediateRequest {
            tenant_id: tenant.to_bytes(),
            session_token: token.to_owned(),
            certificate_request: request(&KeyPair::generate().unwrap()),
        };
        Ok(FeedClient::new(self.channel.clone())
            .sign_intermediate(request)
            .await?
            .into_inner())
    }

    /// Ships one lane's batch; answers the lane's cursor.
    pub(crate) async fn ship(
        &mut self,
        lane: u32,
        first: u64,
        records: Vec<v1::Record>,
    ) -> Result<u64, Status> {
        let batch = v1::LaneBatch {
            lane,
            first_sequence: first,
            records,
            ..v1::LaneBatch::default()
        };
        self.ship_batch(batch).await
    }

    /// Ships a batch; answers the lane's cursor.
    pub(crate) async fn ship_batch(&mut self, batch: v1::LaneBatch) -> Result<u64, Status> {
        let answer = self.ship_all(v1::ShipRequest {
            lanes: vec![batch],
            ..v1::ShipRequest::default()
        });
        Ok(answer.await?.cursors[0].sequence)
    }

    /// Ships in the name of its boot.
    pub(crate) async fn ship_all(
        &mut self,
        request: v1::ShipRequest,
    ) -> Result<v1::ShipResponse, Status> {
        let request = v1::ShipRequest {
            boot_id: self.boot.to_bytes(),
            ..request
        };
        let mut client = JournalClient::new(self.channel.clone());
        Ok(client.ship(request).await?.into_inner())
    }

    /// Asks how far a lane is, in a call of its own.
    pub(crate) fn shipping(
        &self,
        boot: BootId,
    ) -> impl Future<Output = Result<(), Status>> + Send + 'static {
        let mut client = JournalClient::new(self.channel.clone());
        let request = v1::ShipRequest {
            boot_id: boot.to_bytes(),
            lanes: vec![v1::LaneBatch::default()],
            ..v1::ShipRequest::default()
        };
        async move { client.ship(request).await.map(drop) }
    }

    /// Says that one of its processes is gone.
    pub(crate) async fn ended(&mut self, boot: BootId) {
        let request = v1::ShipRequest {
            boot_id: boot.to_bytes(),
            ended: true,
            ..v1::ShipRequest::default()
        };
        let mut client = JournalClient::new(self.channel.clone());
        client.ship(request).await.unwrap();
    }

    /// Its boot.
    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }

    pub(crate) async fn follow(
        &mut self,
        resume: Option<Revision>,
        tenants: &[TenantId],
    ) -> Following {
        self.try_follow(resume, tenants).await.unwrap()
    }

    /// Follows from the start, and has read the greeting.
    pub(crate) async fn welcomed(&mut self) -> Following {
        let mut stream = self.follow(None, &[]).await;
        stream.welcome().await;
        stream
    }

    pub(crate) async fn try_follow(
        &mut self,
        resume: Option<Revision>,
        tenants: &[TenantId],
    ) -> Result<Following, Status> {
        let hello = self.hello(resume, tenants);
        self.try_hello(hello).await
    }

    /// Opens a stream with that first message.
    pub(crate) async fn follow_with(&mut self, hello: v1::Hello) -> Following {
        self.try_hello(Message::Hello(hello)).await.unwrap()
    }

    async fn try_hello(&mut self, hello: Message) -> Result<Following, Status> {
        let (requests, out) = mpsc::channel(16);
        let hello = v1::FollowRequest {
            message: Some(hello),
        };
        requests.send(hello).await.unwrap();
        let answer = FeedClient::new(self.channel.clone())
            .follow(ReceiverStream::new(out))
            .await?;
        Ok(Following {
            requests,
            events: answer.into_inner(),
        })
    }
}

pub(crate) fn beat(nonce: u64) -> Message {
    Message::Beat(v1::Beat { nonce })
}

pub(crate) struct Following {
    requests: mpsc::Sender<v1::FollowRequest>,
    events: Streaming<v1::FollowEvent>,
}

macro_rules! expected {
    ($($name:ident: $variant:ident -> $type:ty;)*) => {$(
        pub(crate) async fn $name(&mut self) -> $type {
            match self.next().await {
                Event::$variant(found) => found,
                other => panic!("expected {}, not {other:?}", stringify!($name)),
            }
        }
    )*};
}

impl Following {
    expected! {
        welcome: Welcome -> v1::Welcome;
        tenant: Tenant -> v1::TenantState;
        encoded: EncodedVault -> v1::EncodedVault;
        refused: VaultRefused -> v1::VaultRefused;
        change: Change -> v1::Change;
        echo: Echo -> v1::Echo;
    }

    async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(WAIT, self.events.message())
            .await
            .expect("nothing came");
        event.unwrap().expect("the stream ended").event.unwrap()
    }

    /// A vault, in either form.
    pub(crate) async fn vault(&mut self) -> v1::VaultSnapshot {
        match self.next().await {
            Event::Vault(snapshot) => snapshot,
            Event::EncodedVault(encoded) => prost::Message::decode(encoded.snapshot).unwrap(),
            Event::Welcome(_)
            | Event::Tenant(_)
            | Event::VaultRefused(_)
            | Event::Change(_)
            | Event::Echo(_) => panic!("something else than a vault came"),
        }
    }

    /// Nothing has come that was not read yet.
    pub(crate) fn is_silent(&mut self) -> bool {
        futures_util::FutureExt::now_or_never(self.events.message()).is_none()
    }

    /// What became of a subscription: the code of its refusal, or nothing once the vault came.
    pub(crate) async fn refusal(&mut self) -> Option<String> {
        loop {
            match self.next().await {
                Event::VaultRefused(refused) => return Some(refused.code),
                Event::Vault(_) | Event::EncodedVault(_) => return None,
                Event::Welcome(_) | Event::Tenant(_) | Event::Change(_) | Event::Echo(_) => {}
            }
        }
    }

    pub(crate) async fn status(&mut self) -> Code {
        tokio::time::timeout(WAIT, self.events.message())
            .await
            .expect("nothing came")
            .unwrap_err()
            .code()
    }

    /// How the stream ends, which before may refuse vaults and send nothing else.
    pub(crate) async fn status_after_refusals(&mut self) -> Code {
        loop {
            let event = tokio::time::timeout(WAIT, self.events.message())
                .await
                .expect("nothing came");
            match event {
                Ok(Some(event)) => {
                    assert!(
                        matches!(event.event, Some(Event::VaultRefused(_))),
                        "{event:?}"
                    );
                }
                Ok(None) => panic!("the stream ended without a reason"),
                Err(status) => return status.code(),
            }
        }
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.requests
            .send(v1::FollowRequest {
                message: Some(message),
            })
            .await
            .unwrap();
    }

    /// What a later version says that this one has no name for.
    pub(crate) async fn send_unknown(&mut self) {
        let unknown = v1::FollowRequest { message: None };
        self.requests.send(unknown).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, vault: VaultId, token: &str, have: Option<Revision>) {
        self.send(Message::Subscribe(v1::Subscribe {
            vault_id: vault.to_bytes(),
            session_token: token.to_owned(),
            have: have.map(Into::into),
        }))
        .await;
    }

    pub(crate) async fn acknowledge(&mut self, revision: Revision) {
        self.send(Message::Acknowledge(v1::Acknowledge {
            revision: Some(revision.into()),
        }))
        .await;
    }
}
