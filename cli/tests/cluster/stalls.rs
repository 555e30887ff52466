//! Agents that stop reading hold up nobody else, though they share connections to the upstream.

use futures_util::future::join_all;

use super::support::{Cluster, DEADLINE};

/// More than windows and the buffers of sockets hold.
const LARGE: u32 = 256 << 20;
/// Requests beside them.
const SMALL: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_do_not_hold_up_the_vaults_other_requests() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let client = cluster
        .client(cluster.ports.proxy, &session)
        .read_timeout(DEADLINE / 4)
        .http1_only()
        .build()
        .unwrap();
    let (large, small) = (
        cluster.url(&format!("/bytes/{LARGE}")),
        cluster.url("/bytes/8"),
    );
    // Each has a connection of its own to the gateway, and a stream of the same one to the upstream.
    let held = join_all((0..12).map(|_| client.get(&large).send())).await;
    assert!(held.iter().all(Result::is_ok));
    // Long enough for what is held to fill every buffer on its way.
    for _ in 0..SMALL {
        let answer = client.get(&small).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap().len(), 8);
    }
    drop(held);
    cluster.finish().await;
}
