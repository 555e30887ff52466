//! Packets that are lost: a gateway in a network namespace of its own, whose firewall drops what the test says.
//!
//! It takes root to make one; without, these tests say so and pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;

use super::invariants;
use super::proxy::FaultProxy;
use crate::support::process::{self, Process, program};
use crate::support::{Cluster, Minted, Setup, free_port, poll};

/// What `/bytes/8` is answered with.
const SERVED: &str = "xxxxxxxx";

/// A namespace with one link to this machine. It ends with the value.
struct Namespace {
    name: String,
    number: u8,
}

impl Namespace {
    /// Makes one, or says why it cannot.
    fn make() -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: a network namespace takes root");
            return None;
        }
        // Another process that tests takes other networks, mostly; one that is taken is passed over.
        let first = u8::try_from(std::process::id() % 200).unwrap();
        let made = (0..20).find_map(|_| {
            let number = first
                .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
                .max(1);
            let name = format!("sortie-{number}");
            command("ip", &["netns", "add", &name]).then_some(Self { name, number })
        });
        let linked = made.filter(Self::link);
        if linked.is_none() {
            eprintln!("SKIPPED: this system makes no network namespaces");
        }
        linked
    }

    /// Lays the link, and gives its ends addresses.
    fn link(&self) -> bool {
        let (near, far) = (format!("sn{}", self.number), format!("sf{}", self.number));
        let (here, there) = (
            format!("{}/24", self.here()),
            format!("{}/24", self.there()),
        );
        let name = &self.name;
        let steps: [&[&str]; 6] = [
            &[
                "link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name,
            ],
            &["addr", "add", &here, "dev", &near],
            &["link", "set", &near, "up"],
            &["-n", name, "addr", "add", &there, "dev", &far],
            &["-n", name, "link", "set", &far, "up"],
            &["-n", name, "link", "set", "lo", "up"],
        ];
        steps.iter().all(|step| command("ip", step))
    }

    /// This machine's end of the link.
    fn here(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.number, 1)
    }

    /// The namespace's end.
    fn there(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.number, 2)
    }

    /// Has the namespace's firewall drop what these rules name, and nothing else.
    fn drop_packets(&self, rules: &[String]) {
        let rules: String = rules.iter().map(|rule| format!("{rule} drop\n")).collect();
        let table = format!(
            "flush ruleset\ntable inet faults {{\nchain out {{ type filter hook output priority 0;\n{rules}}}\n}}\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        use std::io::Write;
        nft.stdin
            .take()
            .unwrap()
            .write_all(table.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success(), "nft refuses:\n{table}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        command("ip", &["netns", "del", &self.name]);
        command("ip", &["link", "del", &format!("sn{}", self.number)]);
    }
}

fn command(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A cluster whose control is known by this machine's end of the link.
async fn cluster_for(namespace: &Namespace) -> Cluster {
    let names = (
        "SORTIE_CONTROL__FEED__NAMES".to_owned(),
        namespace.here().to_string(),
    );
    let setup = Setup {
        control_env: vec![names],
        ..Setup::default()
    };
    Cluster::start_with(setup).await
}

/// A gateway in a namespace: control and the upstream are at the other end of its only link.
struct Remote {
    gateway: Process,
    proxy: FaultProxy,
    admin: FaultProxy,
    feed: FaultProxy,
    upstream: FaultProxy,
    namespace: Namespace,
}

impl Remote {
    async fn start(cluster: &Cluster, namespace: Namespace) -> Self {
        let here = format!("{}:0", namespace.here());
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let feed = FaultProxy::between(&here, local(cluster.ports.feed)).await;
        let upstream = FaultProxy::between(&here, local(cluster.ports.https)).await;
        let (proxy, admin) = (free_port(), free_port());
        let (near, far) = (namespace.here(), namespace.there());
        let config = format!(
            "data_dir = {:?}\njoin = {:?}\nname = \"remote\"\n[proxy]\nlisten = [\"{far}:{proxy}\"]\n[admin]\n\
             listen = \"{far}:{admin}\"\n[upstream]\nextra_roots = [{:?}]\nconnect_timeout_ms = 1000\n\
             handshake_timeout_ms = 2000\nwrite_timeout_ms = 1500\nread_timeout_ms = 4000\n\
             [upstream.hosts]\n\"api.up.test\" = [\"{near}:{}\"]\n[feed]\ncontrol = [\"{near}:{}\"]\n",
            cluster.path().join("remote").display().to_string(),
            cluster.api.join_as("remote").await,
            cluster.path().join("upstream/ca.pem").display().to_string(),
            upstream.port(),
            feed.port(),
        );
        let file = cluster.path().join("remote.toml");
        std::fs::write(&file, config).unwrap();
        let mut start = tokio::process::Command::new("ip");
        start
            .args(["netns", "exec", &namespace.name])
            .arg(program("sortie-gateway"))
            .arg("--config")
            .arg(&file);
        let mut gateway = Process::start_command(cluster.path(), "remote", start);
        let admin = FaultProxy::between("127.0.0.1:0", (far, admin).into()).await;
        gateway.wait_until_ready(admin.port()).await;
        Self {
            gateway,
            proxy: FaultProxy::between("127.0.0.1:0", (far, proxy).into()).await,
            admin,
            feed,
            upstream,
            namespace,
        }
    }

    /// What curl prints that asks through it.
    async fn ask(&self, cluster: &Cluster, session: &Minted, more: &[&str]) -> String {
        let proxy = format!("http://x:{}@127.0.0.1:{}", session.token, self.proxy.port());
        let url = cluster.url("/bytes/8");
        let mut arguments = vec!["-i"];
        arguments.extend_from_slice(more);
        arguments.push(&url);
        cluster.curl_through(&proxy, &arguments).await.seen()
    }

    /// A rule for packets to a port of this machine.
    fn to(&self, port: u16, which: &str) -> String {
        format!(
            "ip daddr {} tcp dport {port} {which}",
            self.namespace.here()
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_a_gateway_that_loses_every_packet_to_control_serves_on_and_catches_up() {
    let Some(namespace) = Namespace::make() else {
        return;
    };
    let cluster = cluster_for(&namespace).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut remote = Remote::start(&cluster, namespace).await;
    assert!(remote.ask(&cluster, &session, &[]).await.contains(SERVED));
    remote
        .namespace
        .drop_packets(&[remote.to(remote.feed.port(), "")]);
    poll("the gateway to give its connection up", || async {
        let metrics = process::get(remote.admin.port(), "/metrics").await?;
        let gone = metrics.contains("sortie_gateway_feed_connected 0");
        gone.then_some(())
    })
    .await;
    cluster.api.revoke(&session).await;
    let other = cluster.session().await;
    assert!(
        remote.ask(&cluster, &other, &[]).await.contains(SERVED),
        "a vault in memory is served without control"
    );
    remote.namespace.drop_packets(&[]);
    poll("the revocation to arrive", || async {
        let answer = remote.ask(&cluster, &session, &[]).await;
        answer.contains("407").then_some(())
    })
    .await;
    remote.gateway.stop().await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_no_request_waits_longer_than_its_deadline_for_packets_that_are_lost() {
    let Some(namespace) = Namespace::make() else {
        return;
    };
    let cluster = cluster_for(&namespace).await;
    cluster.bearer_service().await;
    cluster
        .service("uploads", json!({"path": "/upload", "methods": ["POST"]}))
        .await;
    let session = cluster.session().await;
    let mut remote = Remote::start(&cluster, namespace).await;
    let port = remote.upstream.port();

    // Half-open: nobody answers the first packet.
    remote
        .namespace
        .drop_packets(&[remote.to(port, "tcp flags syn / syn,ack")]);
    let answer = remote.ask(&cluster, &session, &[]).await;
    assert!(
        answer.contains("upstream_connect") || answer.contains("upstream_timeout"),
        "{answer}"
    );

    // A pooled connection dies in silence.
    remote.namespace.drop_packets(&[]);
    assert!(remote.ask(&cluster, &session, &[]).await.contains(SERVED));
    remote.namespace.drop_packets(&[remote.to(port, "")]);
    let answer = remote.ask(&cluster, &session, &[]).await;
    assert!(answer.contains("502") || answer.contains("504"), "{answer}");

    // Large packets vanish, small ones pass: a path whose MTU nobody says.
    remote.namespace.drop_packets(&[]);
    poll("a connection that lives", || async {
        let answer = remote.ask(&cluster, &session, &[]).await;
        answer.contains(SERVED).then_some(())
    })
    .await;
    remote
        .namespace
        .drop_packets(&[remote.to(port, "meta length > 1000")]);
    let large = cluster.path().join("large");
    std::fs::write(&large, vec![b'x'; 2_000_000]).unwrap();
    let body = format!("@{}", large.display());
    let answer = remote
        .ask(&cluster, &session, &["--data-binary", &body, "-X", "POST"])
        .await;
    // Of a stream whose body was on its way the end is all that HTTP/2 shows.
    assert!(!answer.contains(SERVED), "{answer}");
    remote.namespace.drop_packets(&[]);
    assert!(remote.ask(&cluster, &session, &[]).await.contains(SERVED));
    remote.gateway.stop().await;
    Box::pin(invariants::hold(cluster, &[])).await;
}
