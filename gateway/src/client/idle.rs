//! How long a connection has been without a new stream: one timer a connection, which no stream has to set.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The wait of one connection.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Duration,
    touched: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    /// Starts now.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            touched: Instant::now(),
            timer: Box::pin(sleep(limit)),
        }
    }

    /// Starts again.
    pub(super) fn touch(&mut self) {
        self.touched = Instant::now();
    }

    /// Waits until the limit has passed since it was last started, and starts again.
    ///
    /// Cancel-safe.
    pub(super) async fn over(&mut self) {
        loop {
            self.timer.as_mut().await;
            let end = self.touched + self.limit;
            let now = Instant::now();
            if end <= now {
                self.touched = now;
                self.timer.as_mut().reset(now + self.limit);
                return;
            }
            self.timer.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_the_limit_has_passed_since_the_last_touch() {
        let start = Instant::now();
        let mut idle = Idle::new(LIMIT);
        tokio::time::advance(Duration::from_secs(50)).await;
        idle.touch();
        idle.over().await;
        assert_eq!(start.elapsed().as_secs(), 110);
        idle.over().await;
        assert_eq!(start.elapsed().as_secs(), 170);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_was_given_up_goes_on() {
        let start = Instant::now();
        let mut idle = Idle::new(LIMIT);
        let given_up = tokio::time::timeout(Duration::from_secs(59), idle.over()).await;
        assert!(given_up.is_err());
        idle.over().await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
