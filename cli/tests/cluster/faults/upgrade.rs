//! Upgrades: a new gateway takes the listening sockets of the one that serves, which drains.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::RequestBuilder;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Mutex;

use super::invariants;
use super::load::{Load, answered};
use crate::support::process::{self, Process};
use crate::support::{Cluster, Minted, Setup, poll};
use crate::websocket::{Client, ROW, address, node};

/// Adds a client to a load that asks so, for at least so many bytes.
fn add(
    load: &mut Load,
    name: &'static str,
    least: usize,
    request: impl Fn(usize) -> RequestBuilder + Send + 'static,
) {
    load.add(name, move |number| {
        let answered = answered(request(number), least);
        async move {
            answered
                .await
                .map_err(|failure| format!("{name}: {failure}"))
        }
    });
}

/// Adds Node's `WebSocket`s, one behind another.
fn add_sockets(load: &mut Load, cluster: &Cluster, session: &Minted) {
    let url = address(cluster, "/websocket");
    let mut node = node(cluster, session, ROW, &[&url, "Infinity"]);
    let lines = BufReader::new(node.stdout.take().unwrap()).lines();
    // With the process, which goes with its value.
    let row = Arc::new(Mutex::new((node, lines)));
    load.add("websocket", move |_| {
        let row = row.clone();
        async move {
            let line = row.lock().await.1.next_line().await.unwrap();
            match line.as_deref() {
                Some("ok") => Ok(()),
                Some(lost) => Err(format!("websocket {lost}")),
                None => Err("node has ended".to_owned()),
            }
        }
    });
}

/// HTTP/1.1 kept alive, HTTP/2, a connection a request, uploads, event streams and `WebSocket`s.
fn load(cluster: &Cluster, session: &Minted) -> Load {
    let mut load = Load::default();
    let client = || cluster.client(cluster.ports.proxy, session);
    let one = client().http1_only().build().unwrap();
    let two = client().build().unwrap();
    let fresh = client().pool_max_idle_per_host(0).http1_only();
    let fresh = fresh.build().unwrap();
    for (name, client) in [
        ("kept alive", &one),
        ("kept alive too", &one),
        ("http/2", &two),
        ("http/2 too", &two),
        ("fresh", &fresh),
    ] {
        let (client, url) = (client.clone(), cluster.url("/bytes/64"));
        add(&mut load, name, 64, move |_| client.get(&url));
    }
    let (client, url) = (two.clone(), cluster.url("/json/load"));
    add(&mut load, "json", 2, move |number| {
        client.get(format!("{url}/{number}"))
    });
    for (name, client) in [("upload", &one), ("upload over http/2", &two)] {
        let (client, url) = (client.clone(), cluster.url("/upload"));
        add(&mut load, name, 2, move |_| {
            client.post(&url).body(vec![b'u'; 20_000])
        });
    }
    for (name, client) in [("events", &one), ("events over http/2", &two)] {
        let (client, url) = (client.clone(), cluster.url("/sse?n=20&interval_ms=25"));
        // To the last of twenty.
        let least = 20 * "id: 1\ndata: event 1\n\n".len();
        add(&mut load, name, least, move |_| client.get(&url));
    }
    add_sockets(&mut load, cluster, session);
    load
}

/// Rolls the gateway so many times under load. Nothing fails, and each that was replaced ends well.
async fn roll(rolls: usize) {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let load = load(&cluster, &session);
    load.each_more(2).await;
    for number in 0..rolls {
        let name = format!("gateway-{number}");
        let mut old = cluster.upgrade_gateway(&name).await;
        load.each_more(2).await;
        let status = old.ended().await;
        assert!(status.success(), "{status}");
    }
    load.each_more(2).await;
    let outcome = load.stop().await;
    println!("{rolls} rolls: {} requests", outcome.served);
    outcome.without_failure();
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
