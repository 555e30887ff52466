//! What holds whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::fleet::Rival;
use crate::support::{Api, Cluster, DEADLINE};

/// Checks the four, and ends the cluster. Faults are over by now: control and a gateway must be there.
///
/// `rivals` are the tenants that used the cluster beside its own.
pub(super) async fn hold(cluster: Cluster, rivals: &[Rival]) {
    let mut apis = vec![cluster.api.clone()];
    apis.extend(rivals.iter().map(|rival| rival.api.clone()));
    what_was_sent_is_recorded(&cluster, &apis).await;
    no_connection_is_shared(&cluster, rivals);
    nothing_panicked(&cluster);
    cluster.finish().await;
}

/// The path of a request, without its query: what the audit log keeps.
fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Each request that reached the upstream has an entry of its own.
async fn what_was_sent_is_recorded(cluster: &Cluster, apis: &[Api]) {
    let mut sent = BTreeMap::<String, usize>::new();
    for request in cluster.recorded() {
        if let Some(target) = request["target"].as_str() {
            *sent.entry(path(target).to_owned()).or_default() += 1;
        }
    }
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let missing = missing_from(&recorded(apis).await, &sent);
        if missing.is_empty() {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "sent and not in the audit log:\n{}",
            missing.join("\n")
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// How often each path is in the audit logs.
async fn recorded(apis: &[Api]) -> BTreeMap<String, usize> {
    let mut recorded = BTreeMap::<String, usize>::new();
    for api in apis {
        for entry in api.audit().await {
            let url = entry["url"].as_str().unwrap_or_default();
            // Behind the scheme and the authority.
            let Some((at, _)) = url.match_indices('/').nth(2) else {
                continue;
            };
            *recorded.entry(path(&url[at..]).to_owned()).or_default() += 1;
        }
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
    for request in cluster.recorded() {
        let Some(connection) = request["connection"].as_u64() else {
            continue;
        };
        let value = injected(&request);
        if value.is_empty() {
            continue;
        }
        let rival = rivals
            .iter()
            .position(|rival| value.contains(&rival.value))
            .map_or(0, |at| at + 1);
        users.entry(connection).or_default().insert(rival);
    }
    let shared: Vec<_> = users.iter().filter(|(_, users)| users.len() > 1).collect();
    assert!(
        shared.is_empty(),
        "connections of several tenants: {shared:?}"
    );
}

fn injected(request: &Value) -> String {
    let headers = request["headers"].as_array();
    headers
        .into_iter()
        .flatten()
        .find(|header| header[0] == "authorization")
        .and_then(|header| header[1].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// No program of ours left the words of a panic.
fn nothing_panicked(cluster: &Cluster) {
    for entry in std::fs::read_dir(cluster.path()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let panicked = text.lines().find(|line| line.contains("panicked at"));
        assert!(panicked.is_none(), "{}: {panicked:?}", path.display());
    }
}
