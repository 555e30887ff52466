//! What happens when processes die: nothing is lost, and what may not go on stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::invariants;
use super::load::Load;
use crate::support::api::Api;
use crate::support::{Cluster, poll, process};

#[tokio::test(flavor = "multi_thread")]
async fn f1_after_kill_9_of_the_gateway_every_request_that_the_upstream_saw_has_its_audit_entry() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let load = Load::start(&cluster, &session, cluster.ports.proxy, 8);
    load.more(300).await;
    cluster.kill_gateway().await;
    drop(load.stop().await);
    // What holds whatever happens is what this is about: the journal is replayed.
    cluster.restart_gateway().await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_with_one_gateway_killed_the_others_serve_everything_and_it_comes_back() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut node = cluster.add_gateway("gw2", &[cluster.ports.feed]).await;
    let survivor = Load::start(&cluster, &session, cluster.ports.proxy, 3);
    let struck = Load::start(&cluster, &session, node.proxy, 3);
    struck.more(100).await;
    node.process.kill().await;
    survivor.more(100).await;
    node.restart(cluster.path()).await;
    struck.more(100).await;
    survivor.stop().await.without_failure();
    let struck = struck.stop().await;
    assert!(
        !struck.failures.is_empty(),
        "its clients notice: {struck:?}"
    );
    Box::pin(invariants::hold(cluster, &[])).await;
}

/// Makes 125 changes, or as many as the control behind this client lives to take.
async fn write(api: Api, writer: usize, done: Arc<AtomicUsize>) {
    for number in 0..125 {
        let name = format!("w{writer}-{}", number % 5);
        let path = format!("/v1/tenants/-/vaults/main/services/{name}");
        let body = json!({"host": format!("{name}.up.test"), "path": format!("/{number}")});
        if !api.try_put(&path, body).await {
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// The version of each service in a list of them.
fn versions(list: &Value) -> BTreeMap<&str, u64> {
    let services = list["services"].as_array().unwrap().iter();
    let version = |service: &Value| service["version"].as_u64().unwrap();
    services
        .map(|service| (service["name"].as_str().unwrap(), version(service)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_a_thousand_changes_from_eight_writers_with_one_killed_all_reach_the_gateway() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    // A second control on the same database: half of the writers write through it, and it is killed in the middle.
    let mut second = cluster.add_control("second").await;
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let api = if writer % 2 == 0 {
                cluster.api.clone()
            } else {
                second.api.clone()
            };
            let done = done.clone();
            tokio::spawn(write(api, writer, done))
        })
        .collect();
    poll("the middle", || async {
        (done.load(Ordering::Relaxed) > 400).then_some(())
    })
    .await;
    second.process.kill().await;
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(
        done.load(Ordering::Relaxed) >= 500,
        "the writers of the first control all finish"
    );
    let listed = cluster
        .api
        .get("/v1/tenants/-/vaults/main/services?page_size=1000")
        .await;
    let wanted = versions(&listed);
    poll("the gateway to hold what the database holds", || async {
        let state = process::get(cluster.ports.gateway_admin, "/state").await?;
        let state: Value = serde_json::from_str(&state).unwrap();
        let mut vaults = state["vaults"].as_array().unwrap().iter();
        let vault = vaults.find(|vault| vault["name"] == "main")?;
        (versions(vault) == wanted).then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}
