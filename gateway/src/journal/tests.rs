use std::collections::BTreeMap;

use tempfile::TempDir;

use super::segment::{Read, Reader};
use super::*;

pub(super) fn config(parent: &TempDir) -> Config {
    Config {
        path: parent.path().to_path_buf(),
        segment_bytes: SEGMENT_BYTES_MIN,
        bytes_max: 8 * 1024 * 1024,
        sync_interval: Duration::from_millis(5),
        completions_max: 64,
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

/// Ends a journal as `kill -9` does, as far as its files can tell: no drain, no removal, the lock let go.
pub(super) fn drop_as_if_killed(journal: Journal) {
    let path = journal.writer.inner.folder.path.clone();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    drop(journal);
    std::fs::rename(&away, &path).unwrap();
}

/// All records of a folder by lane, with their sequences.
fn records(folder: &std::path::Path) -> BTreeMap<u32, Vec<(u64, v1::Record)>> {
    let mut lanes: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (lane, span) in segment::list(folder).unwrap() {
        let mut reader = Reader::open(&span.path).unwrap().unwrap();
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

fn uses(folder: &std::path::Path) -> Vec<String> {
    uses_in(folder).map(|record| record.path).collect()
}

fn uses_in(folder: &std::path::Path) -> impl Iterator<Item = v1::Use> {
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
            .append(&use_of(&format!("/{n}")), n % 1_000 == 0)
            .unwrap();
    }
    // Read by another descriptor while the writer lives: what is there does not depend on anything it does at its end.
    let wanted: Vec<_> = (0..3_000).map(|n| format!("/{n}")).collect();
    assert_eq!(uses(&folder), wanted);
    drop_as_if_killed(journal);
    assert_eq!(uses(&folder), wanted);
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
                        .append(&use_of(&format!("/{thread}/{n}")), false)
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
        match journal.append(&use_of(&"x".repeat(1_000)), false) {
            Ok(()) => appended += 1,
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
            journal.writer.inner.wake.notify_one();
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
    journal.append(&use_of("/again"), false).unwrap();
}

#[test]
fn a_disk_that_refuses_is_journal_full_and_recovers() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let folder = journal.writer.inner.folder.path.clone();
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    let refused = journal.append(&use_of("/1"), false).unwrap_err();
    assert_eq!(refused.code(), Code::JournalFull);
    std::fs::rename(&away, &folder).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while journal.append(&use_of("/2"), true).is_err() {
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
    journal.append(&use_of("/1"), false).unwrap();
    assert!(
        journal
            .append(&use_of(&"x".repeat(200_000)), false)
            .is_err()
    );
    journal.append(&use_of("/2"), false).unwrap();
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
    journal.append(&use_of("/1"), false).unwrap();
    let folder = &journal.writer.inner.folder.path;
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    let (_, span) = segment::list(folder).unwrap().remove(0);
    assert_eq!(mode(&span.path), 0o600);
}
