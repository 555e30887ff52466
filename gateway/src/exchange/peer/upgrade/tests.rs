use std::net::SocketAddr as InetAddr;

use bytes::Bytes;
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::IO;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::tls::server::handshake;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::tests::{acceptor, peers, permit};
use super::*;
use crate::fixture;

const DEADLINE: Duration = Duration::from_secs(30);
const HANDSHAKE: &str =
    "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";

/// A proxy to one upstream. It does with the gate what the phases do.
struct ToUpstream {
    url: &'static str,
    address: InetAddr,
}

#[async_trait]
impl ProxyHttp for ToUpstream {
    type CTX = Arc<Gate>;

    fn new_ctx(&self) -> Arc<Gate> {
        Arc::default()
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        gate: &mut Arc<Gate>,
    ) -> Result<Box<HttpPeer>> {
        let (target, _) = fixture::target(self.url);
        let peers = peers(&[], &[]);
        let peer = peers.peer(&permit(&[], 1), &target, self.address, Some(gate));
        let mut peer = peer.unwrap();
        peer.options.verify_cert = false;
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        _request: &mut RequestHeader,
        gate: &mut Arc<Gate>,
    ) -> Result<()> {
        gate.hold();
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        end: bool,
        gate: &mut Arc<Gate>,
    ) -> Result<()> {
        if end {
            gate.end();
        }
        Ok(())
    }
}

async fn read_head(stream: &mut dyn IO) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Answers a connection before it has read anything of the request, and then gives back what comes.
#[expect(clippy::disallowed_methods, reason = "the test holds the task")]
fn serve(listener: Arc<TcpListener>, tls: bool, answer: &'static str) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream: Box<dyn IO> = if tls {
            let stream = Stream::from(stream);
            Box::new(handshake(&acceptor(), stream).await.unwrap())
        } else {
            Box::new(Stream::from(stream))
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        read_head(&mut *stream).await;
        let mut bytes = [0; 64];
        // How the other side goes does not matter, but that it does.
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..count]).await.unwrap();
            stream.flush().await.unwrap();
        }
    })
}

/// An agent's connection to a proxy.
#[expect(clippy::disallowed_methods, reason = "the test holds the task")]
async fn ask(proxy: &Arc<HttpProxy<ToUpstream>>) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (agent, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut agent, (accepted, _)) = (agent.unwrap(), accepted.unwrap());
    let proxy = proxy.clone();
    let served = tokio::spawn(async move {
        let (_stop, stopping) = watch::channel(false);
        let session = ServerSession::new_http1(Box::new(Stream::from(accepted)));
        let _reused = proxy.process_new_http(session, &stopping).await;
    });
    agent.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    (agent, served)
}

async fn upstream(url: &'static str) -> (Arc<TcpListener>, Arc<HttpProxy<ToUpstream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = http_proxy(
        &Arc::new(ServerConf::default()),
        ToUpstream { url, address },
    );
    (Arc::new(listener), Arc::new(proxy))
}

async fn check_echoes(url: &'static str) {
    let (listener, proxy) = upstream(url).await;
    for at in 0..50 {
        let tls = url.starts_with("https");
        let answering = serve(listener.clone(), tls, SWITCH);
        let (agent, served) = ask(&proxy).await;
        let mut agent = Stream::from(agent);
        let talk = async {
            let head = read_head(&mut agent).await;
            assert!(head.starts_with("HTTP/1.1 101"), "{at}: {head}");
            let mut heard = [0; 5];
            agent.write_all(b"hello").await.unwrap();
            agent.flush().await.unwrap();
            let heard_all = agent.read_exact(&mut heard).await;
            assert!(heard_all.is_ok() && &heard == b"hello", "{at} was lost");
        };
        timeout(DEADLINE, talk).await.unwrap();
        drop(agent);
        // The end of the one is the end of the other.
        let ends = async { tokio::join!(answering, served) };
        let (answered, served) = timeout(DEADLINE, ends).await.unwrap();
        answered.unwrap();
        served.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_switches_at_once_is_heard() {
    check_echoes("http://a.test/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_switches_at_once_is_heard_over_tls() {
    check_echoes("https://a.test/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_not_switched_is_kept_for_nobody() {
    let (listener, proxy) = upstream("http://a.test/").await;
    let answering = serve(listener.clone(), false, REFUSAL);
    let (agent, served) = ask(&proxy).await;
    let mut agent = Stream::from(agent);
    let head = timeout(DEADLINE, read_head(&mut agent)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(agent.read_u16().await.unwrap(), u16::from_be_bytes(*b"no"));
    // The agent's connection stays open.
    timeout(DEADLINE, answering).await.unwrap().unwrap();
    drop(agent);
    timeout(DEADLINE, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_connect_fails_as_pingora_s_own_does() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let connector = Connector {
        gate: Arc::default(),
        connect_timeout: DEADLINE,
    };
    let error = connector.connect(&address.into()).await.unwrap_err();
    assert_eq!(error.etype(), &ErrorType::ConnectRefused);
}

#[test]
fn it_opens_with_the_flush_behind_the_end() {
    let gate = Gate::default();
    assert!(gate.is_open());
    gate.end();
    assert!(gate.is_open() && !gate.flushed(), "nothing was held");
    gate.hold();
    assert!(!gate.flushed() && !gate.is_open(), "the head's own flush");
    gate.end();
    assert!(!gate.is_open());
    assert!(gate.flushed() && gate.is_open());
    assert!(!gate.flushed());
}
