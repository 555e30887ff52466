//! Requests that go on while a fault happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::RequestBuilder;
use tokio::task::JoinHandle;

use crate::support::{Cluster, Minted, poll};

/// How long a client rests behind a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients that ask again and again until they are told to stop.
#[derive(Default)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    failures: Arc<Mutex<BTreeMap<String, usize>>>,
    clients: Vec<Client>,
}

struct Client {
    name: String,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What became of a load's requests.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) served: usize,
    /// How often each failure was seen: `503 stale_lease`, or what the client says.
    pub(crate) failures: BTreeMap<String, usize>,
}

impl Load {
    /// Starts so many clients of a session at a gateway's proxy port, each with connections of its own. Each request
    /// has a path of its own.
    pub(crate) fn start(cluster: &Cluster, session: &Minted, proxy: u16, clients: usize) -> Self {
        Self::paced(cluster, session, proxy, (clients, Duration::ZERO))
    }

    /// The same, with so long between the requests of one client.
    pub(crate) fn paced(
        cluster: &Cluster,
        session: &Minted,
        proxy: u16,
        (clients, pause): (usize, Duration),
    ) -> Self {
        let mut load = Self::default();
        let run = uuid::Uuid::new_v4().simple();
        for number in 0..clients {
            let client = cluster.client(proxy, session);
            let client = client.timeout(Duration::from_secs(20)).build().unwrap();
            let base = cluster.url(&format!("/json/{run}/{number}"));
            load.add(&format!("client {number}"), move |number| {
                at_pace(client.get(format!("{base}/{number}")), pause)
            });
        }
        load
    }

    /// So many that share a client's connections and ask for the same.
    pub(crate) fn crowd(client: &reqwest::Client, url: &str, clients: usize) -> Self {
        let mut load = Self::default();
        for number in 0..clients {
            let (client, url) = (client.clone(), url.to_owned());
            load.add(&format!("client {number}"), move |_| {
                answered(client.get(&url), 1)
            });
        }
        load
    }

    /// Adds a client of any kind. It is given the number of its request; an error says how it failed.
    pub(crate) fn add<F>(&mut self, name: &str, ask: impl Fn(usize) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let served = Arc::<AtomicUsize>::default();
        let (stop, failures, count) = (self.stop.clone(), self.failures.clone(), served.clone());
        let task = tokio::spawn(async move {
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                match ask(number).await {
                    Ok(()) => {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(failure) => {
                        *failures.lock().entry(failure).or_default() += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        let name = name.to_owned();
        self.clients.push(Client { name, served, task });
    }

    /// How many requests were served so far.
    pub(crate) fn served(&self) -> usize {
        self.clients.iter().map(Client::served).sum()
    }

    /// How many requests failed in this way so far.
    pub(crate) fn failed(&self, kind: &str) -> usize {
        let failures = self.failures.lock();
        failures.get(kind).copied().unwrap_or_default()
    }

    /// Waits until so many more were served.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.served() + count;
        poll("the load to be served", || async {
            (self.served() >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until each of the clients was served so many times more, or one has failed.
    pub(crate) async fn each_more(&self, count: usize) {
        let clients = self.clients.iter();
        let wanted: Vec<_> = clients.map(|one| (one, one.served() + count)).collect();
        for (client, wanted) in wanted {
            let what = format!("{} to be served", client.name);
            poll(&what, || async {
                let failed = !self.failures.lock().is_empty();
                (failed || client.served() >= wanted).then_some(())
            })
            .await;
        }
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> Outcome {
        let mut served = 0;
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.task.await.unwrap();
            served += client.served.load(Ordering::Relaxed);
        }
        let failures = self.failures.lock().clone();
        Outcome { served, failures }
    }
}

impl Client {
    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

impl Outcome {
    /// Fails the test unless all were served.
    pub(crate) fn without_failure(self) {
        assert!(self.failures.is_empty(), "failed: {:?}", self.failures);
        assert!(self.served > 0, "nothing was asked");
    }
}

/// Asks. What is no success, or shorter than so many bytes, is a failure: `503 stale_lease`, or what the client says.
pub(crate) async fn answered(request: RequestBuilder, least: usize) -> Result<(), String> {
    let answer = request.send().await.map_err(|error| kind(&error))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| kind(&error))?;
    if status.is_success() && body.len() >= least {
        return Ok(());
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or("?");
    Err(format!("{} {code}", status.as_u16()))
}

/// Asks, and rests behind what was served.
async fn at_pace(request: RequestBuilder, pause: Duration) -> Result<(), String> {
    answered(request, 1).await?;
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// The last cause: the ones before it only say that a request failed.
fn kind(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
