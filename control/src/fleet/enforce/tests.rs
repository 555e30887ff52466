use jiff::Timestamp;
use sortie_proto::id::GatewayId;
use sortie_proto::revision::Revision;
use tokio::time::Instant;

use super::{WATCH, WATCHED_MAX, Watch};
use crate::fleet::Connected;

fn at(n: u64) -> Revision {
    Revision { epoch: 1, n }
}

fn connected(gateway: GatewayId, acknowledged: u64) -> Connected {
    Connected {
        gateway,
        boot: Vec::new(),
        name: String::new(),
        version: String::new(),
        acknowledged: at(acknowledged),
        quarantined: 0,
        last_seen: Timestamp::UNIX_EPOCH,
        report: None,
    }
}

/// The revisions that would be told, and the watch as it is after that.
fn tell(watch: &mut Watch, connected: &[Connected]) -> Vec<u64> {
    let news = watch.news(connected);
    let told = news.iter().map(|one| one.acknowledged.n).collect();
    watch.told(&news);
    watch.settle(connected);
    told
}

#[test]
fn nothing_is_told_while_nobody_waits() {
    let one = GatewayId::generate();
    assert_eq!(
        tell(&mut Watch::default(), &[connected(one, 7)]),
        [] as [u64; 0]
    );
}

#[test]
fn each_word_is_told_once_and_the_watch_ends_with_the_last_gateway() {
    let (one, two) = (GatewayId::generate(), GatewayId::generate());
    let mut watch = Watch::default();
    watch.begin(at(5), Instant::now());
    assert_eq!(
        tell(&mut watch, &[connected(one, 4), connected(two, 5)]),
        [5]
    );
    assert_eq!(
        tell(&mut watch, &[connected(one, 4), connected(two, 5)]),
        [] as [u64; 0]
    );
    // A later revision is waited for too, and the first one is not held back by it.
    watch.begin(at(9), Instant::now());
    assert_eq!(
        tell(&mut watch, &[connected(one, 5), connected(two, 9)]),
        [5, 9]
    );
    assert!(watch.is_on());
    assert_eq!(
        tell(&mut watch, &[connected(one, 9), connected(two, 9)]),
        [9]
    );
    assert!(!watch.is_on());
}

#[test]
fn a_watch_is_bounded_in_time_and_number() {
    let one = [connected(GatewayId::generate(), 0)];
    let mut watch = Watch::default();
    let now = Instant::now();
    for n in 1..=u64::try_from(WATCHED_MAX).unwrap() + 1 {
        watch.begin(at(n), now);
    }
    assert_eq!(watch.until.len(), WATCHED_MAX);
    watch.settle(&one);
    assert_eq!(watch.until.len(), WATCHED_MAX);
    watch.expire(now + WATCH);
    assert!(!watch.is_on());
}

#[test]
fn a_gateway_that_went_is_not_waited_for() {
    let mut watch = Watch::default();
    watch.begin(at(5), Instant::now());
    assert_eq!(tell(&mut watch, &[]), [] as [u64; 0]);
    assert!(!watch.is_on());
}
