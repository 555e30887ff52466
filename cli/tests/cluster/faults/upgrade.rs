//! Upgrades: a new gateway takes the listening sockets of the one that serves, which drains.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::super::support::process::{self, Process};
use super::super::support::{Cluster, DEADLINE, Minted, Setup, poll};
use super::super::websocket::Client;
use super::invariants;

/// Opens one WebSocket behind another, each for a message, until its input ends. Then says how many were lost.
const SOCKETS: &str = "
const {WebSocket, EnvHttpProxyAgent} = require('undici');
const dispatcher = new EnvHttpProxyAgent();
const once = message => new Promise((resolve, reject) => {
    const socket = new WebSocket(process.argv[1], {dispatcher});
    socket.onopen = () => socket.send(message);
    socket.onmessage = ({data}) => data == message ? socket.close(1000) : reject(new Error(data));
    socket.onclose = event => event.code == 1000 ? resolve() : reject(new Error(`closed ${event.code}`));
});
let ended = false;
process.stdin.on('end', () => ended = true).resume();
(async () => {
    for (let at = 0; !ended; at++)
        await once(`message ${at}`).then(() => console.log('ok'), error => console.log('lost', error.message));
    console.log('end');
    process.exit();
})();
";

/// What asks until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    counts: Vec<(&'static str, Arc<AtomicUsize>)>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            counts: Vec::new(),
            failed: Arc::default(),
            tasks: Vec::new(),
        }
    }

    /// Asks again and again, each time for `ask`, whose error is a failed request.
    fn add<F>(&mut self, name: &'static str, ask: impl Fn(usize) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let count = Arc::new(AtomicUsize::new(0));
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.counts.push((name, count.clone()));
        self.tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = ask(number).await {
                    failed
                        .lock()
                        .unwrap()
                        .push(format!("{name} {number}: {error}"));
                }
            }
        }));
    }

    /// Node's `WebSocket`s.
    fn add_sockets(&mut self, cluster: &Cluster, session: &Minted) {
        let url = cluster.url("/websocket").replacen("https", "wss", 1);
        let modules = std::env::var("SORTIE_TEST_NODE_MODULES").unwrap_or_default();
        let child = Command::new("node")
            .args(["-e", SOCKETS, &url])
            .env("HTTPS_PROXY", cluster.proxy(session))
            .env("NODE_EXTRA_CA_CERTS", cluster.ca())
            .env("NODE_PATH", modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        self.counts.push(("websocket", count.clone()));
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.tasks.push(tokio::spawn(async move {
            // All of it: with any part left behind it would be killed.
            let mut child = child;
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                match &*line {
                    "ok" => {}
                    "end" => return,
                    lost => failed.lock().unwrap().push(format!("websocket: {lost}")),
                }
                count.fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    drop(child.stdin.take());
                }
            }
            failed
                .lock()
                .unwrap()
                .push("websocket: node has ended".to_owned());
        }));
    }

    fn asked(&self) -> Vec<usize> {
        let counts = self.counts.iter();
        counts
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .collect()
    }

    /// Waits until each has asked so many times more.
    async fn goes_on(&self, more: usize) {
        let before = self.asked();
        let on = async {
            while self
                .asked()
                .iter()
                .zip(&before)
                .any(|(now, before)| *now < before + more)
            {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, on).await;
        let (names, now) = (&self.counts, self.asked());
        assert!(
            in_time.is_ok(),
            "{names:?}: {before:?}, {now:?}; {:?}",
            self.failed.lock()
        );
    }

    /// Ends it; answers what failed, and how much was asked.
    async fn end(self) -> (Vec<String>, String) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let counts = self.counts.iter();
        let counts =
            counts.map(|(name, count)| format!("{} {name}", count.load(Ordering::Relaxed)));
        (
            self.failed.lock().unwrap().clone(),
            counts.collect::<Vec<_>>().join(", "),
        )
    }
}

fn client(cluster: &Cluster, session: &Minted) -> reqwest::ClientBuilder {
    let pem = std::fs::read(cluster.ca()).unwrap();
    reqwest::Client::builder()
        .proxy(reqwest::Proxy::all(cluster.proxy(session)).unwrap())
        .add_root_certificate(reqwest::Certificate::from_pem(&pem).unwrap())
}

async fn must_be(
    answer: Result<reqwest::Response, reqwest::Error>,
    length: usize,
) -> Result<(), String> {
    let tell = |error: reqwest::Error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    };
    let answer = answer.map_err(tell)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(tell)?;
    if status.is_success() && body.len() >= length {
        return Ok(());
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
}

/// HTTP/1.1 kept alive, HTTP/2, a connection a request, uploads, event streams and `WebSocket`s.
fn load(cluster: &Cluster, session: &Minted) -> Load {
    let mut load = Load::new();
    let one = client(cluster, session).http1_only().build().unwrap();
    let two = client(cluster, session).build().unwrap();
    let fresh = client(cluster, session).pool_max_idle_per_host(0);
    let fresh = fresh.http1_only().build().unwrap();
    let (bytes, upload) = (cluster.url("/bytes/64"), cluster.url("/upload"));
    let (json, events) = (
        cluster.url("/json/load"),
        cluster.url("/sse?n=20&interval_ms=25"),
    );
    let asking = |client: &reqwest::Client, url: &str| {
        let (client, url) = (client.clone(), url.to_owned());
        move |_| {
            let answer = client.get(&url).send();
            async move { must_be(answer.await, 64).await }
        }
    };
    for name in ["kept alive", "kept alive too"] {
        load.add(name, asking(&one, &bytes));
    }
    for name in ["http/2", "http/2 too"] {
        load.add(name, asking(&two, &bytes));
    }
    load.add("fresh", asking(&fresh, &bytes));
    let (client, url) = (two.clone(), json);
    load.add("json", move |number| {
        let answer = client.get(format!("{url}/{number}")).send();
        async move { must_be(answer.await, 2).await }
    });
    for (name, client) in [("upload", &one), ("upload over http/2", &two)] {
        let (client, url) = (client.clone(), upload.clone());
        load.add(name, move |_| {
            let answer = client.post(&url).body(vec![b'u'; 20_000]).send();
            async move { must_be(answer.await, 2).await }
        });
    }
    for (name, client) in [("events", &one), ("events over http/2", &two)] {
        let (client, url) = (client.clone(), events.clone());
        load.add(name, move |_| {
            let answer = client.get(&url).send();
            // The last of twenty.
            async move { must_be(answer.await, 20 * "id: 1\ndata: event 1\n\n".len()).await }
        });
    }
    load.add_sockets(cluster, session);
    load
}

/// Rolls the gateway so many times under load. Nothing fails, and each that was replaced ends well.
async fn roll(rolls: usize) {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let load = load(&cluster, &session);
    load.goes_on(2).await;
    for number in 0..rolls {
        let name = format!("gateway-{number}");
        let mut old = cluster.upgrade_gateway(&name).await;
        load.goes_on(2).await;
        let status = old.ended().await;
        assert!(status.success(), "{status}");
    }
    load.goes_on(2).await;
    let (failed, counts) = load.end().await;
    println!("{rolls} rolls: {counts}");
    assert!(failed.is_empty(), "{counts}; failed: {failed:#?}");
    let asked = cluster.recorded_at("/json/load").len();
    poll("the journals of all gateways", || async {
        let audit = cluster.api.audit().await;
        let entries = audit.iter().filter_map(|entry| entry["url"].as_str());
        (entries.filter(|url| url.contains("/json/load/")).count() >= asked).then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_three_rolls_under_load_fail_no_request() {
    roll(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make soak"]
async fn f20_ten_rolls_under_load_fail_no_request() {
    roll(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_process_that_cannot_take_over_leaves_the_one_that_serves_alone() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    // It joins, is leased, and then cannot write the roots that it would trust.
    let roots = cluster.path().join("gateway/roots.pem");
    std::fs::remove_file(&roots).unwrap();
    std::fs::create_dir_all(roots.join("in the way")).unwrap();
    let mut broken = cluster.start_upgrade("gateway-broken", &[]);
    assert_eq!(broken.ended().await.code(), Some(1));
    let said = broken.output();
    assert!(said.contains("roots"), "{said}");
    std::fs::remove_dir_all(&roots).unwrap();
    // One that is killed before it took over.
    let mut killed = cluster.start_upgrade("gateway-killed", &[]);
    killed.kill().await;
    let answer = cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await;
    assert_eq!(answer.ok(), "xxxxxxxx");
    let ready = process::get(cluster.ports.gateway_admin, "/readyz").await;
    assert_eq!(ready.as_deref(), Some("ready\n"));

    // And where nobody serves, nothing is started.
    let mut old = cluster.upgrade_gateway("gateway-2").await;
    assert!(old.ended().await.success());
    cluster.gateway.stop().await;
    let mut alone = cluster.start_upgrade("gateway-alone", &[]);
    assert_eq!(alone.ended().await.code(), Some(1));
    assert!(
        alone.output().contains("start without --upgrade"),
        "{}",
        alone.output()
    );
    cluster.restart_gateway().await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_websocket_is_closed_with_1001_when_the_drain_is_over_and_not_before() {
    let setup = Setup {
        gateway_env: vec![(
            "SORTIE_GATEWAY__PROXY__DRAIN_SECONDS".to_owned(),
            "15".to_owned(),
        )],
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut client = Client::start(&cluster, &session, "/websocket");
    assert_eq!(client.hear().await, "open \"\"");
    cluster.gateway.signal(Signal::SIGTERM);
    poll("the drain", || async {
        let ready = process::get(cluster.ports.gateway_admin, "/readyz").await;
        ready.is_none().then_some(())
    })
    .await;
    assert_eq!(client.ask("still here").await, "text still here");
    assert_eq!(client.hear().await, "closed 1001");
    assert!(cluster.gateway.ended().await.success());
    client.keep(&cluster, "clients.websocket");
    cluster.restart_gateway().await;
    // It ended as any does that its agent closes.
    let entry = poll("its completion", || async {
        let audit = cluster.api.audit().await;
        audit.into_iter().find(|entry| entry["status"] == 101)
    })
    .await;
    assert!(
        entry["code"].as_str().unwrap_or_default().is_empty(),
        "{entry}"
    );
    Box::pin(invariants::hold(cluster, &[])).await;
}

/// A process that no test owns.
struct Orphan(Pid);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _gone = kill(self.0, Signal::SIGKILL);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_gateway_that_is_signalled_starts_its_successor_and_the_supervisor_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_nonblocking(true).unwrap();
    let hear = async || {
        poll("a word to the supervisor", || async {
            let mut text = [0; 64];
            let count = supervisor.recv(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..count]).into_owned())
        })
        .await
    };
    let setup = Setup {
        gateway_env: vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())],
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let first = cluster.gateway.id();
    assert_eq!(hear().await, format!("MAINPID={first}\nREADY=1"));
    cluster.gateway.signal(Signal::SIGUSR2);
    let heard = hear().await;
    let main = heard
        .strip_prefix("MAINPID=")
        .and_then(|rest| rest.strip_suffix("\nREADY=1"));
    let second = Orphan(Pid::from_raw(main.unwrap().parse().unwrap()));
    assert_ne!(second.0.as_raw(), i32::try_from(first).unwrap());
    assert!(cluster.gateway.ended().await.success());
    let answer = cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await;
    assert_eq!(answer.ok(), "xxxxxxxx");
    kill(second.0, Signal::SIGTERM).unwrap();
    assert_eq!(hear().await, "STOPPING=1");
    poll("its end", || async {
        process::get(cluster.ports.gateway_admin, "/livez")
            .await
            .is_none()
            .then_some(())
    })
    .await;
    cluster.restart_gateway().await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

impl Cluster {
    /// Starts a gateway that asks the one that serves for its sockets.
    pub(crate) fn start_upgrade(&self, name: &str, env: &[(&str, &str)]) -> Process {
        let config = self.path().join("gateway.toml").display().to_string();
        let arguments = ["--config".to_owned(), config, "--upgrade".to_owned()];
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Process::start(self.path(), name, "sortie-gateway", &arguments, &env)
    }

    /// Replaces the gateway by one that takes over from it; answers the one that drains.
    pub(crate) async fn upgrade_gateway(&mut self, name: &str) -> Process {
        let mut new = self.start_upgrade(name, &[]);
        new.wait_for("the gateway listens").await;
        std::mem::replace(&mut self.gateway, new)
    }
}
