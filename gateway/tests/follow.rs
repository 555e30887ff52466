//! Joining, following and shipping against a control of the test's own, over real sockets and mutual TLS.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: it owns its tasks, ends with them, and fails by panicking"
)]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use boring::x509::X509Req;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyIdMethod, PublicKeyData,
    SerialNumber, SignatureAlgorithm,
};
use sortie_gateway::journal::ship::Transport;
use sortie_gateway::journal::transport::AuditLink;
use sortie_gateway::p256::P256Key;
use sortie_gateway::snapshot::State;
use sortie_gateway::snapshot::follow::{Config, Follow};
use sortie_gateway::snapshot::identity::{Identity, Join};
use sortie_proto::agent::{Revocation, RevokedSubject};
use sortie_proto::change::{Change, Object};
use sortie_proto::id::{BootId, GatewayId, SessionId, TenantId};
use sortie_proto::revision::Revision;
use sortie_proto::secret::Secret;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::feed_server::{Feed, FeedServer};
use sortie_proto::wire::v1::follow_event::Event;
use sortie_proto::wire::v1::follow_request::Message;
use sortie_proto::wire::v1::journal_server::{Journal, JournalServer};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate, Identity as TlsIdentity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

struct Authority {
    key: P256Key,
    params: CertificateParams,
    der: Vec<u8>,
}

/// A public key out of a certificate request.
struct Requested(Vec<u8>);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.serial_number = Some(SerialNumber::from(9_u64));
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![2; 20]);
    params
}

impl Authority {
    fn new() -> Self {
        let key = P256Key::generate().unwrap();
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test cluster");
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, params, der }
    }

    fn issue(&self, key: &impl PublicKeyData, names: &[&str]) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params(names)
            .signed_by(key, &issuer)
            .unwrap()
            .der()
            .to_vec()
    }

    fn pem(der: &[u8]) -> Vec<u8> {
        boring::x509::X509::from_der(der).unwrap().to_pem().unwrap()
    }
}

#[derive(Clone)]
struct Control {
    authority: Arc<Authority>,
    /// What is sent behind the first echo.
    change: Option<v1::Change>,
    acknowledged: mpsc::UnboundedSender<u64>,
}

fn with_client_certificate<T>(request: &Request<T>) -> Result<(), Status> {
    let certificates = request.peer_certs().filter(|certs| !certs.is_empty());
    certificates
        .map(drop)
        .ok_or_else(|| Status::unauthenticated("no certificate"))
}

type Events = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::FollowEvent, Status>> + Send>>;

#[tonic::async_trait]
impl Feed for Control {
    type FollowStream = Events;

    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        if request.token != "once" {
            return Err(Status::permission_denied("token"));
        }
        let wanted = X509Req::from_der(&request.certificate_request).unwrap();
        let spki = wanted.public_key().unwrap().public_key_to_der().unwrap();
        let point = Requested(spki[spki.len() - 65..].to_vec());
        Ok(Response::new(v1::EnrolResponse {
            gateway_id: GatewayId::generate().to_bytes(),
            certificate_chain: vec![self.authority.issue(&point, &[])],
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        with_client_certificate(&request)?;
        Err(Status::unavailable("later"))
    }

    async fn sign_intermediate(
        &self,
        request: Request<v1::SignIntermediateRequest>,
    ) -> Result<Response<v1::SignIntermediateResponse>, Status> {
        with_client_certificate(&request)?;
        Ok(Response::new(v1::SignIntermediateResponse {
            certificate: request.into_inner().certificate_request,
            root: self.authority.der.clone(),
        }))
    }

    async fn follow(
        &self,
        request: Request<Streaming<v1::FollowRequest>>,
    ) -> Result<Response<Events>, Status> {
        with_client_certificate(&request)?;
        let mut messages = request.into_inner();
        let (events, stream) = mpsc::channel(16);
        let Self {
            mut change,
            acknowledged,
            ..
        } = self.clone();
        tokio::spawn(async move {
            let revision = Some(v1::Revision { epoch: 1, n: 5 });
            while let Ok(Some(message)) = messages.message().await {
                let echoes = matches!(message.message, Some(Message::Beat(_)));
                let event = match message.message {
                    Some(Message::Hello(_)) => Event::Welcome(v1::Welcome {
                        revision,
                        ..v1::Welcome::default()
                    }),
                    Some(Message::Beat(beat)) => Event::Echo(v1::Echo {
                        at_micros: 0,
                        nonce: beat.nonce,
                        revision,
                        gateways: 1,
                    }),
                    Some(Message::Acknowledge(acknowledge)) => {
                        let _gone = acknowledged.send(acknowledge.revision.unwrap().n);
                        continue;
                    }
                    _ => continue,
                };
                let change = change.take_if(|_| echoes).map(Event::Change);
                for event in [event].into_iter().chain(change) {
                    let event = v1::FollowEvent { event: Some(event) };
                    if events.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

#[tonic::async_trait]
impl Journal for Control {
    async fn ship(
        &self,
        request: Request<v1::ShipRequest>,
    ) -> Result<Response<v1::ShipResponse>, Status> {
        with_client_certificate(&request)?;
        Ok(Response::new(v1::ShipResponse::default()))
    }
}

async fn start(authority: &Arc<Authority>) -> String {
    start_with(authority, None).await.0
}

/// Where it listens, and what is acknowledged to it.
async fn start_with(
    authority: &Arc<Authority>,
    change: Option<v1::Change>,
) -> (String, mpsc::UnboundedReceiver<u64>) {
    let key = P256Key::generate().unwrap();
    let server = authority.issue(&key, &["127.0.0.1"]);
    let identity = TlsIdentity::from_pem(Authority::pem(&server), key.to_pem().unwrap().expose());
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(Authority::pem(&authority.der)))
        .client_auth_optional(true);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (acknowledged, heard) = mpsc::unbounded_channel();
    let control = Control {
        authority: Arc::clone(authority),
        change,
        acknowledged,
    };
    let served = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(FeedServer::new(control.clone()))
        .add_service(JournalServer::new(control))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(served);
    (address, heard)
}

fn join(address: &str, authority: &Authority, token: &str) -> Join {
    let json = serde_json::json!({
        "control": address,
        "ca": STANDARD.encode(&authority.der),
        "token": token,
    });
    let text = format!("sortie_join_{}", URL_SAFE_NO_PAD.encode(json.to_string()));
    Join::parse(&Secret::new(text.into_bytes())).unwrap()
}

fn config() -> Config {
    Config {
        requests_max: 16,
        request_timeout: Duration::from_secs(10),
        outgoing_max: 16,
    }
}

#[tokio::test]
async fn a_node_joins_follows_holds_a_lease_and_ships() {
    let authority = Arc::new(Authority::new());
    let address = start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let pinned = join(&address, &authority, "once");
    let identity = Identity::open(folder.path(), "edge-1", Some(&pinned), &[])
        .await
        .unwrap();
    // The token is spent; the files are enough.
    let again = Identity::open(folder.path(), "edge-1", None, &[])
        .await
        .unwrap();
    assert_eq!(again.id(), identity.id());

    let identity = Arc::new(identity);
    let state = State::new();
    let config = config();
    let registry = prometheus::Registry::new();
    let boot = BootId::generate();
    let (follow, link) = Follow::new(
        &config,
        Arc::clone(&identity),
        boot,
        state.clone(),
        &registry,
    )
    .unwrap();
    let mut ready = follow.ready();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(follow.run(stopped));
    ready.wait_for(|ready| *ready).await.unwrap();
    let leased = async {
        while !state.lease_holds(Duration::from_secs(30)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), leased)
        .await
        .unwrap();
    let token = Secret::new(b"sortie_ses_x".to_vec());
    let signed = link
        .sign_intermediate(TenantId::generate(), &token, vec![1, 2])
        .await
        .unwrap();
    assert_eq!(
        (signed.certificate, signed.root),
        (vec![1, 2], authority.der.clone())
    );
    AuditLink::new(identity)
        .ship(v1::ShipRequest::default())
        .await
        .unwrap();
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_node_whose_first_control_is_away_follows_the_second() {
    let authority = Arc::new(Authority::new());
    let address = start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let pinned = join(&address, &authority, "once");
    drop(Identity::open(folder.path(), "edge-1", Some(&pinned), &[]).await);
    // Nobody listens where somebody has just stopped to.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = nobody.local_addr().unwrap().to_string();
    let replicas = [nobody.clone(), address];
    // Each node has an order of its own: one is made that turns to the other first.
    let identity = loop {
        let opened = Identity::open(folder.path(), "edge-1", None, &replicas).await;
        let identity = opened.unwrap();
        if identity.whereabouts().control() == nobody {
            break identity;
        }
    };
    let registry = prometheus::Registry::new();
    let (follow, _link) = Follow::new(
        &config(),
        Arc::new(identity),
        BootId::generate(),
        State::new(),
        &registry,
    )
    .unwrap();
    let mut ready = follow.ready();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(follow.run(stopped));
    let leased = ready.wait_for(|ready| *ready);
    let leased = tokio::time::timeout(Duration::from_secs(30), leased).await;
    assert!(leased.is_ok(), "it never turned to the second");
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn another_authority_is_not_trusted_and_a_spent_token_is_refused() {
    let authority = Arc::new(Authority::new());
    let address = start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    for pinned in [
        join(&address, &Authority::new(), "once"),
        join(&address, &authority, "spent"),
    ] {
        let opened = Identity::open(folder.path(), "edge-1", Some(&pinned), &[]).await;
        assert!(opened.is_err());
        assert!(!folder.path().join("node.crt").exists());
    }
}

#[tokio::test]
async fn a_revocation_is_acknowledged_once_open_connections_are_cut() {
    let authority = Arc::new(Authority::new());
    let revoked = Change {
        revision: Revision { epoch: 1, n: 6 },
        object: Object::Revocation(Revocation {
            tenant: TenantId::generate(),
            subject: RevokedSubject::Session(SessionId::generate()),
            expires_at: i64::MAX,
        }),
    };
    let (address, mut acknowledged) = start_with(&authority, Some((&revoked).into())).await;
    let folder = tempfile::tempdir().unwrap();
    let pinned = join(&address, &authority, "once");
    let identity = Identity::open(folder.path(), "edge-1", Some(&pinned), &[])
        .await
        .unwrap();
    let config = config();
    let state = State::new();
    // Who cuts is there, and has nothing to do.
    let mut revocations = state.revocations();
    let registry = prometheus::Registry::new();
    let (follow, _link) = Follow::new(
        &config,
        Arc::new(identity),
        BootId::generate(),
        state.clone(),
        &registry,
    )
    .unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(follow.run(stopped));
    let within = Duration::from_secs(30);
    tokio::time::timeout(within, revocations.changed())
        .await
        .unwrap()
        .unwrap();
    // It is known, and what is open is not cut. Nothing says otherwise however long one listens; this is a moment.
    let moment = Duration::from_millis(500);
    while let Ok(said) = tokio::time::timeout(moment, acknowledged.recv()).await {
        assert_eq!(said, Some(5));
    }
    state.was_cut(*revocations.borrow_and_update());
    let said = tokio::time::timeout(within, acknowledged.recv()).await;
    assert_eq!(said.unwrap(), Some(6));
    stop.send(true).unwrap();
    running.await.unwrap();
}
