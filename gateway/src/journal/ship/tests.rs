use std::collections::HashMap;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::super::tests::{config, drop_as_if_killed, open, use_of};
use super::*;

type Key = (Vec<u8>, u32);

/// Control's side of shipping: takes what follows on, skips what it has, refuses gaps.
#[derive(Debug, Default)]
struct Audit {
    lanes: Mutex<HashMap<Key, Vec<v1::Record>>>,
    /// How many calls fail after they were committed.
    lose_answers: Mutex<u32>,
}

#[async_trait]
impl Transport for Audit {
    async fn ship(&self, request: v1::ShipRequest) -> Result<v1::ShipResponse, tonic::Status> {
        let mut cursors = Vec::new();
        for batch in request.lanes {
            let mut lanes = self.lanes.lock();
            let kept = lanes
                .entry((request.boot_id.clone(), batch.lane))
                .or_default();
            let have = u64::try_from(kept.len()).unwrap();
            if !batch.records.is_empty() && batch.first_sequence > have + 1 {
                return Err(tonic::Status::failed_precondition("gap"));
            }
            let skip = usize::try_from(have + 1 - batch.first_sequence.min(have + 1)).unwrap();
            kept.extend(batch.records.into_iter().skip(skip));
            let sequence = u64::try_from(kept.len()).unwrap();
            cursors.push(v1::LaneCursor {
                lane: batch.lane,
                sequence,
            });
        }
        let mut lose = self.lose_answers.lock();
        if *lose > 0 {
            *lose -= 1;
            return Err(tonic::Status::unavailable("the answer was lost"));
        }
        Ok(v1::ShipResponse { cursors })
    }
}

impl Audit {
    fn paths(&self) -> Vec<String> {
        let lanes = self.lanes.lock();
        let mut paths: Vec<_> = lanes
            .values()
            .flatten()
            .map(|record| match record.event.as_ref().unwrap() {
                v1::record::Event::Use(record) => record.path.clone(),
                v1::record::Event::Completion(record) => format!("status {}", record.status),
            })
            .collect();
        paths.sort();
        paths
    }
}

struct Running {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn start(journal: &Journal, audit: &Arc<Audit>) -> Running {
    let (stop, stopped) = watch::channel(false);
    let shipper = Shipper::new(journal, Arc::clone(audit) as Arc<dyn Transport>).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test owns and joins it")]
    let task = tokio::spawn(shipper.run(stopped));
    Running { stop, task }
}

impl Running {
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

const LONG: Duration = Duration::from_secs(30);

fn numbered(count: u32) -> Vec<String> {
    let mut paths: Vec<_> = (0..count).map(|n| format!("/{n}")).collect();
    paths.sort();
    paths
}

fn folders(parent: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(parent.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn everything_arrives_once_over_many_segments() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    for n in 0..5_000 {
        journal.append(&use_of(&format!("/{n}")), false).unwrap();
    }
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), numbered(5_000));
    running.stop().await;
    // All is acknowledged: nothing is left for the next boot.
    drop(journal);
    assert_eq!(folders(&parent), [""; 0]);
}

#[tokio::test]
async fn an_answer_that_was_lost_doubles_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    *audit.lose_answers.lock() = 2;
    for n in 0..100 {
        journal.append(&use_of(&format!("/{n}")), false).unwrap();
    }
    let running = start(&journal, &audit);
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), numbered(100));
    running.stop().await;
}

#[tokio::test]
async fn completions_are_shipped_too() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    for status in [200, 404] {
        journal.complete(v1::Completion {
            status,
            ..v1::Completion::default()
        });
    }
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), ["status 200", "status 404"]);
    running.stop().await;
}

#[tokio::test]
async fn what_a_dead_boot_left_is_shipped_under_its_own_name() {
    let parent = tempfile::tempdir().unwrap();
    let dead = open(config(&parent));
    let boot = dead.boot();
    for n in 0..2_500 {
        dead.append(&use_of(&format!("/{n}")), false).unwrap();
    }
    drop_as_if_killed(dead);
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    wait_until(|| !folders(&parent).contains(&boot.to_string())).await;
    assert_eq!(audit.paths(), numbered(2_500));
    assert!(
        audit
            .lanes
            .lock()
            .keys()
            .all(|(of, _)| *of == boot.to_bytes())
    );
    running.stop().await;
}

#[tokio::test]
async fn a_dead_boot_that_was_partly_shipped_goes_on_where_it_was() {
    let parent = tempfile::tempdir().unwrap();
    let dead = open(config(&parent));
    let boot = dead.boot();
    let audit = Arc::new(Audit::default());
    let running = start(&dead, &audit);
    for n in 0..700 {
        dead.append(&use_of(&format!("/{n}")), false).unwrap();
    }
    assert!(dead.flushed(LONG).await);
    running.stop().await;
    for n in 700..900 {
        dead.append(&use_of(&format!("/{n}")), false).unwrap();
    }
    drop_as_if_killed(dead);
    let journal = open(config(&parent));
    let running = start(&journal, &audit);
    wait_until(|| !folders(&parent).contains(&boot.to_string())).await;
    assert_eq!(audit.paths(), numbered(900));
    running.stop().await;
}

#[tokio::test]
async fn records_that_cannot_be_read_are_set_aside_not_removed() {
    let parent = tempfile::tempdir().unwrap();
    let dead = open(config(&parent));
    let boot = dead.boot();
    for n in 0..6_000 {
        dead.append(&use_of(&format!("/{n}")), false).unwrap();
    }
    drop_as_if_killed(dead);
    let folder = parent.path().join(boot.to_string());
    let (_, span) = super::super::segment::list(&folder).unwrap().remove(0);
    let mut bytes = std::fs::read(&span.path).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&span.path, bytes).unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    wait_until(|| folders(&parent).contains(&format!("{boot}.damaged"))).await;
    assert!(
        !audit.paths().is_empty(),
        "what stands before the damage is shipped"
    );
    running.stop().await;
}

async fn wait_until(mut condition: impl FnMut() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, reached)
        .await
        .expect("the condition never held");
}
