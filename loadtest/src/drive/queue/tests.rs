use std::time::Duration;

use super::*;

#[tokio::test]
async fn what_is_due_is_taken_in_order_and_then_agents_go() {
    let queue = Queue::paced();
    let now = Instant::now();
    let due = [0, 1, 2].map(|at| now + Duration::from_millis(at));
    for at in due {
        assert!(queue.push(at));
    }
    queue.end(2);
    for at in due {
        assert_eq!(queue.next().await, Some(at));
    }
    assert_eq!(queue.next().await, None);
    assert_eq!(queue.next().await, None);
}

#[tokio::test]
async fn a_queue_that_is_full_says_so() {
    let queue = Queue::paced();
    let now = Instant::now();
    for _ in 0..WAITING_MAX {
        assert!(queue.push(now));
    }
    assert!(!queue.push(now));
    assert_eq!(queue.len(), WAITING_MAX);
}

#[tokio::test]
async fn a_queue_that_always_has_something_ends() {
    let queue = Queue::always(Instant::now() + Duration::from_millis(5));
    let mut taken = 0_u64;
    while queue.next().await.is_some() {
        taken += 1;
    }
    assert!(taken > 0);
}
