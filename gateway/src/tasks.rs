//! The one place that spawns. Every task has a name, and someone who holds its handle or counts it.

use std::future::Future;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

/// Starts a background job. If it panics, that is logged and nothing else stops.
#[expect(clippy::disallowed_methods, reason = "this is the place that spawns")]
pub fn spawn<F>(name: &'static str, job: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        // The panic's message goes to the panic hook; its payload may hold anything and is dropped.
        if std::panic::AssertUnwindSafe(job)
            .catch_unwind()
            .await
            .is_err()
        {
            tracing::error!(task = name, "a task panicked; the others go on");
        }
    })
}
