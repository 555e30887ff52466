//! The driver of idle tunnels, through a proxy that only splices.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sortie_loadtest::client;
use sortie_loadtest::tunnels::{Plan, open};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const COUNT: usize = 120;

/// Accepts CONNECT for anything and dials one address. Returns the heads that it was sent.
async fn splice(listener: TcpListener, to: SocketAddr, heads: Arc<Mutex<Vec<String>>>) {
    let mut tunnels = JoinSet::new();
    loop {
        let (mut agent, from) = listener.accept().await.unwrap();
        let heads = Arc::clone(&heads);
        tunnels.spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(agent.read_u8().await.unwrap());
            }
            let head = format!("{}\n{}", from.ip(), String::from_utf8(head).unwrap());
            heads.lock().unwrap().push(head);
            agent.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut upstream = TcpStream::connect(to).await.unwrap();
            drop(copy_bidirectional(&mut agent, &mut upstream).await);
        });
    }
}

#[tokio::test]
async fn tunnels_come_from_many_sources_and_sessions_and_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut upstream = Command::new(env!("CARGO_BIN_EXE_sortie-loadtest"))
        .args(["upstream", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(upstream.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(line.strip_prefix("ready ").unwrap()).unwrap();
    let port = ready.get("tls").unwrap().as_u64().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let heads = Arc::default();
    let to = format!("127.0.0.1:{port}").parse().unwrap();
    let mut running = JoinSet::new();
    running.spawn(splice(listener, to, Arc::clone(&heads)));

    let plan = Plan {
        proxy,
        authority: format!("api.up.test:{port}"),
        tokens: ["first", "second"].map(str::to_owned).to_vec(),
        tls: client::trusting(&folder.path().join("ca.pem"), &["http/1.1"]).unwrap(),
    };
    let mut tunnels = open(&plan, COUNT).await.unwrap();
    assert_eq!(tunnels.len(), COUNT);
    // Each still answers: it was idle, not closed.
    for tunnel in &mut tunnels {
        let answer = client::get(tunnel, &plan.authority, "/bytes/3")
            .await
            .unwrap();
        assert_eq!(answer.body, b"xxx");
    }
    let heads = heads.lock().unwrap();
    let sources: BTreeSet<_> = heads
        .iter()
        .map(|head| head.lines().next().unwrap())
        .collect();
    assert_eq!(sources.len(), 50);
    let second = STANDARD.encode("second:");
    assert_eq!(
        heads.iter().filter(|head| head.contains(&second)).count(),
        COUNT / 2
    );
    upstream.kill().unwrap();
    upstream.wait().unwrap();
}
