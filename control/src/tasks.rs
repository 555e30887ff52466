//! The one place that spawns. Every task has a name, ends when the shutdown token is cancelled, and is waited for.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The background work of one process.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Tasks {
    /// Nothing runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that is cancelled when the process stops.
    #[must_use]
    pub const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Runs work until it ends. Work that does not watch [`Tasks::shutdown`] itself is dropped at the deadline of
    /// [`Tasks::stop`]. A panic is logged with the task's name and ends that task only.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.tracker.track_future(work);
        let inner = tokio::spawn(work);
        let watch = self.tracker.track_future(async move {
            if let Err(ended) = inner.await
                && ended.is_panic()
            {
                tracing::error!(task = name, "a task panicked");
            }
        });
        drop(tokio::spawn(watch));
    }

    /// Runs work until it ends or the process stops, whichever is first. Only for work that may be dropped at any
    /// await.
    pub fn spawn_until_stop(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        self.spawn(name, async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Tells all work to stop and waits for it. Returns whether all of it ended by the deadline.
    pub async fn stop(&self, deadline: Duration) -> bool {
        self.shutdown.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .is_ok()
    }
}
