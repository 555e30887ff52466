//! How the process ends what is open: it asks first, and cuts at the deadline.
//!
//! | when | what |
//! |---|---|
//! | at once | nothing is accepted; idle connections end, HTTP/2 is told so (`GOAWAY`), HTTP/1.1 with its next answer |
//! | until the deadline | requests under way go on |
//! | then | WebSockets are closed with 1001 |
//! | a second later | what is still open is cut, and has two more for its entries |

use std::time::Duration;

use tokio::time::Instant;

use crate::client::tunnels::Tunnels;
use crate::metrics::Metrics;

/// How often open connections are counted.
const TICK: Duration = Duration::from_millis(20);
/// What an agent and its upstream have to close a WebSocket once they were told to.
const FAREWELL: Duration = Duration::from_secs(1);
/// After the cut, entries close within moments; what still is not over then has hung.
const HUNG: Duration = Duration::from_secs(2);

/// Waits until no connection is open; at the deadline it closes those that are, and then cuts them.
pub(crate) async fn drain(metrics: &Metrics, tunnels: &Tunnels, deadline: Duration) {
    let started = Instant::now();
    let mut cut = 0;
    let open = || metrics.connections.get() > 0;
    while open() && started.elapsed() < deadline {
        tokio::time::sleep(TICK).await;
    }
    if open() {
        tunnels.close();
        let cut_at = started + deadline + FAREWELL;
        while open() && Instant::now() < cut_at {
            tokio::time::sleep(TICK).await;
        }
        cut = tunnels.cut_all();
        while open() && Instant::now() < cut_at + HUNG {
            tokio::time::sleep(TICK).await;
        }
    }
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(duration_ms, cut, "connections are drained");
}
