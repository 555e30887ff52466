//! Limits: whose they are, what a refusal says, and how gateways share them.

use reqwest::Method;
use serde_json::{Value, json};

use super::faults::load::Load;
use super::support::fleet::{Node, NodeSetup};
use super::support::process::{self, Process, metric};
use super::support::{Cluster, free_port, poll};

/// A Redis of the test's own.
pub(crate) struct Redis {
    pub(crate) process: Process,
    port: u16,
}

impl Redis {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_at(cluster, free_port())
    }

    /// Another one in the place of one that is gone.
    pub(crate) fn again(&mut self, cluster: &Cluster) {
        *self = Self::start_at(cluster, self.port);
    }

    fn start_at(cluster: &Cluster, port: u16) -> Self {
        let mut command = tokio::process::Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(cluster.path());
        Self {
            process: Process::start_command(cluster.path(), "redis", command),
            port,
        }
    }

    /// What a gateway has to know of it. Machines of tests are slow: its budget is not what is tested.
    pub(crate) fn config(&self) -> String {
        format!(
            "[redis]\nurl = \"redis://127.0.0.1:{}\"\nbudget_ms = 1000\n",
            self.port
        )
    }
}

/// A gateway that shares limits.
pub(crate) async fn sharing(cluster: &Cluster, name: &str, redis: &Redis) -> Node {
    let setup = NodeSetup {
        config: redis.config(),
        ..NodeSetup::default()
    };
    cluster
        .add_gateway_with(name, &[cluster.ports.feed], setup)
        .await
}

/// Waits until a gateway counts so many gateways.
pub(crate) async fn counts(admin: u16, gateways: u64) {
    poll("the number of gateways", || async {
        let text = process::get(admin, "/state").await?;
        let state: Value = serde_json::from_str(&text).ok()?;
        (state["gateways"] == gateways).then_some(())
    })
    .await;
}

/// How many of so many requests, one after the other, are answered by the upstream. The others are `rate_limited`.
async fn admitted(client: &reqwest::Client, url: &str, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        let answer = client.get(url).send().await.unwrap();
        match answer.status().as_u16() {
            200 => admitted += 1,
            429 => assert_eq!(answer.headers()["x-sortie-code"], "rate_limited"),
            other => panic!("{other}"),
        }
    }
    admitted
}

/// Two requests in a minute, as the API has it.
fn two_a_minute() -> Value {
    json!({"requests": {"count": 2, "per": "minute"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_whose_limit_it_is_and_when_to_come_back() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let vault = "/v1/tenants/-/vaults/main";
    let agent = "/v1/tenants/-/agents/runner";
    let inject = json!([{"type": "bearer", "credential": "API_KEY"}]);
    let url = cluster.url("/bytes/8");
    for (of, path, field) in [
        ("session", vault, "session_limits"),
        ("session", agent, "session_limits"),
        ("agent", agent, "limits"),
        ("service", "", ""),
        ("vault", vault, "limits"),
        ("tenant", "/v1/tenants/acme", "limits"),
    ] {
        let set = async |limits: Value| match of {
            "service" => {
                let spec = json!({"inject": inject, "limits": limits});
                cluster.service("api", spec).await;
            }
            "tenant" => {
                let body = json!({field: limits});
                drop(cluster.api.operate(Method::PATCH, path, Some(body)).await);
            }
            _ => drop(cluster.api.patch(path, json!({field: limits})).await),
        };
        // Each has a bucket of its own, so that the third request of a new session finds an empty one.
        set(two_a_minute()).await;
        let session = cluster.session().await;
        let client = cluster
            .client(cluster.ports.proxy, &session)
            .build()
            .unwrap();
        let refused = poll("a refusal", || async {
            let answer = client.get(&url).send().await.unwrap();
            (answer.status() == 429).then_some(answer)
        })
        .await;
        let after: u64 = refused.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=30).contains(&after), "{of}: {after}");
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["code"], "rate_limited", "{body}");
        let limit = json!({"of": of, "unit": "requests", "retry_after_seconds": after});
        assert_eq!(body["limit"], limit);
        set(json!({})).await;
        poll("no limit", || async {
            let answer = client.get(&url).send().await.unwrap();
            (answer.status() == 200).then_some(())
        })
        .await;
    }
    poll("refusals in the audit log", || async {
        let entries = cluster.api.audit().await;
        let refused = entries
            .iter()
            .filter(|entry| entry["code"] == "rate_limited");
        (refused.count() >= 6).then_some(())
    })
    .await;
    let refused = metric(
        cluster.ports.gateway_admin,
        "sortie_gateway_limited_total{limit=\"vault\",unit=\"requests\"}",
    );
    assert!(refused.await >= Some(1.0));
    drop(value);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_open_at_once_and_how_many_bytes_may_pass_is_limited_too() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let client = cluster
        .client(cluster.ports.proxy, &session)
        .build()
        .unwrap();
    let vault = "/v1/tenants/-/vaults/main";
    let limits = |limits: Value| cluster.api.patch(vault, json!({"limits": limits}));
    drop(limits(json!({"concurrency": 1})).await);
    // Under load, so that the change reaches the gateway while requests are open.
    let crowd = Load::crowd(&client, &cluster.url("/slow?ms=200"), 4);
    let slow = cluster.url("/bytes/8");
    let refused = poll("a refusal", || async {
        let answer = client.get(&slow).send().await.unwrap();
        (answer.status() == 429).then_some(answer)
    })
    .await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "too_many");
    assert_eq!(body["limit"]["of"], "vault");
    assert_eq!(body["limit"]["unit"], "concurrency");
    let seen = crowd.stop().await;
    assert!(
        seen.failures.keys().all(|kind| kind == "429 too_many"),
        "{seen:?}"
    );
    let bytes = json!({"bytes": {"count": 1_000_000, "per": "hour"}});
    drop(limits(bytes).await);
    let large = cluster.url("/bytes/300000");
    let body = poll("a bucket that owes", || async {
        let answer = client.get(&large).send().await.unwrap();
        let is_refused = answer.status() == 429;
        let body = answer.bytes().await.unwrap();
        // What is let in comes whole: nothing is cut for a limit.
        assert!(is_refused || body.len() == 300_000, "{}", body.len());
        is_refused.then_some(body)
    })
    .await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["code"], "rate_limited");
    assert_eq!(body["limit"]["unit"], "bytes");
    assert!(
        body["limit"]["retry_after_seconds"].as_u64().unwrap() > 60,
        "{body}"
    );
    drop(client);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_one_limit_through_redis() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let redis = Redis::start(&cluster);
    let one = sharing(&cluster, "gw2", &redis).await;
    let other = sharing(&cluster, "gw3", &redis).await;
    for admin in [one.admin, other.admin] {
        counts(admin, 3).await;
    }
    let hundred = json!({"limits": {"requests": {"count": 100, "per": "hour"}}});
    cluster
        .api
        .patch("/v1/tenants/-/vaults/main", hundred)
        .await;
    let session = cluster.session().await;
    let url = cluster.url("/bytes/8");
    let client = |proxy| cluster.client(proxy, &session).build().unwrap();
    let (here, there) = (client(one.proxy), client(other.proxy));
    // Three quarters at one gateway, more than its third; what is left of them at the other one.
    let first = admitted(&here, &url, 75).await;
    assert_eq!(first, 75, "one may use what others do not");
    let second = admitted(&there, &url, 100).await;
    let again = admitted(&here, &url, 20).await;
    let all = first + second + again;
    // A batch is eight here, and each of the two may admit one before it hears that nothing is left.
    assert!((100..=120).contains(&all), "{first} + {second} + {again}");
    for admin in [one.admin, other.admin] {
        let asked = metric(
            admin,
            "sortie_gateway_redis_calls_total{outcome=\"answered\"}",
        );
        assert!(asked.await >= Some(1.0));
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gateway_takes_its_share() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let other = cluster.add_gateway("gw2", &[cluster.ports.feed]).await;
    for admin in [cluster.ports.gateway_admin, other.admin] {
        counts(admin, 2).await;
    }
    let limits = json!({"limits": {"requests": {"count": 40, "per": "hour"}}});
    cluster.api.patch("/v1/tenants/-/vaults/main", limits).await;
    let session = cluster.session().await;
    let url = cluster.url("/bytes/8");
    for proxy in [cluster.ports.proxy, other.proxy] {
        let client = cluster.client(proxy, &session).build().unwrap();
        assert_eq!(admitted(&client, &url, 30).await, 20);
    }
    cluster.finish().await;
}
