use std::net::SocketAddr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

const WAIT: Duration = Duration::from_secs(20);

async fn start(connections: usize, head: Duration) -> (SocketAddr, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let router = Router::new().route("/", get(async || "answered"));
    let bounds = Bounds {
        descriptors: RawFd::MAX,
        connections,
        head,
    };
    tasks.spawn("test", serve(listener, router, bounds, tasks.clone()));
    (address, tasks)
}

/// Sends that and reads until the other side closes.
async fn talk(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(WAIT, stream.read_to_end(&mut answer)).await;
    // Closed with or without an answer, but closed.
    let _reset = read.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_is_not_waited_for() {
    let (address, tasks) = start(8, Duration::from_millis(200)).await;
    let half = "GET / HTTP/1.1\r\nHost: control.internal\r\nX-Half: ";
    for sent in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET / HT", half] {
        let answer = talk(address, sent.as_bytes()).await;
        assert!(!answer.contains("answered"), "{answer}");
    }
    tasks.stop(WAIT).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_one_to_end() {
    let (address, tasks) = start(1, WAIT).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: control.internal\r\nConnection: close\r\n\r\n";
    let mut second = std::pin::pin!(talk(address, request));
    let waits = timeout(Duration::from_millis(300), second.as_mut()).await;
    assert!(waits.is_err(), "there is one slot");
    first.write_all(request).await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("answered"), "{answer}");
    let answer = second.await;
    assert!(answer.ends_with("answered"), "{answer}");
    tasks.stop(WAIT).await;
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let (address, tasks) = start(8, WAIT).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: control.internal\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert!(tasks.stop(WAIT / 2).await);
}
