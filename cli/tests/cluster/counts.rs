//! What a request costs, counted: system calls and allocations do not depend on the machine, as times do.
//!
//! The gateway runs below strace from its first instruction on: later it lets nobody attach.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures_util::future::join_all;
use reqwest::Client;
use serde::Deserialize;
use tempfile::TempPath;

use super::support::process::metric;
use super::support::{Cluster, Minted, Setup};

/// Requests before anything is counted: connections, tickets and caches are made by the first.
const WARM: usize = 40;
/// Requests that are counted.
const COUNTED: usize = 320;
/// Requests at once, where they are together.
const TOGETHER: usize = 16;

/// The bounds of one kind of request.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Bounds {
    allocations: f64,
    system_calls: f64,
}

/// What the requests of one kind cost.
#[derive(Debug)]
struct Cost {
    allocations: f64,
    system_calls: BTreeMap<String, usize>,
}

impl Cost {
    fn system_calls(&self) -> f64 {
        self.system_calls.values().sum::<usize>() as f64 / COUNTED as f64
    }

    /// A line of all of them, for whoever has to find out what has grown.
    fn line(&self, kind: &str) -> String {
        let mut line = format!(
            "{kind}: {:.1} allocations and {:.2} system calls a request",
            self.allocations,
            self.system_calls()
        );
        for (name, count) in &self.system_calls {
            let each = *count as f64 / COUNTED as f64;
            write!(line, " · {name} {each:.2}").unwrap();
        }
        line
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_costs_no_more_allocations_and_system_calls_than_it_may() {
    let bounds: BTreeMap<String, Bounds> = toml::from_str(include_str!("counts.toml")).unwrap();
    let counting = Counting::start().await;
    let mut grown = Vec::new();
    for (kind, bounds) in bounds {
        let cost = counting.of(&kind).await;
        println!("{}", cost.line(&kind));
        if cost.allocations > bounds.allocations || cost.system_calls() > bounds.system_calls {
            grown.push(format!("{}\n  may be {bounds:?}", cost.line(&kind)));
        }
    }
    counting.cluster.finish().await;
    assert!(
        grown.is_empty(),
        "requests cost more:\n{}",
        grown.join("\n")
    );
}

/// A cluster whose gateway is counted.
struct Counting {
    cluster: Cluster,
    trace: TempPath,
    session: Minted,
}

impl Counting {
    async fn start() -> Self {
        let trace = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let under = [
            "strace",
            "--daemonize",
            "--follow-forks",
            "--quiet=all",
            "--string-limit=0",
            "--output",
        ];
        let setup = Setup {
            gateway_under: under
                .map(str::to_owned)
                .into_iter()
                .chain([trace.display().to_string()])
                .collect(),
            // One thread does the requests' work, and does nothing but that: no line of the log is written.
            gateway_env: [("PROXY__WORKERS", "1"), ("LOG__LEVEL", "warn")]
                .map(|(name, value)| (format!("SORTIE_GATEWAY__{name}"), value.to_owned()))
                .into(),
            ..Setup::default()
        };
        let cluster = Cluster::start_with(setup).await;
        cluster.bearer_service().await;
        let session = cluster.session().await;
        Self {
            cluster,
            trace,
            session,
        }
    }

    fn client(&self, kind: &str) -> Client {
        let port = self.cluster.ports.proxy;
        let builder = self.cluster.client(port, &self.session);
        let builder = if kind == "http1" {
            builder.http1_only()
        } else {
            builder
        };
        builder.build().unwrap()
    }

    async fn of(&self, kind: &str) -> Cost {
        let client = self.client(kind);
        let together = if kind.ends_with("together") {
            TOGETHER
        } else {
            1
        };
        self.ask(&client, WARM, together).await;
        let (allocations, from) = (self.allocations().await, self.traced());
        self.ask(&client, COUNTED, together).await;
        let (after, calls) = (self.allocations().await, self.calls(from));
        Cost {
            allocations: (after - allocations) / COUNTED as f64,
            system_calls: calls,
        }
    }

    async fn ask(&self, client: &Client, count: usize, together: usize) {
        let url = self.cluster.url("/bytes/1024");
        for _ in 0..count / together {
            let one = async || {
                client
                    .get(&url)
                    .send()
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap()
                    .len()
            };
            let answers = join_all((0..together).map(|_| one())).await;
            assert!(answers.iter().all(|length| *length == 1024));
        }
    }

    async fn allocations(&self) -> f64 {
        let port = self.cluster.ports.gateway_admin;
        let allocations = metric(port, "sortie_gateway_allocations_total").await;
        allocations.expect("a debug build counts")
    }

    /// How much was traced so far.
    fn traced(&self) -> usize {
        std::fs::read(&self.trace).unwrap().len()
    }

    /// The worker's calls that were traced since, by name.
    fn calls(&self, from: usize) -> BTreeMap<String, usize> {
        let text = std::fs::read(&self.trace).unwrap();
        let text = String::from_utf8_lossy(&text[from..]);
        let worker = self.worker();
        let mut calls = BTreeMap::new();
        for line in text.lines() {
            // `4711 sendto(9, …`; the end of a call that took longer has a line of its own, `4711 <... recvfrom …`.
            let Some((thread, call)) = line.split_once(' ') else {
                continue;
            };
            let name = call.trim_start().split('(').next().unwrap_or_default();
            let begins = name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            if thread == worker && begins && !name.is_empty() {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// The id of the thread that serves requests.
    fn worker(&self) -> String {
        let tasks = format!("/proc/{}/task", self.cluster.gateway.id());
        std::fs::read_dir(tasks)
            .unwrap()
            .map(|task| task.unwrap())
            .find(|task| {
                std::fs::read_to_string(task.path().join("comm"))
                    .unwrap()
                    .trim()
                    == "worker"
            })
            .map(|task| task.file_name().into_string().unwrap())
            .expect("a worker")
    }
}
