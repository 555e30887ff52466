//! What goes on while something that a gateway needs is away, and what does not.

use std::time::Duration;

use serde_json::json;

use super::invariants;
use super::load::Load;
use super::proxy::{FaultProxy, Weather};
use crate::support::fleet::{Node, NodeSetup};
use crate::support::{Cluster, Minted, Setup, poll};

/// What `/bytes/8` is answered with.
const SERVED: &str = "xxxxxxxx";

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn f2_without_control_brokering_goes_on_until_the_lease_ends_and_resumes_with_it() {
    let clock = crate::support::clock::MovableClock::build();
    let setup = Setup {
        gateway_env: clock.environment(),
        ..Default::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();

    cluster.control.stop().await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    clock.advance_leases(840);
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    clock.advance_leases(960);
    poll("the lease to end", || async {
        let seen = cluster
            .curl(&session, &["-i", &cluster.url("/bytes/8")])
            .await
            .seen();
        seen.contains("stale_lease").then_some(())
    })
    .await;

    cluster.restart_control().await;
    poll("brokering to resume", || async {
        (cluster
            .curl(&session, &["-f", &cluster.url("/bytes/8")])
            .await
            .code
            == 0)
            .then_some(())
    })
    .await;
    // The feed goes on: a change made now arrives.
    cluster
        .service("later", json!({"host": "other.up.test"}))
        .await;
    let url = format!("https://other.up.test:{}/bytes/8", cluster.ports.https);
    poll("a new change", || async {
        (cluster.curl(&session, &["-f", &url]).await.code == 0).then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

/// Of the two addresses of `other.up.test` nobody listens at the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_dead_address_is_reached() {
    let cluster = Cluster::start().await;
    let value = cluster.plain_secret("other");
    cluster
        .credential_for("OTHER", &value, &["other.up.test"])
        .await;
    let inject = json!([{"type": "bearer", "credential": "OTHER"}]);
    cluster
        .service("other", json!({"host": "other.up.test", "inject": inject}))
        .await;
    let session = cluster.session().await;
    let url = format!("https://other.up.test:{}/bytes/8", cluster.ports.https);
    let answer = cluster.curl(&session, &["-f", &url]).await.ok();
    assert_eq!(answer, "xxxxxxxx");
    assert_eq!(cluster.recorded().len(), 1);
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_with_every_control_killed_known_vaults_are_served_and_others_are_refused_at_once() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let rival = cluster.rival().await;
    let mut second = cluster.add_control("second").await;
    let node = cluster
        .add_gateway("gw2", &[second.ports.feed, cluster.ports.feed])
        .await;
    let session = cluster.session().await;
    let loads = [
        Load::start(&cluster, &session, cluster.ports.proxy, 2),
        Load::start(&cluster, &session, node.proxy, 2),
    ];
    for load in &loads {
        load.more(50).await;
    }
    second.process.kill().await;
    cluster.control.kill().await;
    for load in &loads {
        load.more(300).await;
    }
    // Nobody has used the rival's vault here yet: nothing of it is in memory.
    let cold = cluster
        .curl_at(&node, &rival.session, &["-i", &cluster.url("/bytes/8")])
        .await
        .seen();
    assert!(
        cold.contains("503") && cold.contains("vault_unavailable"),
        "{cold}"
    );
    assert!(cold.to_ascii_lowercase().contains("retry-after:"), "{cold}");
    cluster.restart_control().await;
    poll("the cold vault to be served", || async {
        let asked = cluster
            .curl_at(&node, &rival.session, &["-f", &cluster.url("/bytes/8")])
            .await;
        (asked.code == 0).then_some(())
    })
    .await;
    for load in loads {
        load.stop().await.without_failure();
    }
    Box::pin(invariants::hold(cluster, &[rival])).await;
}

/// A gateway that follows control through a faulty network, beside one that does not.
struct Partitioned {
    cluster: Cluster,
    network: FaultProxy,
    node: Node,
    session: Minted,
}

impl Partitioned {
    async fn start(env: Vec<(String, String)>) -> Self {
        let cluster = Cluster::start().await;
        cluster.bearer_service().await;
        let network = FaultProxy::before(cluster.ports.feed).await;
        let setup = NodeSetup {
            env,
            ..NodeSetup::default()
        };
        let node = cluster
            .add_gateway_with("gw2", &[network.port()], setup)
            .await;
        let session = cluster.session().await;
        let asked = [cluster.ports.proxy, node.proxy];
        for port in asked {
            let proxy = format!("http://x:{}@127.0.0.1:{port}", session.token);
            cluster
                .curl_through(&proxy, &["-f", &cluster.url("/bytes/8")])
                .await
                .ok();
        }
        Self {
            cluster,
            network,
            node,
            session,
        }
    }

    /// Waits until the partitioned gateway knows a service.
    async fn knows(&self, service: &str) {
        poll("a change to arrive", || async {
            let state = self.node.state().await?.to_string();
            state.contains(&format!("\"{service}\"")).then_some(())
        })
        .await;
    }

    /// What the partitioned gateway answers.
    async fn answer(&self) -> String {
        let url = self.cluster.url("/bytes/8");
        self.cluster
            .curl_at(&self.node, &self.session, &["-i", &url])
            .await
            .seen()
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn f7_a_revocation_holds_on_a_gateway_that_nobody_reaches_once_its_lease_ends() {
    let clock = crate::support::clock::MovableClock::build();
    let apart = Box::pin(Partitioned::start(clock.environment())).await;
    apart.network.set(Weather::Silent);

    let path = format!("/v1/tenants/-/sessions/{}:revoke", apart.session.id);
    let revoked = apart
        .cluster
        .api
        .post(&path, json!({"wait_seconds": 2}))
        .await;
    let missing = revoked["enforcement"]["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{revoked}");
    assert_eq!(missing[0]["name"], "gw2", "{revoked}");
    // The gateway that control reaches refuses at once, the other one serves on: it cannot know.
    let reached = apart
        .cluster
        .curl(&apart.session, &["-i", &apart.cluster.url("/bytes/8")])
        .await
        .seen();
    assert!(reached.contains("407"), "{reached}");
    clock.advance_leases(600);
    assert!(apart.answer().await.contains(SERVED));
    clock.advance_leases(960);
    poll("the lease to end", || async {
        apart.answer().await.contains("stale_lease").then_some(())
    })
    .await;
    apart.network.set(Weather::Fair);
    poll("the revocation to arrive", || async {
        let answer = apart.answer().await;
        assert!(!answer.contains(SERVED), "served after its lease: {answer}");
        answer.contains("407").then_some(())
    })
    .await;
    Box::pin(invariants::hold(apart.cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_what_is_lost_one_way_only_is_noticed_and_the_feed_begins_anew() {
    let apart = Box::pin(Partitioned::start(Vec::new())).await;
    // What is only late is not given up.
    let given_up = || {
        let log = apart.node.process.output();
        log.matches("control is not being followed").count()
    };
    let before = given_up();
    apart.network.set(Weather::Late(Duration::from_millis(300)));
    let late = json!({"host": "other.up.test", "path": "/late"});
    apart.cluster.service("late", late).await;
    apart.knows("late").await;
    assert_eq!(given_up(), before);
    for weather in [
        Weather::LosesAnswers,
        Weather::LosesRequests,
        Weather::Resets,
    ] {
        let before = apart.network.accepted();
        apart.network.set(weather);
        poll("the gateway to give its connection up", || async {
            (apart.network.accepted() > before).then_some(())
        })
        .await;
        apart.network.set(Weather::Fair);
        let name = format!("{weather:?}").to_lowercase();
        let host = json!({"host": "other.up.test", "path": format!("/{name}")});
        apart.cluster.service(&name, host).await;
        apart.knows(&name).await;
    }
    Box::pin(invariants::hold(apart.cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_a_gateway_turns_to_another_control_when_its_own_falls_silent() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let second = cluster.add_control("second").await;
    let networks = [
        FaultProxy::before(cluster.ports.feed).await,
        FaultProxy::before(second.ports.feed).await,
    ];
    let ports = networks.each_ref().map(FaultProxy::port);
    let node = cluster.add_gateway("gw2", &ports).await;
    let session = cluster.session().await;
    let url = cluster.url("/bytes/8");
    cluster.curl_at(&node, &session, &["-f", &url]).await.ok();
    for (at, silent) in networks.iter().enumerate() {
        silent.set(Weather::Silent);
        // Whichever it followed, a change reaches it now, by the other one.
        let name = format!("turn-{at}");
        cluster
            .service(
                &name,
                json!({"host": "other.up.test", "path": format!("/{name}")}),
            )
            .await;
        poll("a change to arrive by the other control", || async {
            let state = node.state().await?.to_string();
            state.contains(&format!("\"{name}\"")).then_some(())
        })
        .await;
        silent.set(Weather::Fair);
    }
    Box::pin(invariants::hold(cluster, &[])).await;
}
