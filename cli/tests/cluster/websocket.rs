//! A WebSocket: the credential goes into its handshake, and comes back in no frame; what ends a session ends it.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::support::{Cluster, DEADLINE, Minted, poll};

/// Prints what comes, a line each; sends what is read from standard input.
const CLIENT: &str = "
const {WebSocket, EnvHttpProxyAgent} = require('undici');
const socket = new WebSocket(process.argv[1], {dispatcher: new EnvHttpProxyAgent()});
socket.binaryType = 'arraybuffer';
socket.onopen = () => console.log('open', JSON.stringify(socket.extensions));
socket.onmessage = ({data}) => console.log(typeof data == 'string' ? 'text' : 'binary',
    typeof data == 'string' ? data : Buffer.from(data).toString());
socket.onerror = event => console.log('error', event.message);
socket.onclose = event => { console.log('closed', event.code); process.exit(); };
require('readline').createInterface({input: process.stdin}).on('line', line =>
    line == 'close' ? socket.close(1000) : socket.send(line));
";

/// Opens so many, one behind another, and has each give a message back: `ok`, or how it was lost.
pub(crate) const ROW: &str = "
const {WebSocket, EnvHttpProxyAgent} = require('undici');
const dispatcher = new EnvHttpProxyAgent();
const echoes = message => new Promise((resolve, reject) => {
    const socket = new WebSocket(process.argv[1], {dispatcher});
    socket.onopen = () => socket.send(message);
    socket.onmessage = ({data}) => data == message ? socket.close(1000) : reject(new Error(data));
    socket.onclose = event => event.code == 1000 ? resolve() : reject(new Error(`closed ${event.code}`));
});
(async () => {
    for (let at = 0; at < Number(process.argv[2]); at++)
        await echoes(`message ${at}`).then(() => console.log('ok'), error => console.log(`${at}: ${error.message}`));
})();
";

/// Node with a script behind the gateway, with pipes to it and from it.
pub(crate) fn node(cluster: &Cluster, session: &Minted, script: &str, arguments: &[&str]) -> Child {
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES").unwrap_or_default();
    Command::new("node")
        .args(["-e", script])
        .args(arguments)
        .env("HTTPS_PROXY", cluster.proxy(session))
        .env("NODE_EXTRA_CA_CERTS", cluster.ca())
        .env("NODE_PATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Where a WebSocket is opened.
pub(crate) fn address(cluster: &Cluster, path: &str) -> String {
    cluster.url(path).replacen("https", "wss", 1)
}

/// Node's WebSocket behind the gateway.
pub(crate) struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Client {
    pub(crate) fn start(cluster: &Cluster, session: &Minted, path: &str) -> Self {
        let mut child = node(cluster, session, CLIENT, &[&address(cluster, path)]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    async fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    pub(crate) async fn hear(&mut self) -> String {
        let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
        let line = line
            .unwrap_or_else(|_| panic!("nothing behind {:?}", self.seen))
            .unwrap()
            .unwrap_or_else(|| panic!("it ended behind {:?}", self.seen));
        self.seen.push(line.clone());
        line
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.hear().await
    }

    /// What it printed becomes part of what is searched.
    pub(crate) fn keep(&self, cluster: &Cluster, name: &str) {
        std::fs::write(cluster.path().join(name), self.seen.join("\n")).unwrap();
    }
}

/// The audit entry of the one handshake.
async fn entry(cluster: &Cluster) -> Value {
    poll("the completion of the WebSocket", || async {
        let audit = cluster.api.audit().await;
        // Until its completion has come it has no status.
        audit.into_iter().find(|entry| entry["status"] == 101)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credential_goes_into_the_handshake_and_comes_back_in_no_frame() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut client = Client::start(&cluster, &session, "/websocket?a=1");
    assert_eq!(client.hear().await, "open \"\"");
    let seen = cluster.recorded_at("/websocket").remove(0);
    let header = |name: &str| -> Vec<String> {
        let headers = seen["headers"].as_array().unwrap().iter();
        headers
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(header("authorization"), [format!("Bearer {value}")]);
    assert_eq!(header("upgrade"), ["websocket"]);
    assert_eq!(seen["version"], "HTTP/1.1");
    assert!(header("sec-websocket-extensions").is_empty(), "{seen}");
    assert!(header("proxy-authorization").is_empty());

    let mask = "*".repeat(value.len());
    assert_eq!(client.ask("hello").await, "text hello");
    let long = "x".repeat(200_000);
    assert_eq!(client.ask(&long).await, format!("text {long}"));
    assert_eq!(
        client.ask("credential").await,
        format!("text you sent {mask} to me")
    );
    assert_eq!(client.ask("binary").await, format!("binary {mask}"));
    for size in [1, 5, 30] {
        let heard = client.ask(&format!("fragments?size={size}")).await;
        assert_eq!(heard, format!("text {mask}"));
    }
    // What may be the start of the value does not wait for the rest of it.
    let half = &value[..value.len() / 2];
    assert_eq!(client.ask("half").await, format!("text {half}"));
    assert_eq!(client.ask("close").await, "closed 1000");
    client.keep(&cluster, "clients.websocket");

    let entry = entry(&cluster).await;
    assert_eq!(entry["outcome"], "brokered", "{entry:#}");
    assert_eq!(entry["credentials"][0], "API_KEY@1", "{entry:#}");
    assert!(
        entry["code"].as_str().unwrap_or_default().is_empty(),
        "{entry:#}"
    );
    assert!(entry["request_bytes"].as_u64() > Some(200_000), "{entry:#}");
    assert!(
        entry["response_bytes"].as_u64() > Some(200_000),
        "{entry:#}"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_lost_where_the_upstream_answers_at_once() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let url = address(&cluster, "/websocket");
    let row = node(&cluster, &session, ROW, &[&url, "100"]);
    let row = tokio::time::timeout(DEADLINE, row.wait_with_output()).await;
    let said = String::from_utf8(row.unwrap().unwrap().stdout).unwrap();
    assert_eq!(said, "ok\n".repeat(100));
    assert_eq!(cluster.recorded_at("/websocket").len(), 100);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_switch_as_it_should_is_answered_for() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let handshake = |version: &'static str| {
        [
            "-i",
            "--http1.1",
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "-H",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "-H",
            version,
        ]
    };
    let whole = "Sec-WebSocket-Version: 13";
    let ask = async |version, path: &str| {
        let url = cluster.url(path);
        let arguments = [&handshake(version)[..], &[&url]].concat();
        cluster.curl(&session, &arguments).await.seen()
    };
    // No switch: an ordinary answer, masked like any other.
    let refused = ask(whole, "/websocket?refuse").await;
    assert!(refused.contains("403 Forbidden"), "{refused}");
    assert!(refused.ends_with(&"*".repeat(value.len())), "{refused}");
    // A switch to frames that could not be searched.
    let extended = ask(whole, "/websocket?extensions").await;
    assert!(
        extended.contains("502") && extended.contains("response_encoded"),
        "{extended}"
    );
    assert_eq!(cluster.recorded_at("/websocket").len(), 2);
    // Half a handshake never leaves.
    let half = ask("Sec-WebSocket-Version: 8", "/websocket").await;
    assert!(
        half.contains("501") && half.contains("upgrade_unsupported"),
        "{half}"
    );
    assert_eq!(cluster.recorded_at("/websocket").len(), 2);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_ends_it() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut client = Client::start(&cluster, &session, "/websocket");
    client.hear().await;
    // The upstream goes without a word: the client is told that it was no clean end.
    client.say("drop").await;
    while !client.hear().await.starts_with("closed") {}
    assert_eq!(client.seen.last().unwrap(), "closed 1006");
    entry(&cluster).await;
    client.keep(&cluster, "clients.websocket");

    let mut client = Client::start(&cluster, &session, "/websocket?killed");
    client.hear().await;
    client.child.kill().await.unwrap();
    poll("the killed client's entry", || async {
        let audit = cluster.api.audit().await;
        let done = audit.iter().filter(|entry| entry["status"] == 101).count();
        (done == 2).then_some(())
    })
    .await;
    // An agent that goes without a word has done nothing wrong.
    let audit = cluster.api.audit().await;
    let malformed = audit
        .iter()
        .any(|entry| entry["code"] == "request_malformed");
    assert!(!malformed, "{audit:#?}");
    cluster.finish().await;
}

/// Waits for the entry of a WebSocket that something of ours ended.
async fn cut(cluster: &Cluster, code: &str) {
    poll(&format!("an entry with {code}"), || async {
        let audit = cluster.api.audit().await;
        let cut = |entry: &Value| entry["code"] == code && entry["status"] == 101;
        audit.iter().any(cut).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_cuts_it() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let (revoked, other) = (cluster.session().await, cluster.session().await);
    let mut first = Client::start(&cluster, &revoked, "/websocket?first");
    let mut second = Client::start(&cluster, &other, "/websocket?second");
    for client in [&mut first, &mut second] {
        client.hear().await;
        assert_eq!(client.ask("hello").await, "text hello");
    }
    cluster.api.revoke(&revoked).await;
    while !first.hear().await.starts_with("closed") {}
    assert_eq!(
        second.ask("still there?").await,
        "text still there?",
        "another session's WebSocket was cut"
    );
    cut(&cluster, "session_revoked").await;
    cluster.finish().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_lease_cuts_it_though_nobody_says_anything() {
    let clock = super::support::clock::MovableClock::build();
    let setup = super::support::Setup {
        gateway_env: clock.environment(),
        ..Default::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut client = Client::start(&cluster, &session, "/websocket");
    client.hear().await;
    cluster.control.stop().await;
    clock.advance_leases(840);
    assert_eq!(client.ask("hello").await, "text hello");
    clock.advance_leases(960);
    while !client.hear().await.starts_with("closed") {}
    cluster.restart_control().await;
    cut(&cluster, "stale_lease").await;
    cluster.finish().await;
}
