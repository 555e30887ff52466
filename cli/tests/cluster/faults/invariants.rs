//! What holds whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::support::fleet::Rival;
use crate::support::{Cluster, DEADLINE};

/// Where a stage panics because a test wants it.
const WANTED: &str = "panicked at gateway/src/fail.rs";

/// Checks the four, and ends the cluster. Faults are over by now: control and a gateway must be there.
///
/// `rivals` are the tenants that used the cluster beside its own.
pub(super) async fn hold(cluster: Cluster, rivals: &[Rival]) {
    what_was_sent_is_recorded(&cluster).await;
    no_connection_is_shared(&cluster, rivals);
    nothing_panicked(&cluster);
    cluster.finish().await;
}

/// Shows each request that reached the upstream, one after the other: after a soak there are hundreds of thousands.
fn each_sent(cluster: &Cluster, mut see: impl FnMut(&Value)) {
    let Ok(file) = File::open(cluster.path().join("upstream/requests.jsonl")) else {
        return;
    };
    for line in BufReader::new(file).lines() {
        if let Ok(request) = serde_json::from_str(&line.unwrap()) {
            see(&request);
        }
    }
}

/// The path of a request, without its query: what the audit log keeps.
fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Each request that reached the upstream has an entry of its own.
async fn what_was_sent_is_recorded(cluster: &Cluster) {
    let mut sent = BTreeMap::<String, usize>::new();
    each_sent(cluster, |request| {
        if let Some(target) = request["target"].as_str() {
            *sent.entry(path(target).to_owned()).or_default() += 1;
        }
    });
    // A journal that has filled for long may take long to drain: it is given up once nothing comes any more.
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    loop {
        let missing = missing_from(&recorded(cluster), &sent);
        if missing.is_empty() {
            return;
        }
        if missing.len() < fewest {
            (fewest, since) = (missing.len(), Instant::now());
        }
        assert!(
            since.elapsed() < DEADLINE,
            "{} paths were sent and are not in the audit log, e.g.\n{}",
            missing.len(),
            missing[..missing.len().min(20)].join("\n")
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// How often each path is in the audit logs of all tenants, as the database counts them.
fn recorded(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut recorded = BTreeMap::<String, usize>::new();
    let counted = cluster.sql("SELECT count(*), url FROM audit_uses GROUP BY url");
    for line in counted.lines() {
        let (count, url) = line.split_once('|').unwrap();
        // Behind the scheme and the authority.
        let Some((at, _)) = url.match_indices('/').nth(2) else {
            continue;
        };
        *recorded.entry(path(&url[at..]).to_owned()).or_default() +=
            count.parse::<usize>().unwrap();
    }
    recorded
}

fn missing_from(recorded: &BTreeMap<String, usize>, sent: &BTreeMap<String, usize>) -> Vec<String> {
    let held = |path: &str| recorded.get(path).copied().unwrap_or_default();
    sent.iter()
        .filter(|(path, count)| held(path) < **count)
        .map(|(path, count)| format!("{path}: {count} sent, {} recorded", held(path)))
        .collect()
}

/// No connection to the upstream carried the credentials of two tenants.
fn no_connection_is_shared(cluster: &Cluster, rivals: &[Rival]) {
    let mut users = BTreeMap::<u64, BTreeSet<usize>>::new();
    each_sent(cluster, |request| {
        let (connection, value) = (request["connection"].as_u64(), injected(request));
        let Some(connection) = connection.filter(|_| !value.is_empty()) else {
            return;
        };
        let rival = rivals.iter().position(|rival| value.contains(&rival.value));
        let user = rival.map_or(0, |at| at + 1);
        users.entry(connection).or_default().insert(user);
    });
    let shared: Vec<_> = users.iter().filter(|(_, users)| users.len() > 1).collect();
    assert!(
        shared.is_empty(),
        "connections of several tenants: {shared:?}"
    );
}

fn injected(request: &Value) -> &str {
    let headers = request["headers"].as_array();
    headers
        .into_iter()
        .flatten()
        .find(|header| header[0] == "authorization")
        .and_then(|header| header[1].as_str())
        .unwrap_or_default()
}

/// No program of ours left the words of a panic.
fn nothing_panicked(cluster: &Cluster) {
    for entry in std::fs::read_dir(cluster.path()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let panicked = |line: &&str| line.contains("panicked at") && !line.contains(WANTED);
        let panicked = text.lines().find(panicked);
        assert!(panicked.is_none(), "{}: {panicked:?}", path.display());
    }
}
