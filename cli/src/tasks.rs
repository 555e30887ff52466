//! The one place of this crate that spawns: every task has an owner that ends it, every thread an end.
//!
//! Invariant: a [`Tasks`] that is dropped takes its tasks with it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Tasks that end with their owner.
#[derive(Debug, Default)]
pub(crate) struct Tasks(JoinSet<()>);

impl Tasks {
    /// Starts one, and forgets those that are done, so that the set does not grow with the connections served.
    pub(crate) fn start(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.0.try_join_next().is_some() {}
        self.0.spawn(task);
    }

    /// How many run.
    pub(crate) fn running(&mut self) -> usize {
        while self.0.try_join_next().is_some() {}
        self.0.len()
    }
}

/// Runs something that blocks and cannot be interrupted, on a thread that ends with the program at the latest: nobody
/// has to wait for it. The receiver gets nothing if there is no thread to be had.
pub(crate) fn detached<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new()
        .name("detached".to_owned())
        // Whoever stopped waiting does not want the answer.
        .spawn(move || drop(sender.send(work())));
    drop(started);
    receiver
}

/// Tasks that start one another: each holds a handle, and [`Crew::end`] ends them all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crew(Arc<Mutex<Tasks>>);

impl Crew {
    /// Starts one.
    pub(crate) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks(|tasks| tasks.start(task));
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        // Taken out first: a task that is dropped may start another one on its way.
        drop(self.tasks(std::mem::take));
    }

    fn tasks<T>(&self, act: impl FnOnce(&mut Tasks) -> T) -> T {
        // Whoever panicked left a set of tasks that is still one.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// So that hyper's own tasks have an owner too.
impl<F> Executor<F> for Crew
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.start(async move {
            let _ended = task.await;
        });
    }
}
