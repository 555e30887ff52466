//! A gateway whose wall clock is wrong: what was ended stays ended, and what is good is not refused for minutes.

use super::invariants;
use super::load::Load;
use crate::support::clock::MovableClock;
use crate::support::{Cluster, Setup, poll};

const HOUR: i64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_wall_clock_that_jumps_revives_nothing_and_minutes_of_it_refuse_nobody() {
    let clock = MovableClock::build();
    let setup = Setup {
        gateway_env: clock.environment(),
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let (session, revoked) = (cluster.session().await, cluster.session().await);
    let ask = async |session| {
        let url = cluster.url("/bytes/8");
        cluster.curl(session, &["-i", &url]).await.seen()
    };
    assert!(ask(&revoked).await.contains("xxxxxxxx"));
    cluster.api.revoke(&revoked).await;
    poll("the revocation", || async {
        ask(&revoked).await.contains("407").then_some(())
    })
    .await;

    let load = Load::start(&cluster, &session, cluster.ports.proxy, 2);
    for minutes in [5, -5] {
        clock.set_wall(minutes * 60);
        load.more(100).await;
    }
    load.stop().await.without_failure();

    for (ahead, good) in [
        (-HOUR, true),
        (2 * HOUR, false),
        (10 * 365 * 24 * HOUR, false),
    ] {
        clock.set_wall(ahead);
        // A token that was read before is read again: connections and caches may outlive the jump by a moment.
        poll("the clock to count", || async {
            let served = ask(&session).await.contains("xxxxxxxx");
            (served == good).then_some(())
        })
        .await;
        let answer = ask(&revoked).await;
        assert!(!answer.contains("xxxxxxxx"), "{ahead}: {answer}");
    }
    clock.set_wall(0);
    poll("what is good to be served again", || async {
        ask(&session).await.contains("xxxxxxxx").then_some(())
    })
    .await;
    assert!(!ask(&revoked).await.contains("xxxxxxxx"));
    Box::pin(invariants::hold(cluster, &[])).await;
}
