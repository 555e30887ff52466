//! Two controls and two gateways on one database: what is minted at one holds everywhere at once, what is revoked at one
//! ends everywhere, whatever it is, and operators see both.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::support::fleet::{Node, Replica};
use super::support::{Cluster, DEADLINE, Finished, Minted, poll, tunnel};

/// A cluster with a second control, and a second gateway that follows it.
struct Fleet {
    cluster: Cluster,
    control: Replica,
    gateway: Node,
}

impl Fleet {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.bearer_service().await;
        let control = cluster.add_control("control2").await;
        let gateway = cluster.add_gateway("gw2", &[control.ports.feed]).await;
        let desk = json!({"name": "desk", "delegate": true});
        cluster.api.post("/v1/tenants/-/agents", desk).await;
        let grant = "/v1/tenants/-/vaults/main/grants/desk";
        cluster.api.put(grant, json!({"role": "user"})).await;
        Self {
            cluster,
            control,
            gateway,
        }
    }

    /// The proxies' ports.
    fn proxies(&self) -> [u16; 2] {
        [self.cluster.ports.proxy, self.gateway.proxy]
    }

    async fn curl(&self, session: &Minted, port: u16, arguments: &[&str]) -> Finished {
        let proxy = proxy(session, port);
        self.cluster.curl_through(&proxy, arguments).await
    }

    /// Runs `sortie` as an operator.
    async fn operate(&self, arguments: &[&str]) -> Finished {
        let api = self.cluster.api.base().to_owned();
        let key = self.cluster.path().join("control/operator.key");
        let key = key.display().to_string();
        let env = [
            ("SORTIE_API_URL", api.as_str()),
            ("SORTIE_API_KEY_FILE", &key),
        ];
        let program = env!("CARGO_BIN_EXE_sortie");
        self.cluster.run(program, arguments, &env).await
    }

    async fn finish(mut self) {
        self.gateway.process.stop().await;
        self.control.process.stop().await;
        self.cluster.finish().await;
    }
}

fn proxy(session: &Minted, port: u16) -> String {
    format!("http://x:{}@127.0.0.1:{port}", session.token)
}

/// What a session has open at a gateway.
struct Open {
    tunnel: TcpStream,
    streams: Vec<Child>,
}

impl Open {
    /// A CONNECT tunnel that nothing runs in, and endless event streams over HTTP/1.1 and HTTP/2.
    async fn at(fleet: &Fleet, session: &Minted, port: u16, name: &str) -> Self {
        let mut streams = Vec::new();
        for version in ["--http1.1", "--http2"] {
            let file = fleet.cluster.path().join(format!("{name}-{port}{version}"));
            let stream = Command::new("curl")
                .args(["--silent", "--no-buffer", version])
                .args(["--proxy", &proxy(session, port), "--cacert"])
                .arg(fleet.cluster.ca())
                .arg("-o")
                .arg(&file)
                .arg(fleet.cluster.url("/sse?n=0&interval_ms=20"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn();
            streams.push(stream.unwrap());
            poll("events", || async {
                let size = std::fs::metadata(&file).map_or(0, |found| found.len());
                (size > 0).then_some(())
            })
            .await;
        }
        let authority = format!("api.up.test:{}", fleet.cluster.ports.https);
        let (status, tunnel) = tunnel::connect(port, &authority, &session.token).await;
        assert_eq!(status, 200);
        Self { tunnel, streams }
    }

    /// Everything ends, and nothing as if it were complete. A tunnel in which no credential was used outlives one.
    async fn ends(mut self, what: &str, tunnel: bool) {
        for stream in &mut self.streams {
            let status = tokio::time::timeout(DEADLINE, stream.wait()).await;
            let status = status.unwrap_or_else(|_| panic!("{what}: a stream is still open"));
            assert!(!status.unwrap().success(), "{what}: a stream ended well");
        }
        let mut rest = [0; 16];
        if tunnel {
            let end = tokio::time::timeout(DEADLINE, self.tunnel.read(&mut rest)).await;
            let end = end.unwrap_or_else(|_| panic!("{what}: the tunnel is still open"));
            assert!(matches!(end, Ok(0) | Err(_)), "{what}: {end:?}");
        }
    }

    /// No stream has ended. An idle tunnel may have, by its own deadline.
    fn goes_on(&mut self, what: &str) {
        for stream in &mut self.streams {
            let ended = stream.try_wait().unwrap();
            assert!(ended.is_none(), "{what} cut another session's stream");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_minted_at_one_control_is_accepted_everywhere_at_once() {
    let fleet = Box::pin(Fleet::start()).await;
    let url = fleet.cluster.url("/bytes/8");
    let wanted = json!({"agent": "runner", "vaults": ["main"]});
    for _ in 0..5 {
        for api in [&fleet.cluster.api, &fleet.control.api] {
            let session = api.mint(wanted.clone()).await;
            for port in fleet.proxies() {
                // Nothing is polled.
                fleet.curl(&session, port, &["-f", &url]).await.ok();
            }
        }
    }
    Box::pin(fleet.finish()).await;
}

/// A kind of subject: the call that revokes it, and whether another user's session goes on.
fn kinds(parent: &Minted, child: &Minted) -> [(&'static str, String, Value, bool); 7] {
    let sessions = "/v1/tenants/-/sessions";
    let at = |path: &str| format!("/v1/tenants/-{path}:revoke");
    let nothing = || json!({});
    [
        (
            "a session",
            format!("{sessions}/{}:revoke", child.id),
            nothing(),
            true,
        ),
        (
            "what came from a session",
            format!("{sessions}:revoke"),
            json!({"parent": parent.id}),
            true,
        ),
        (
            "a user",
            format!("{sessions}:revoke"),
            json!({"user": "ada"}),
            true,
        ),
        ("an agent", at("/agents/desk"), nothing(), true),
        ("a vault", at("/vaults/main"), nothing(), false),
        ("a tenant", at(""), nothing(), false),
        (
            "a credential",
            at("/vaults/main/credentials/API_KEY"),
            nothing(),
            false,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_of_any_kind_cuts_what_is_open_on_every_gateway() {
    let fleet = Box::pin(Fleet::start()).await;
    let api = &fleet.control.api;
    let url = fleet.cluster.url("/bytes/8");
    for kind in 0..7 {
        let wanted = json!({"agent": "desk", "vaults": ["main"], "user": "ada"});
        let parent = api.mint(wanted).await;
        let wanted = json!({"agent": "desk", "vaults": ["main"], "parent": parent.id});
        let child = api.mint(wanted).await;
        // At a distance from its parent: it came from what came from it.
        let wanted = json!({"agent": "desk", "vaults": ["main"], "parent": child.id});
        let child = api.mint(wanted).await;
        let bystander = fleet.cluster.session().await;
        let (what, path, mut body, spares) = kinds(&parent, &child)[kind].clone();
        let mut open = Vec::new();
        let mut spared = Vec::new();
        for port in fleet.proxies() {
            open.push(Open::at(&fleet, &child, port, &format!("cut{kind}")).await);
            spared.push(Open::at(&fleet, &bystander, port, &format!("spared{kind}")).await);
        }
        body["wait_seconds"] = 20.into();
        let revoked = api.post(&path, body).await;
        let enforcement = &revoked["enforcement"];
        assert_eq!(enforcement["gateways"], 2, "{what}: {revoked}");
        assert_eq!(enforcement["enforced"], 2, "{what}: {revoked}");
        let by_credential = what == "a credential";
        for one in open {
            one.ends(what, !by_credential).await;
        }
        let code = if by_credential {
            "credential_revoked"
        } else {
            "407"
        };
        for port in fleet.proxies() {
            let refused = fleet.curl(&child, port, &["-i", &url]).await;
            assert!(refused.seen().contains(code), "{what}: {}", refused.seen());
        }
        for one in &mut spared {
            if spares {
                one.goes_on(what);
            }
        }
    }
    // A new value, and it is of use again, on every gateway.
    let value = fleet.cluster.plain_secret("again");
    fleet.cluster.credential("API_KEY", &value).await;
    let session = fleet.cluster.session().await;
    for port in fleet.proxies() {
        poll("the new value", || async {
            let answer = fleet.curl(&session, port, &["-f", &url]).await;
            (answer.code == 0).then_some(())
        })
        .await;
    }
    Box::pin(fleet.finish()).await;
}

async fn listed(fleet: &Fleet) -> Vec<Value> {
    let told = fleet.operate(&["gateway", "list", "--output", "json"]);
    let told: Value = serde_json::from_str(&told.await.ok()).unwrap();
    told.as_array().unwrap().clone()
}

fn named<'a>(gateways: &'a [Value], name: &str) -> &'a Value {
    let found = gateways.iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {gateways:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_fleet_and_lock_a_gateway_out_of_it() {
    let fleet = Box::pin(Fleet::start()).await;
    let url = fleet.cluster.url("/bytes/8");
    let session = fleet.cluster.session().await;
    let mut open = Vec::new();
    for port in fleet.proxies() {
        open.push(Open::at(&fleet, &session, port, "listed").await);
    }
    // The second follows the other control.
    let gateways = poll("reports of both", || async {
        let gateways = listed(&fleet).await;
        let all = gateways
            .iter()
            .all(|one| one["health"] == "live" && one["connections"] == 3 && one["behind"] == 0);
        (gateways.len() == 2 && all).then_some(gateways)
    })
    .await;
    for name in ["gw1", "gw2"] {
        let one = named(&gateways, name);
        assert_eq!(one["sessions"], 1, "{one}");
        assert_eq!(one["vaults"], 1, "{one}");
        assert_eq!(one["connected"], true, "{one}");
        assert_eq!(one["version"], env!("CARGO_PKG_VERSION"), "{one}");
    }

    fleet
        .operate(&["gateway", "lock", "gw2", "--yes"])
        .await
        .ok();
    let locked = open.pop().unwrap();
    locked.ends("a lock", true).await;
    poll("the locked gateway to refuse", || async {
        let port = fleet.gateway.proxy;
        let refused = fleet.curl(&session, port, &["-f", "-m", "5", &url]).await;
        (refused.code != 0).then_some(())
    })
    .await;
    open[0].goes_on("a lock");
    let gateways = listed(&fleet).await;
    assert_eq!(named(&gateways, "gw2")["health"], "locked");
    assert_eq!(named(&gateways, "gw1")["health"], "live");

    fleet.operate(&["gateway", "unlock", "gw2"]).await.ok();
    poll("the gateway to serve again", || async {
        let port = fleet.gateway.proxy;
        let answer = fleet.curl(&session, port, &["-f", "-m", "5", &url]).await;
        (answer.code == 0).then_some(())
    })
    .await;
    // Without a word for ten seconds it is away.
    drop(open);
    let mut fleet = fleet;
    fleet.gateway.process.kill().await;
    poll("the dead gateway to be away", || async {
        let gateways = listed(&fleet).await;
        (named(&gateways, "gw2")["health"] == "away").then_some(())
    })
    .await;
    Box::pin(fleet.finish()).await;
}
