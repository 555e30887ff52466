use super::*;

fn completion(status: u32) -> Completion {
    Completion {
        status,
        ..Completion::default()
    }
}

#[test]
fn a_full_queue_hands_the_completion_back() {
    let queue = Queue::new(2);
    assert_eq!(queue.push(completion(1)), Pushed::HalfFull);
    assert_eq!(queue.push(completion(2)), Pushed::Queued);
    assert_eq!(queue.push(completion(3)), Pushed::Full(completion(3)));
    assert_eq!(queue.len(), 2);
}

#[test]
fn what_is_put_back_stays_in_front() {
    let queue = Queue::new(8);
    queue.push(completion(1));
    let (turn, taken) = queue.drain();
    queue.push(completion(2));
    queue.put_back(taken);
    drop(turn);
    let (_turn, taken) = queue.drain();
    assert_eq!(taken, [completion(1), completion(2)]);
}
