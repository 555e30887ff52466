use sortie_proto::limits::Period;

use super::*;

const SECOND: Moment = 1_000_000_000;

fn view(count: u64, nodes: u32, now: Moment) -> View {
    View {
        rate: Rate::new(count, Period::Second, count).unwrap(),
        nodes,
        now,
    }
}

fn taken(bucket: &Bucket, view: View) -> usize {
    std::iter::from_fn(|| bucket.take(view).ok()).count()
}

#[test]
fn a_burst_at_once_and_then_the_rate() {
    let bucket = Bucket::default();
    assert_eq!(taken(&bucket, view(10, 1, SECOND)), 10);
    assert_eq!(
        bucket.take(view(10, 1, SECOND)),
        Err(Duration::from_millis(100))
    );
    let later = SECOND + 250_000_000;
    assert_eq!(taken(&bucket, view(10, 1, later)), 2);
    assert_eq!(
        bucket.take(view(10, 1, later)),
        Err(Duration::from_millis(50))
    );
    assert_eq!(taken(&bucket, view(10, 1, 100 * SECOND)), 10);
}

#[test]
fn nodes_together_admit_the_rate() {
    for nodes in [1, 2, 5] {
        let buckets: Vec<_> = (0..nodes).map(|_| Bucket::default()).collect();
        let all = |now| {
            let taken = buckets
                .iter()
                .map(|bucket| taken(bucket, view(10, nodes, now)));
            taken.sum::<usize>()
        };
        assert_eq!(all(SECOND), 10, "{nodes}");
        assert_eq!(all(2 * SECOND), 10, "{nodes}");
    }
}

#[test]
fn a_share_of_less_than_one_is_one_at_a_time() {
    let bucket = Bucket::default();
    assert_eq!(taken(&bucket, view(2, 10, SECOND)), 1);
    let wait = bucket.take(view(2, 10, SECOND));
    assert_eq!(wait, Err(Duration::from_secs(5)));
}

#[test]
fn leased_tokens_come_first_and_the_share_stands_beside_them() {
    let bucket = Bucket::default();
    let at = view(10, 2, SECOND);
    assert!(bucket.is_low(at.now), "nothing is leased yet");
    assert!(!bucket.is_low(at.now), "somebody was told");
    assert_eq!(taken(&bucket, at), 5, "its own share");
    assert_eq!(bucket.owed(), 5);
    assert_eq!(bucket.owed(), 0, "charged once");
    let grant = Grant {
        tokens: 3,
        dry: Duration::ZERO,
    };
    bucket.granted(grant, at);
    bucket.answered();
    assert_eq!(
        taken(&bucket, at),
        4,
        "and one of the next batch; its share is spent"
    );
    assert_eq!(bucket.owed(), 1);
    assert!(bucket.is_low(at.now));
}

#[test]
fn while_the_shared_bucket_is_empty_so_is_the_share_and_nobody_asks() {
    let bucket = Bucket::default();
    let at = view(10, 2, SECOND);
    let dry = Duration::from_millis(300);
    bucket.granted(Grant { tokens: 0, dry }, at);
    assert_eq!(bucket.take(at), Err(dry));
    assert!(!bucket.is_low(at.now));
    let later = view(10, 2, SECOND + 300_000_000);
    assert_eq!(bucket.take(later), Ok(()));
    assert!(bucket.is_low(later.now));
    assert_eq!(bucket.owed(), 1);
}

#[test]
fn bytes_are_owed_after_they_have_passed() {
    let bucket = Bucket::default();
    let at = view(1_000, 1, SECOND);
    assert_eq!(bucket.check(at), Ok(()));
    bucket.charge(at, 1_000);
    assert_eq!(bucket.check(at), Ok(()), "empty is not owing");
    bucket.charge(at, 2_500);
    assert_eq!(bucket.check(at), Err(Duration::from_millis(2_500)));
    let later = view(1_000, 1, SECOND + 2_500_000_000);
    assert_eq!(bucket.check(later), Ok(()));
}

#[test]
fn a_debt_is_forgiven_beyond_a_day() {
    let bucket = Bucket::default();
    let at = view(1, 1, SECOND);
    bucket.charge(at, u64::from(u32::MAX));
    assert_eq!(bucket.check(at), Err(DEBT_MAX));
}

#[test]
fn a_debt_that_the_shared_bucket_keeps_is_not_kept_twice() {
    let bucket = Bucket::default();
    let at = view(1_000, 4, SECOND);
    bucket.granted(
        Grant {
            tokens: 100,
            dry: Duration::ZERO,
        },
        at,
    );
    bucket.charge(at, 10_100);
    assert_eq!(bucket.owed(), 10_000);
    assert_eq!(bucket.check(at), Ok(()), "the shared bucket will say");
    let dry = Duration::from_secs(9);
    bucket.granted(Grant { tokens: 0, dry }, at);
    // The next token comes then; a debt of bytes is over the time of one byte earlier.
    let each = Duration::from_millis(4);
    assert_eq!(bucket.check(at), Err(dry - each));
}

#[test]
fn a_token_that_led_to_nothing_can_be_given_back() {
    let bucket = Bucket::default();
    let at = view(10, 1, SECOND);
    assert_eq!(taken(&bucket, at), 10);
    bucket.give_back(at);
    assert_eq!(taken(&bucket, at), 1);
    assert_eq!(bucket.owed(), 10);
}

#[test]
fn what_is_left_of_a_lease_goes_back_once() {
    let bucket = Bucket::default();
    let at = view(10, 1, SECOND);
    bucket.granted(
        Grant {
            tokens: 4,
            dry: Duration::ZERO,
        },
        at,
    );
    assert_eq!(bucket.take(at), Ok(()));
    assert_eq!((bucket.unused(), bucket.unused()), (3, 0));
    assert_eq!(bucket.owed(), 0);
}

#[test]
fn a_batch_is_a_tenth_of_a_second_between_a_quarter_and_a_half_of_a_share_of_the_burst() {
    let batch = |count, per, burst, nodes| {
        View {
            rate: Rate::new(count, per, burst).unwrap(),
            nodes,
            now: 0,
        }
        .batch()
    };
    assert_eq!(batch(1_000, Period::Second, 1_000, 2), 125);
    assert_eq!(batch(1_000, Period::Second, 500, 2), 100);
    assert_eq!(batch(1_000, Period::Second, 100, 2), 25);
    assert_eq!(batch(10, Period::Minute, 10, 2), 1);
    assert_eq!(batch(1_000, Period::Second, 1, 9), 1);
}

#[test]
fn threads_take_no_more_than_there_is() {
    let bucket = Bucket::default();
    let at = view(1_000, 1, SECOND);
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| taken(&bucket, at))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(total, 1_000);
}
