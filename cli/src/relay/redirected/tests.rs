use tokio::io::AsyncReadExt as _;

use super::super::serve::tests::{Gate, door, pair};
use super::*;

const MEANT: &str = "203.0.113.7:80";
const HEAD: &str = "GET /x HTTP/1.1\r\nHost: api.test\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 Connection Established\r\n\r\n";

fn meant() -> SocketAddr {
    MEANT.parse().unwrap()
}

#[tokio::test]
async fn what_was_read_comes_first_and_then_the_rest_both_ways() {
    let mut gate = Gate::new().await;
    let door = door(&gate, Some("password"));
    let (mut client, server) = pair().await;
    client.write_all(HEAD.as_bytes()).await.unwrap();
    let upstream = async {
        let mut upstream = gate.answer(OPEN).await;
        let mut head = vec![0; HEAD.len()];
        upstream.read_exact(&mut head).await.unwrap();
        assert_eq!(head, HEAD.as_bytes());
        upstream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        client.write_all(b"more").await.unwrap();
        let mut more = [0; 4];
        upstream.read_exact(&mut more).await.unwrap();
        drop(upstream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        drop(client);
    };
    let (carried, ()) = tokio::join!(carry(&door, server, Some(meant())), upstream);
    assert_eq!(carried, Ok(()));
    assert!(
        gate.heads[0].starts_with("CONNECT api.test:80 HTTP/1.1\r\n"),
        "{}",
        gate.heads[0]
    );
    assert!(
        gate.heads[0]
            .to_lowercase()
            .contains("proxy-authorization: bearer ")
    );
}

#[tokio::test]
async fn a_session_that_is_over_is_said_to_the_client() {
    let mut gate = Gate::new().await;
    let door = door(&gate, None);
    let (mut client, server) = pair().await;
    client.write_all(HEAD.as_bytes()).await.unwrap();
    let over = "HTTP/1.1 407 Proxy Authentication Required\r\nX-Sortie-Code: session_revoked\r\n\
                Content-Length: 0\r\n\r\n";
    let (carried, _gate) = tokio::join!(carry(&door, server, Some(meant())), gate.answer(over));
    assert_eq!(carried, Err(Reason::Refused("session_revoked")));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("session_revoked"), "{answer}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_told_nothing() {
    let gate = Gate::new().await;
    let door = door(&gate, None);
    let (mut client, server) = pair().await;
    client.shutdown().await.unwrap();
    assert_eq!(
        carry(&door, server, Some(meant())).await,
        Err(Reason::Silent)
    );
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn the_way_to_the_gateway_is_not_carried() {
    let mut gate = Gate::new().await;
    let door = door(&gate, None);
    let address = gate.listener.local_addr().unwrap();
    assert!(!door.gateway.is_at(address), "it has not been dialled");
    let authorization = door.session.authorization().unwrap();
    let (opened, _gate) = tokio::join!(
        door.gateway.connect("api.test:443", &authorization),
        gate.answer(OPEN)
    );
    assert!(opened.is_ok());
    let (_client, server) = pair().await;
    assert_eq!(carry(&door, server, Some(address)).await, Err(Reason::Loop));
}

#[tokio::test]
async fn who_was_not_redirected_is_not_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let server = server.unwrap().0;
    assert_eq!(
        Turned::Firewall(address).destination(&server),
        (Some(address), true)
    );
    assert_eq!(Turned::Network.destination(&server), (Some(address), true));
}
