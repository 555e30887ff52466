//! What happens to limits when Redis dies or stalls: nobody notices, and each gateway's share counts meanwhile. And who
//! is refused on a node that one tenant overloads.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::invariants;
use super::load::Load;
use crate::limits::{Redis, counts, sharing};
use crate::support::fleet::Node;
use crate::support::process::metric;
use crate::support::{Cluster, Minted, Setup, poll};

const ANSWERED: &str = "sortie_gateway_redis_calls_total{outcome=\"answered\"}";

/// Two gateways that share the limit of a vault: so many requests in a second that none is refused, or few in an hour.
struct Pair {
    cluster: Cluster,
    redis: Redis,
    nodes: [Node; 2],
    session: Minted,
}

impl Pair {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.bearer_service().await;
        let redis = Redis::start(&cluster);
        let nodes = [
            sharing(&cluster, "gw2", &redis).await,
            sharing(&cluster, "gw3", &redis).await,
        ];
        for node in &nodes {
            counts(node.admin, 3).await;
        }
        let pair = Self {
            session: cluster.session().await,
            cluster,
            redis,
            nodes,
        };
        pair.limit(1_000_000, "second").await;
        pair
    }

    async fn limit(&self, count: u64, per: &str) {
        let limits = json!({"limits": {"requests": {"count": count, "per": per}}});
        let vault = "/v1/tenants/-/vaults/main";
        drop(self.cluster.api.patch(vault, limits).await);
    }

    fn load(&self) -> [Load; 2] {
        let start = |node: &Node| Load::start(&self.cluster, &self.session, node.proxy, 4);
        self.nodes.each_ref().map(start)
    }

    /// Waits until both gateways hear from Redis again.
    async fn shares(&self) {
        for node in &self.nodes {
            let before = metric(node.admin, ANSWERED).await;
            poll("an answer of Redis", || async {
                (metric(node.admin, ANSWERED).await > before).then_some(())
            })
            .await;
        }
    }

    /// Waits until both gateways have noticed, and goes on for a while.
    async fn goes_on(&self, load: &[Load; 2], outcomes: &[&str]) {
        for node in &self.nodes {
            poll("calls that are not answered", || async {
                let mut unanswered = 0.0;
                for outcome in outcomes {
                    let name = format!("sortie_gateway_redis_calls_total{{outcome=\"{outcome}\"}}");
                    unanswered += metric(node.admin, &name).await.unwrap_or_default();
                }
                (unanswered > 2.0).then_some(())
            })
            .await;
        }
        for load in load {
            load.more(200).await;
        }
    }

    /// Nobody was refused, and nothing failed.
    async fn ends(self, load: [Load; 2]) {
        for load in load {
            load.stop().await.without_failure();
        }
        Box::pin(invariants::hold(self.cluster, &[])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_when_redis_dies_no_request_fails_and_it_is_used_again_once_it_is_back() {
    let mut pair = Box::pin(Pair::start()).await;
    let load = pair.load();
    pair.shares().await;
    pair.redis.process.kill().await;
    pair.goes_on(&load, &["failed", "late", "bypassed"]).await;
    pair.redis.again(&pair.cluster);
    pair.shares().await;
    Box::pin(pair.ends(load)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_while_redis_is_away_each_gateway_admits_its_share() {
    let mut pair = Box::pin(Pair::start()).await;
    pair.redis.process.kill().await;
    pair.limit(60, "hour").await;
    for node in &pair.nodes {
        let client = pair
            .cluster
            .client(node.proxy, &pair.session)
            .build()
            .unwrap();
        let url = pair.cluster.url("/bytes/8");
        let mut admitted = 0;
        for _ in 0..40 {
            let answer = client.get(&url).send().await.unwrap();
            admitted += usize::from(answer.status() == 200);
        }
        // A third of sixty; the share has no more.
        assert_eq!(admitted, 20);
    }
    Box::pin(invariants::hold(pair.cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f6_while_redis_stalls_requests_go_on() {
    let pair = Box::pin(Pair::start()).await;
    let load = pair.load();
    pair.shares().await;
    pair.redis.process.signal(Signal::SIGSTOP);
    pair.goes_on(&load, &["late", "failed"]).await;
    pair.redis.process.signal(Signal::SIGCONT);
    pair.shares().await;
    Box::pin(pair.ends(load)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_who_asks_for_ten_times_its_share_is_shed_and_nobody_else_notices() {
    let cluster = Cluster::start_with(Setup {
        gateway: "[limits]\nrequests_max = 16\n".to_owned(),
        ..Setup::default()
    })
    .await;
    cluster.bearer_service().await;
    let rival = cluster.rival().await;
    let client = |session| {
        cluster
            .client(cluster.ports.proxy, session)
            .build()
            .unwrap()
    };
    let (noisy, quiet) = (client(&cluster.session().await), client(&rival.session));
    let url = cluster.url("/slow?ms=50");
    // Eight open requests are a half of the node: one asks for eighty, the other for four.
    let noise = Load::crowd(&noisy, &url, 80);
    noise.more(200).await;
    let work = Load::crowd(&quiet, &url, 4);
    work.more(100).await;
    let answer = poll("a refusal", || async {
        let answer = noisy.get(&url).send().await.unwrap();
        (answer.status() == 503).then_some(answer)
    })
    .await;
    assert!(answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "overloaded");
    work.stop().await.without_failure();
    let noisy = noise.stop().await;
    let refused: Vec<_> = noisy.failures.keys().collect();
    assert_eq!(refused, ["503 overloaded"], "{noisy:?}");
    let shed = metric(
        cluster.ports.gateway_admin,
        "sortie_gateway_overload_shed_total{reason=\"requests\"}",
    );
    assert!(shed.await > Some(100.0));
    Box::pin(invariants::hold(cluster, &[rival])).await;
}
