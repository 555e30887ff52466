//! Requests that go on while a fault happens, each with a path of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::support::{Cluster, Minted, poll};

/// Clients that ask again and again until they are told to stop.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    served: AtomicUsize,
    failures: parking_lot::Mutex<BTreeMap<String, usize>>,
}

/// What became of a load's requests.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) served: usize,
    /// How often each failure was seen: `503 stale_lease`, or what the client says.
    pub(super) failures: BTreeMap<String, usize>,
}

impl Load {
    /// Starts so many clients of a session at a gateway's proxy port, each with connections of its own.
    pub(super) fn start(cluster: &Cluster, session: &Minted, proxy: u16, clients: usize) -> Self {
        let pem = std::fs::read(cluster.ca()).unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&pem).unwrap();
        let proxy = format!("http://x:{}@127.0.0.1:{proxy}", session.token);
        let shared = Arc::<Shared>::default();
        let clients = (0..clients)
            .map(|number| {
                let builder = reqwest::Client::builder()
                    .proxy(reqwest::Proxy::all(&proxy).unwrap())
                    .timeout(Duration::from_secs(20));
                let builder = roots
                    .iter()
                    .cloned()
                    .fold(builder, |builder, root| builder.add_root_certificate(root));
                let run = uuid::Uuid::new_v4().simple();
                let base = cluster.url(&format!("/json/{run}/{number}"));
                tokio::spawn(ask(builder.build().unwrap(), base, shared.clone()))
            })
            .collect();
        Self { shared, clients }
    }

    /// How many requests were served so far.
    pub(super) fn served(&self) -> usize {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// How many requests failed in this way so far.
    pub(super) fn failed(&self, kind: &str) -> usize {
        let failures = self.shared.failures.lock();
        failures.get(kind).copied().unwrap_or_default()
    }

    /// Waits until so many more were served.
    pub(super) async fn more(&self, count: usize) {
        let wanted = self.served() + count;
        poll("the load to be served", || async {
            (self.served() >= wanted).then_some(())
        })
        .await;
    }

    /// Stops it.
    pub(super) async fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        Outcome {
            served: self.shared.served.load(Ordering::Relaxed),
            failures: self.shared.failures.lock().clone(),
        }
    }
}

impl Outcome {
    /// Fails the test unless all were served.
    pub(super) fn without_failure(self) {
        assert!(self.failures.is_empty(), "failed: {:?}", self.failures);
        assert!(self.served > 0, "nothing was asked");
    }
}

async fn ask(client: reqwest::Client, base: String, shared: Arc<Shared>) {
    let mut number = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        match one(&client, &format!("{base}/{number}")).await {
            Ok(()) => {
                shared.served.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => {
                *shared.failures.lock().entry(failure).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn one(client: &reqwest::Client, url: &str) -> Result<(), String> {
    let answer = client.get(url).send().await.map_err(|error| kind(&error))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| kind(&error))?;
    if status.is_success() {
        return Ok(());
    }
    let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or("?");
    Err(format!("{} {code}", status.as_u16()))
}

/// The last cause: the ones before it only say that a request failed.
fn kind(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
