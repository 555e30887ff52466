use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::client::Passed;
use crate::client::authenticate::Caller;
use crate::client::tunnels::Tunnels;
use crate::fixture;

#[derive(Debug, Default)]
struct Counts(Arc<Mutex<Option<(u64, u64)>>>);

impl Passed for Counts {
    fn passed(self: Box<Self>, sent: u64, received: u64) {
        *self.0.lock() = Some((sent, received));
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// A relay, with the agent and the upstream at its ends.
struct Setup {
    agent: TcpStream,
    upstream: TcpStream,
    tunnels: Arc<Tunnels>,
    counts: Arc<Mutex<Option<(u64, u64)>>>,
}

impl Setup {
    async fn new(silence: Duration) -> (Self, impl Future<Output = ()>) {
        let (agent, server) = pair().await;
        let (client, upstream) = pair().await;
        let tunnel = Box::new(Tunnel::plain(server));
        let tunnels = Arc::new(Tunnels::new(1, 8));
        let mut vault = fixture::vault(&fixture::tenant(), vec![]);
        let caller = Caller::for_test(fixture::session(&mut vault));
        let registered = tunnels.register(&caller, tunnel.line()).unwrap();
        let vault = Arc::new(vault);
        let counts = Counts::default();
        let setup = Self {
            agent,
            upstream,
            tunnels,
            counts: counts.0.clone(),
        };
        let passage = Passage {
            upstream: client,
            vault,
            record: Box::new(counts),
        };
        let relayed = async move {
            let relaying = Box::pin(relay(tunnel, passage, &registered, silence));
            let ended = tokio::time::timeout(Duration::from_secs(20), relaying).await;
            assert!(ended.is_ok(), "the relay never ends");
        };
        (setup, relayed)
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn an_agent_that_has_sent_all_still_gets_its_answer_and_bytes_are_counted() {
    let (mut setup, relayed) = Setup::new(LONG).await;
    let talk = async {
        setup.agent.write_all(b"question").await.unwrap();
        setup.agent.shutdown().await.unwrap();
        let mut question = Vec::new();
        setup.upstream.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        setup.upstream.write_all(&[7; 100_000]).await.unwrap();
        setup.upstream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        setup.agent.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 100_000);
    };
    tokio::join!(relayed, talk);
    assert_eq!(*setup.counts.lock(), Some((8, 100_000)));
}

#[tokio::test]
async fn a_cut_tunnel_ends_though_its_upstream_is_silent() {
    let (mut setup, relayed) = Setup::new(LONG).await;
    let cut = async {
        setup.agent.write_all(b"x").await.unwrap();
        setup.upstream.read_exact(&mut [0]).await.unwrap();
        assert_eq!(setup.tunnels.cut_all(), 1);
    };
    tokio::join!(relayed, cut);
    assert_eq!(*setup.counts.lock(), Some((1, 0)));
    assert_eq!(setup.upstream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(setup.tunnels.open(), 0);
}

#[tokio::test]
async fn an_agent_that_has_gone_does_not_hold_a_silent_upstream() {
    let (setup, relayed) = Setup::new(Duration::from_millis(50)).await;
    let Setup {
        agent,
        mut upstream,
        ..
    } = setup;
    drop(agent);
    relayed.await;
    assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_ends_the_tunnel() {
    let (mut setup, relayed) = Setup::new(LONG).await;
    let broken = async {
        setup.agent.write_all(b"x").await.unwrap();
        setup.upstream.readable().await.unwrap();
        // Closed at once: a reset.
        setup.upstream.set_zero_linger().unwrap();
        drop(setup.upstream);
        assert!(matches!(setup.agent.read(&mut [0]).await, Ok(0) | Err(_)));
    };
    tokio::join!(relayed, broken);
}
