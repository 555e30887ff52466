use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Duration;

use sortie_proto::id::BootId;
use sortie_proto::service::{Intercept, Service};
use sortie_proto::token::Claims;
use sortie_proto::wire::v1;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::client::base::Base;
use crate::client::leaf;
use crate::client::transport::Tunnel;
use crate::decision::limit;
use crate::exchange::{credential, peer};
use crate::fixture;
use crate::journal;
use crate::reply::Place;
use crate::snapshot::whereabouts::Whereabouts;

/// Stages with one vault in memory, and a session that may use it.
struct Setup {
    stages: Stages,
    claims: Claims,
    /// Removed with it.
    _folder: TempDir,
}

fn peers() -> Peers {
    Peers::new(
        peer::Config {
            hosts: [].into(),
            own: vec![],
            deny: vec![],
            dns_timeout: Duration::from_secs(1),
            dns_cache_max: 8,
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            h2_window: 65_535,
        },
        Arc::new(Whereabouts::new("control.test:7301".to_owned(), [])),
    )
}

impl Setup {
    fn new(services: Vec<Service>) -> Self {
        let folder = TempDir::new().unwrap();
        let registry = prometheus::Registry::new();
        let tenant = fixture::tenant();
        let mut vault = fixture::vault(&tenant, services);
        vault.grants.clear();
        let mut claims = fixture::session(&mut vault);
        claims.exp = i64::MAX;
        if let Some(grant) = vault.grants.get_mut(&claims.agent) {
            grant.expires_at = None;
        }
        let state = State::new();
        state.set_epoch(claims.epoch);
        state.put_tenant(tenant);
        state.put_vault(Arc::new(vault));
        let nonce = state.lease().beat();
        state.lease().echo(nonce);
        let one = NonZeroU32::new(8).unwrap();
        let journal = journal::Config {
            path: folder.path().to_path_buf(),
            segment_bytes: 1024 * 1024,
            bytes_max: 8 * 1024 * 1024,
            sync_interval: Duration::from_millis(5),
            completions_max: 64,
            tunnels_unrecorded: true,
        };
        let leaves = leaf::Config {
            leaves_max: 8,
            tenants_max: 8,
            renew_after: Duration::from_secs(60),
        };
        let metrics = Metrics::new(&registry).unwrap();
        let minted = metrics.leaves_minted.clone();
        let link = Link::for_test(state.clone());
        let stages = Stages {
            leaves: Arc::new(Leaves::new(&leaves, link.clone(), minted)),
            link,
            state,
            credentials: Credentials::new(&credential::Config {
                open_max: 8,
                idle: Duration::from_secs(1),
            }),
            peers: peers(),
            limits: limit::fixture::limits(one, one),
            pressure: Pressure::default(),
            journal: Arc::new(Journal::open(journal, BootId::generate(), &registry).unwrap()),
            metrics,
        };
        Self {
            stages,
            claims,
            _folder: folder,
        }
    }

    fn inbound(&self, url: &str) -> Inbound {
        Inbound {
            caller: Caller::for_test(self.claims.clone()),
            target: fixture::target(url).0,
            tunnelled: true,
            agreed: true,
            known: true,
            refused: None,
            lease: Arc::default(),
            base: None,
            origin: OnceLock::new(),
        }
    }

    /// Decides about a request, and gives the context back.
    async fn decide(&self, inbound: Inbound, request: &str) -> (Result<Option<Answer>>, Context) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let host = inbound.target.authority();
        let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.unwrap().write_all(head.as_bytes()).await.unwrap();
        let mut tunnel = Tunnel::plain(server.unwrap().0);
        tunnel.attach(Arc::new(inbound));
        let mut session = Session::new_h1(Box::new(tunnel));
        assert!(session.as_downstream_mut().read_request().await.unwrap());
        let mut context = Context::default();
        let decided = self.stages.decide(&session, &mut context).await;
        (decided, context)
    }

    /// The uses that were recorded.
    fn uses(&self) -> Vec<v1::Use> {
        journal::tests::recorded(&self.stages.journal)
    }
}

#[tokio::test]
async fn a_request_to_a_service_is_permitted() {
    let setup = Setup::new(vec![fixture::service("api", "https://a.test/**")]);
    let (decided, context) = setup
        .decide(setup.inbound("https://a.test/"), "GET /x")
        .await;
    decided.unwrap();
    assert!(context.exchange.is_some());
}

#[tokio::test]
async fn a_service_that_was_named_takes_the_request_or_nothing_does() {
    let (api, admin) = (
        fixture::service("api", "https://a.test/**"),
        fixture::service("admin", "https://a.test/admin/**"),
    );
    let id = api.id;
    let setup = Setup::new(vec![api, admin]);
    for (request, expect) in [
        ("GET /x", None),
        ("GET /admin/x", Some(Code::RequestUnmatched)),
    ] {
        let mut inbound = setup.inbound("https://a.test/");
        inbound.tunnelled = false;
        inbound.base = Some(Base {
            service: id,
            prefix: "/r/main/api".to_owned(),
        });
        let (decided, context) = setup.decide(inbound, request).await;
        assert_eq!(decided.err().map(|error| error.code()), expect, "{request}");
        assert_eq!(context.place(), Place::Base);
    }
}

#[tokio::test]
async fn the_gateway_s_own_host_is_answered_here_and_recorded_as_that() {
    // Not even a service for it, or a vault that observes, would let it leave.
    let setup = Setup::new(vec![
        fixture::service("mine", "http://sortie.internal/**"),
        fixture::service("api", "https://a.test/**"),
    ]);
    for (request, expect) in [
        ("GET /skill", None),
        ("HEAD /services", None),
        ("GET /", None),
        ("POST /skill", Some(Code::MethodNotAllowed)),
        ("GET /other", Some(Code::NotFound)),
        // There is no control to ask.
        ("GET /ca.pem", Some(Code::VaultUnavailable)),
    ] {
        let inbound = setup.inbound("http://sortie.internal/");
        let (decided, mut context) = setup.decide(inbound, request).await;
        assert!(context.exchange.is_none(), "{request}");
        match expect {
            None => assert_eq!(decided.unwrap().unwrap().status(), 200, "{request}"),
            Some(code) => {
                assert_eq!(decided.unwrap_err().code(), code, "{request}");
                context.fail(code);
            }
        }
    }
    let outcomes: Vec<_> = setup.uses().iter().map(v1::Use::outcome).collect();
    let (answered, refused) = (v1::Outcome::Answered, v1::Outcome::Refused);
    assert_eq!(
        outcomes,
        [answered, answered, answered, refused, refused, refused]
    );
}

#[tokio::test]
async fn a_long_method_is_refused_and_not_recorded_whole() {
    let setup = Setup::new(vec![fixture::service("api", "https://a.test/**")]);
    let long = "A".repeat(METHOD_BYTES_MAX + 1);
    let inbound = setup.inbound("https://a.test/");
    let (decided, context) = setup.decide(inbound, &format!("{long} /x")).await;
    assert_eq!(decided.unwrap_err().code(), Code::RequestMalformed);
    drop(context);
    let uses = setup.uses();
    assert_eq!(uses.len(), 1);
    assert_eq!(uses[0].method.len(), METHOD_BYTES_MAX);
}

#[tokio::test]
async fn a_tunnel_that_must_pass_untouched_is_never_decrypted_to_forward_requests() {
    let mut never = fixture::service("never", "https://a.test/**");
    never.intercept = Intercept::Never;
    let setup = Setup::new(vec![never, fixture::service("api", "https://b.test/**")]);
    let inbound = setup.inbound("https://a.test/");
    let (decided, context) = setup.decide(inbound, "GET /x").await;
    assert_eq!(decided.unwrap_err().code(), Code::UpstreamConnect);
    assert!(context.exchange.is_none());
    // The reason for which the tunnel was not passed on is the answer to whatever is asked on it.
    for url in ["https://a.test/", "https://b.test/"] {
        let mut inbound = setup.inbound(url);
        inbound.refused = Some(Code::DnsFailed);
        let (decided, context) = setup.decide(inbound, "GET /x").await;
        assert_eq!(decided.unwrap_err().code(), Code::DnsFailed);
        assert!(context.exchange.is_none());
    }
}

#[tokio::test]
async fn a_caller_with_a_wrong_hint_or_source_is_refused_everything_and_recorded() {
    let setup = Setup::new(vec![fixture::service("api", "https://a.test/**")]);
    for code in [Code::VaultMismatch, Code::SourceRefused] {
        let mut inbound = setup.inbound("https://a.test/");
        inbound.caller = inbound.caller.with_wrong(code);
        let (decided, mut context) = setup.decide(inbound, "GET /x").await;
        assert_eq!(decided.unwrap_err().code(), code);
        assert!(context.exchange.is_none());
        context.fail(code);
    }
    let codes: Vec<_> = setup.uses().into_iter().map(|record| record.code).collect();
    assert_eq!(codes, ["vault_mismatch", "source_refused"]);
}
