use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use sortie_proto::id::ServiceId;
use sortie_proto::secret::Secret;
use sortie_proto::token::{Claims, SigningKey, VerifyingKey, VerifyingKeys};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

mod ways;

use super::transport::Tunnel;
use super::*;
use crate::fixture;
use crate::snapshot::State;
use crate::snapshot::link::Link;

mod base_url;

/// A proxy that takes down what it is given, and answers nothing.
#[derive(Debug, Default)]
struct Given {
    write_timeouts: Mutex<Vec<Option<Duration>>>,
    /// Whether there is an `Upgrade`, and what was read of the body.
    requests: Mutex<Vec<(bool, Vec<u8>)>>,
    /// The paths of the requests, and what they name as base URL.
    paths: Mutex<Vec<(String, Option<String>)>>,
    /// What the tunnels were opened to say.
    refused: Mutex<Vec<Option<Code>>>,
}

#[async_trait]
impl HttpServerApp for Given {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.write_timeouts.lock().push(session.get_write_timeout());
        assert!(session.read_request().await.unwrap());
        let mut body = Vec::new();
        while let Some(part) = session.read_request_body().await.unwrap() {
            body.extend_from_slice(&part);
        }
        let upgrades = session.req_header().headers.contains_key("upgrade");
        self.requests.lock().push((upgrades, body));
        let digest = session.digest().unwrap().proxy_digest.clone().unwrap();
        let data = digest.user_data.as_ref().unwrap();
        let inbound = data.downcast_ref::<Arc<Inbound>>().unwrap();
        self.refused.lock().push(inbound.refused);
        let prefix = inbound.base.as_ref().map(|base| base.prefix.clone());
        let path = session.req_header().uri.to_string();
        self.paths.lock().push((path, prefix));
        None
    }
}

/// Takes down what is refused.
#[derive(Debug)]
struct Recorder {
    app: Arc<Given>,
    codes: Mutex<Vec<Code>>,
    /// How many tunnels were decided about.
    ways: AtomicU32,
    /// The one service that there is.
    named: ServiceId,
}

#[async_trait]
impl Behind for Recorder {
    type App = Given;

    fn app(&self, _caller: &Caller) -> &Arc<Given> {
        &self.app
    }

    fn refused(&self, refusal: Refusal<'_>) -> DecisionId {
        self.codes.lock().push(refusal.code);
        DecisionId::generate()
    }

    async fn named(&self, _caller: &Caller, service: &str) -> Result<Named> {
        if service != "api" {
            return Err(Code::ServiceUnknown.into());
        }
        Ok(Named {
            service: self.named,
            target: fixture::target("https://a.test/").0,
        })
    }

    async fn way(&self, _caller: &Caller, _target: &Target) -> Result<Way> {
        let _count = self.ways.fetch_add(1, Ordering::Relaxed);
        Ok(Way::Intercept { known: false })
    }
}

fn limits() -> Limits {
    Limits {
        connections_max: 8,
        connections_per_source_max: 8,
        connections_per_session_max: 8,
        connections_per_tenant_max: 8,
        head_bytes_max: 16 * 1024,
        tunnel_head_bytes_max: 16 * 1024,
        head_deadline: Duration::from_secs(5),
        handshake_deadline: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        write_timeout: Duration::from_secs(7),
        streams_max: 8,
        refused_hosts_max: 0,
    }
}

/// A frontend without control behind it: no leaf can be made.
fn frontend(state: &State) -> Arc<Frontend<Recorder>> {
    let counter = prometheus::IntCounter::new("minted", "minted").unwrap();
    let leaves = leaf::Config {
        leaves_max: 8,
        tenants_max: 8,
        renew_after: Duration::from_secs(60),
    };
    let authenticate = authenticate::Config {
        tokens_max: 8,
        sources_max: 8,
        failures_per_minute: 2,
    };
    Arc::new(Frontend {
        behind: Recorder {
            app: Arc::default(),
            codes: Mutex::default(),
            ways: AtomicU32::default(),
            named: ServiceId::generate(),
        },
        authenticator: Authenticator::new(&authenticate, state.clone()),
        leaves: Arc::new(Leaves::new(&leaves, Link::for_test(state.clone()), counter)),
        tunnels: Arc::new(Tunnels::new(8, 8)),
        acceptor: intercept::acceptor().unwrap(),
        secure: None,
        limits: limits(),
        cleartext_base_url: false,
        metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
        pressure: Pressure::default(),
        refused_hosts: Cache::new(8),
    })
}

fn claims() -> Claims {
    let mut vault = fixture::vault(&fixture::tenant(), vec![]);
    fixture::session(&mut vault)
}

async fn pair() -> (TcpStream, Box<Tunnel>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), Box::new(Tunnel::plain(server.unwrap().0)))
}

fn inbound(url: &str, known: bool) -> Inbound {
    Inbound {
        caller: Caller::for_test(claims()),
        target: fixture::target(url).0,
        tunnelled: true,
        agreed: true,
        known,
        refused: None,
        lease: Arc::default(),
        base: None,
        origin: OnceLock::new(),
    }
}

async fn serve(frontend: &Arc<Frontend<Recorder>>, tunnel: Box<Tunnel>, inbound: Inbound) {
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    requests::tunnel(frontend, tunnel, inbound, None, &stopping).await;
}

#[tokio::test]
async fn an_agent_has_only_so_long_to_read() {
    let frontend = frontend(&State::new());
    let (mut client, tunnel) = pair().await;
    let request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.write_all(request).await.unwrap();
    serve(&frontend, tunnel, inbound("http://a.test/", true)).await;
    let found = frontend.behind.app.write_timeouts.lock().clone();
    assert_eq!(found, [Some(frontend.limits.write_timeout)]);
}

#[tokio::test]
async fn tls_where_plain_http_was_expected_counts_against_the_hosts_that_are_refused() {
    for (known, expect) in [(false, Code::TooMany), (true, Code::VaultUnavailable)] {
        let frontend = frontend(&State::new());
        let (mut client, tunnel) = pair().await;
        client.write_all(&[0x16]).await.unwrap();
        serve(&frontend, tunnel, inbound("http://unknown.test/", known)).await;
        assert_eq!(*frontend.behind.codes.lock(), [expect]);
    }
}

#[tokio::test]
async fn an_upgrade_to_anything_but_a_websocket_is_an_ordinary_request() {
    let frontend = frontend(&State::new());
    let (mut client, tunnel) = pair().await;
    let request = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\n";
    client.write_all(request).await.unwrap();
    serve(&frontend, tunnel, inbound("http://a.test/", true)).await;
    let found = frontend.behind.app.requests.lock().clone();
    assert_eq!(found, [(false, b"body".to_vec())]);
    // The head is written anew; what that would mend is refused.
    let (mut client, tunnel) = pair().await;
    let request = b"GET / HTTP/1.1\r\nHost: b.test\r\nUpgrade: h2c\r\n\r\n";
    client.write_all(request).await.unwrap();
    serve(&frontend, tunnel, inbound("http://a.test/", true)).await;
    assert_eq!(*frontend.behind.codes.lock(), [Code::AuthorityMismatch]);
}

/// A node that knows a key, and a token that it signed.
fn signed() -> (State, String) {
    let (state, mut tokens) = signed_until(&[i64::from(u32::MAX)]);
    (state, tokens.remove(0))
}

/// A node that knows a key, and tokens of so many sessions that it signed, each with an end.
fn signed_until(ends: &[i64]) -> (State, Vec<String>) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let pkcs8 = Secret::new(pair.serialize_der());
    let key = VerifyingKey {
        kid: "k".to_owned(),
        public: pair.public_key_raw().try_into().unwrap(),
        not_after: i64::MAX,
    };
    let state = State::new();
    state.set_keys(VerifyingKeys::new([key]));
    let signing = SigningKey::from_pkcs8("k".to_owned(), &pkcs8);
    let mint = |end: &i64| {
        let mut claims = claims();
        claims.exp = *end;
        state.set_epoch(claims.epoch);
        let token = signing.mint(&claims).unwrap();
        String::from_utf8(token.expose().to_vec()).unwrap()
    };
    let tokens = ends.iter().map(mint).collect();
    (state, tokens)
}

/// What an agent sees that asks with a vault hint: opens a tunnel, and sends a request in it.
async fn ask(frontend: &Arc<Frontend<Recorder>>, token: &str, hint: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, (server, source)) = (client.unwrap(), server.unwrap());
    let credentials = STANDARD.encode(format!("{token}:{hint}"));
    let connect =
        format!("CONNECT a.test:80 HTTP/1.1\r\nProxy-Authorization: Basic {credentials}\r\n\r\n");
    let agent = async {
        client.write_all(connect.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let serving = Box::pin(accept::serve(frontend, server, source.ip(), stopping));
    tokio::join!(agent, serving).0
}

#[tokio::test]
async fn a_wrong_vault_hint_is_answered_inside_the_tunnel_and_opens_nothing() {
    let (state, token) = signed();
    let frontend = frontend(&state);
    assert_eq!(ask(&frontend, &token, "main").await, "HTTP/1.1 200");
    assert_eq!(frontend.behind.ways.load(Ordering::Relaxed), 1);
    assert_eq!(ask(&frontend, &token, "other").await, "HTTP/1.1 200");
    let refused = frontend.behind.app.refused.lock().clone();
    assert_eq!(refused, [None, Some(Code::VaultMismatch)]);
    assert_eq!(frontend.behind.ways.load(Ordering::Relaxed), 1);
    assert_eq!(frontend.tunnels.open(), 0);
    // Each one costs something, so that there are only so many.
    assert_eq!(ask(&frontend, &token, "other").await, "HTTP/1.1 200");
    assert_eq!(ask(&frontend, &token, "other").await, "HTTP/1.1 429");
    assert_eq!(ask(&frontend, &token, "main").await, "HTTP/1.1 200");
}

/// What is answered to `OPTIONS *`.
async fn probe(frontend: &Arc<Frontend<Recorder>>, token: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, (server, source)) = (client.unwrap(), server.unwrap());
    let request = format!(
        "OPTIONS * HTTP/1.1\r\nHost: g.test\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
    );
    let agent = async {
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let serving = Box::pin(accept::serve(frontend, server, source.ip(), stopping));
    tokio::join!(agent, serving).0
}

#[tokio::test]
async fn a_session_is_asked_about_without_a_request_to_anybody() {
    let (state, token) = signed();
    let frontend = frontend(&state);
    let answer = probe(&frontend, &token).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(frontend.behind.codes.lock().is_empty());
    let answer = probe(&frontend, "sortie_ses_abc").await;
    assert!(answer.starts_with("HTTP/1.1 407"), "{answer}");
    assert_eq!(frontend.behind.ways.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_tenant_has_so_many_connections_over_all_its_sessions() {
    let tunnels = Arc::new(Tunnels::new(8, 2));
    let (tenant, other) = (fixture::tenant(), fixture::tenant());
    let session = |tenant| {
        let mut vault = fixture::vault(tenant, vec![]);
        Caller::for_test(fixture::session(&mut vault))
    };
    let (_client, tunnel) = pair().await;
    let register = |caller: Caller| tunnels.register(&caller, tunnel.line());
    let first = register(session(&tenant)).unwrap();
    let second = register(session(&tenant)).unwrap();
    let refused = register(session(&tenant)).unwrap_err();
    assert_eq!(refused.code(), Code::TooMany);
    let elsewhere = register(session(&other)).unwrap();
    drop(first);
    let again = register(session(&tenant)).unwrap();
    drop((second, elsewhere, again));
    assert_eq!(tunnels.open(), 0);
}
