use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use sortie_proto::chain::Head;
use tempfile::TempDir;

use super::segment::{Read, Reader, Span};
use super::*;

pub(super) fn config(parent: &TempDir) -> Config {
    Config {
        path: parent.path().to_path_buf(),
        segment_bytes: SEGMENT_BYTES_MIN,
        bytes_max: 8 * 1024 * 1024,
        sync_interval: Duration::from_millis(5),
        completions_max: 64,
        tunnels_unrecorded: true,
    }
}

pub(super) fn open(config: Config) -> Journal {
    Journal::open(config, BootId::generate(), &prometheus::Registry::new()).unwrap()
}

pub(super) fn use_of(path: &str) -> v1::Use {
    v1::Use {
        path: path.into(),
        host: "api.example.com".into(),
        method: "POST".into(),
        ..v1::Use::default()
    }
}

/// What a power cut would leave: of each segment, the part that was there when it was last synced.
#[derive(Debug, Default)]
pub(super) struct Disk {
    synced: Mutex<HashMap<PathBuf, u64>>,
    /// How long a sync takes, in milliseconds, on top of what it takes here.
    delay: AtomicU64,
}

impl Disk {
    pub(super) fn synced(&self, spans: &[Span]) {
        let delay = self.delay.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(delay));
        let mut disk = self.synced.lock();
        for span in spans {
            let end = span.end().unwrap();
            let known = disk.entry(span.path.clone()).or_default();
            *known = end.max(*known);
        }
    }

    /// Writes to `parent` what is left of a boot's folder after a power cut now.
    fn cut_power(&self, parent: &Path, boot: BootId) {
        let folder = parent.join(boot.to_string());
        std::fs::create_dir(&folder).unwrap();
        for (path, end) in &*self.synced.lock() {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[usize::try_from(*end).unwrap()..].fill(0);
            std::fs::write(folder.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}

/// Ends a journal as `kill -9` does, as far as its files can tell: no drain, no removal, the lock let go.
pub(super) fn drop_as_if_killed(journal: Journal) {
    let path = journal.writer.inner.folder.path.clone();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    drop(journal);
    std::fs::rename(&away, &path).unwrap();
}

/// All records of a folder by lane, with their sequences.
fn records(folder: &Path) -> BTreeMap<u32, Vec<(u64, v1::Record)>> {
    let mut lanes: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (lane, span) in segment::list(folder).unwrap() {
        let mut reader = Reader::of(&span).unwrap().unwrap();
        let sequence = reader.next();
        let mut next = sequence;
        while let Read::Record(payload) = reader.read(None).unwrap() {
            let record = v1::Record::decode(payload.as_slice()).unwrap();
            lanes.entry(lane).or_default().push((next, record));
            next = reader.next();
        }
    }
    lanes
}

fn uses(folder: &Path) -> Vec<String> {
    uses_in(folder).map(|record| record.path).collect()
}

fn uses_in(folder: &Path) -> impl Iterator<Item = v1::Use> {
    let records = records(folder).into_values().flatten();
    records.filter_map(|(_, record)| match record.event {
        Some(v1::record::Event::Use(record)) => Some(record),
        _ => None,
    })
}

/// The uses that were appended, for the tests of other stages.
pub(crate) fn recorded(journal: &Journal) -> Vec<v1::Use> {
    uses_in(&journal.writer.inner.folder.path).collect()
}

#[test]
fn a_use_survives_a_process_that_never_closed_anything() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let folder = journal.writer.inner.folder.path.clone();
    for n in 0..3_000 {
        journal
            .append(&[], &use_of(&format!("/{n}")), n % 1_000 == 0)
            .unwrap();
    }
    // Read by another descriptor while the writer lives: what is there does not depend on anything it does at its end.
    let wanted: Vec<_> = (0..3_000).map(|n| format!("/{n}")).collect();
    assert_eq!(uses(&folder), wanted);
    drop_as_if_killed(journal);
    assert_eq!(uses(&folder), wanted);
}

const TASKS: usize = 64;
const USES: usize = 32;

/// Appends durable uses from many tasks at once; each is told to `acknowledged` once it is.
async fn durable_uses(journal: &Journal, acknowledged: &Arc<Mutex<Vec<String>>>) {
    let tasks = (0..TASKS).map(|task| {
        let (journal, acknowledged) = (journal.clone(), Arc::clone(acknowledged));
        let uses = async move {
            for number in 0..USES {
                let path = format!("/{task}/{number}");
                let pending = journal.append(&[], &use_of(&path), true).unwrap().unwrap();
                journal.durable(pending).await.unwrap();
                acknowledged.lock().push(path);
            }
        };
        #[expect(clippy::disallowed_methods, reason = "the test owns and joins it")]
        tokio::spawn(uses)
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// F25: power loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_what_was_acknowledged_as_durable_is_there_after_any_power_cut() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(Config {
        bytes_max: 64 * SEGMENT_BYTES_MIN,
        ..config(&parent)
    });
    let boot = journal.boot();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::clone(&acknowledged);
    let uses = durable_uses(&journal, &done);
    let cuts = async {
        let mut seen = 0;
        while seen < TASKS * USES {
            tokio::task::yield_now().await;
            let before = acknowledged.lock().clone();
            if before.len() < seen + 200 && before.len() < TASKS * USES {
                continue;
            }
            seen = before.len();
            let left = tempfile::tempdir().unwrap();
            journal.writer.inner.disk.cut_power(left.path(), boot);
            let there = uses_of(&left.path().join(boot.to_string()));
            let lost: Vec<_> = before
                .iter()
                .filter(|path| !there.contains(*path))
                .collect();
            assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        }
    };
    tokio::join!(uses, cuts);
    assert_eq!(acknowledged.lock().len(), TASKS * USES);
}

fn uses_of(folder: &Path) -> std::collections::HashSet<String> {
    uses_in(folder).map(|record| record.path).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_wait_for_the_disk_share_its_syncs() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(Config {
        // The period has nothing to do with it: whoever waits wakes the journal's thread.
        sync_interval: Duration::from_secs(3_600),
        ..config(&parent)
    });
    // As on a disk that spins; the folder of a test may be in memory.
    journal.writer.inner.disk.delay.store(2, Ordering::Relaxed);
    durable_uses(&journal, &Arc::default()).await;
    let syncs = journal.writer.inner.metrics.syncs.get();
    let uses = u64::try_from(TASKS * USES).unwrap();
    assert!(syncs > 0 && syncs < uses / 4, "{syncs} syncs, {uses} uses");
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(Config {
        sync_interval: Duration::from_secs(3_600),
        ..config(&parent)
    });
    let commits = &journal.writer.inner.commits;
    let before = commits.before();
    journal.append(&[], &use_of("/1"), false).unwrap();
    let pending = commits.pending(before);
    let failed = commits.round(|| Err(io::Error::other("the disk is gone")));
    failed.unwrap_err();
    let refused = journal.durable(pending).await.unwrap_err();
    assert_eq!(refused.code(), Code::JournalFull);
    let pending = journal.append(&[], &use_of("/2"), true).unwrap().unwrap();
    journal.durable(pending).await.unwrap();
}

#[test]
fn a_lane_keeps_the_head_of_what_is_in_its_files() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    for n in 0..3_000 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
        journal.complete(v1::Completion::default());
    }
    journal.writer.inner.drain();
    for lane in &journal.writer.inner.lanes {
        let view = lane.view();
        let mut head = Head::of_lane(journal.boot(), lane.number());
        let mut count = 0;
        for span in &view.spans {
            let mut reader = Reader::of(span).unwrap().unwrap();
            while let Read::Record(payload) = reader.read(span.end()).unwrap() {
                head = head.then(&payload);
                count += 1;
            }
        }
        assert_eq!((view.mark.sequence, view.mark.head), (count, head));
    }
}

#[test]
fn many_threads_leave_no_gap_in_any_lane() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(Config {
        bytes_max: 4 * SEGMENT_BYTES_MIN * 8,
        ..config(&parent)
    });
    let folder = journal.writer.inner.folder.path.clone();
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..100 {
                    journal
                        .append(&[], &use_of(&format!("/{thread}/{n}")), false)
                        .unwrap();
                    journal.complete(v1::Completion::default());
                }
            });
        }
    });
    journal.writer.inner.drain();
    let lanes = records(&folder);
    assert!(lanes.len() > 1, "threads share one lane");
    let mut total = 0;
    for records in lanes.values() {
        let sequences: Vec<_> = records.iter().map(|(sequence, _)| *sequence).collect();
        let dense: Vec<_> = (1..).take(records.len()).collect();
        assert_eq!(sequences, dense);
        total += records.len();
    }
    assert_eq!(total, 4_000);
}

#[test]
fn a_full_journal_refuses_uses_keeps_completions_and_recovers() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(Config {
        bytes_max: 10 * SEGMENT_BYTES_MIN,
        ..config(&parent)
    });
    let mut appended = 0_u64;
    let refused = loop {
        match journal.append(&[], &use_of(&"x".repeat(1_000)), false) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), Code::JournalFull);
    assert!(journal.writer.inner.room.used() <= 9 * SEGMENT_BYTES_MIN);
    // The last tenth is for completions.
    // By the journal's own thread: another lane would want a segment of its own. That is where those go that the queue
    // has no room for, so that it is never let run full here, however slow the disk is.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let drained = |left: usize| {
        while journal.writer.inner.queue.len() > left {
            journal.writer.wake();
            assert!(tokio::time::Instant::now() < deadline, "not drained");
            std::thread::yield_now();
        }
    };
    for _ in 0..100 {
        drained(32);
        journal.complete(v1::Completion::default());
    }
    drained(0);
    assert_eq!(journal.writer.inner.metrics.lost.get(), 0);
    // Control acknowledges: the room comes back.
    let inner = &journal.writer.inner;
    for lane in &inner.lanes {
        lane.release(lane.next() - 1, &inner.place()).unwrap();
    }
    assert!(appended > 1_000);
    journal.append(&[], &use_of("/again"), false).unwrap();
}

#[test]
fn a_disk_that_refuses_is_journal_full_and_recovers() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let folder = journal.writer.inner.folder.path.clone();
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    let refused = journal.append(&[], &use_of("/1"), false).unwrap_err();
    assert_eq!(refused.code(), Code::JournalFull);
    std::fs::rename(&away, &folder).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while journal.append(&[], &use_of("/2"), true).is_err() {
        assert!(tokio::time::Instant::now() < deadline, "did not recover");
        std::thread::yield_now();
    }
    assert_eq!(uses(&folder), ["/2"]);
    assert_eq!(journal.writer.inner.room.used(), SEGMENT_BYTES_MIN);
}

#[test]
fn a_record_larger_than_a_segment_is_refused_and_harms_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let folder = journal.writer.inner.folder.path.clone();
    journal.append(&[], &use_of("/1"), false).unwrap();
    assert!(
        journal
            .append(&[], &use_of(&"x".repeat(200_000)), false)
            .is_err()
    );
    journal.append(&[], &use_of("/2"), false).unwrap();
    assert_eq!(uses(&folder), ["/1", "/2"]);
}

#[test]
fn sizes_that_cannot_work_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let sizes = [(1, 1 << 20), (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN)];
    for (segment_bytes, bytes_max) in sizes {
        let config = Config {
            segment_bytes,
            bytes_max,
            ..config(&parent)
        };
        let opened = Journal::open(config, BootId::generate(), &prometheus::Registry::new());
        assert!(matches!(opened, Err(Error::Size { .. })));
    }
}

#[test]
fn files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    journal.append(&[], &use_of("/1"), false).unwrap();
    let folder = &journal.writer.inner.folder.path;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    let (_, span) = segment::list(folder).unwrap().remove(0);
    assert_eq!(mode(&span.path), 0o600);
}
