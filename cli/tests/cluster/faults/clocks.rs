//! A gateway whose wall clock is wrong: what was ended stays ended, what is good is not refused, and an alarm says so.

use super::invariants;
use super::load::Load;
use crate::support::clock::MovableClock;
use crate::support::{Cluster, Setup, poll, process};

const HOUR: i64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_wall_clock_that_jumps_revives_nothing_and_refuses_nobody() {
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

    for ahead in [-HOUR, 2 * HOUR, 10 * 365 * 24 * HOUR] {
        clock.set_wall(ahead);
        poll("the alarm", || async {
            let shown = process::get(cluster.ports.gateway_admin, "/metrics").await?;
            let line = |line: &str| {
                let value = line.strip_prefix("sortie_gateway_clock_ahead_seconds ")?;
                value.parse::<f64>().ok()
            };
            let found = shown.lines().find_map(line)?;
            ((found - ahead as f64).abs() < 30.0).then_some(())
        })
        .await;
        // Ten years ahead the upstream's certificate seems to have ended; what the token is worth is the same.
        let answer = ask(&session).await;
        assert!(!answer.contains("token_expired"), "{ahead}: {answer}");
        assert!(
            answer.contains("xxxxxxxx") || ahead > 3 * HOUR,
            "{ahead}: {answer}"
        );
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
