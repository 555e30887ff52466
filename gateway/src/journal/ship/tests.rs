use std::collections::HashMap;

use parking_lot::Mutex;
use prost::Message;
use sortie_proto::chain::Head;
use tempfile::TempDir;

use super::super::tests::{config, drop_as_if_killed, open, use_of};
use super::*;

type Key = (Vec<u8>, u32);

/// Control's side of shipping: takes what follows on, skips what it has, refuses gaps that are not called one.
#[derive(Debug, Default)]
struct Audit {
    lanes: Mutex<HashMap<Key, Vec<Option<Vec<u8>>>>>,
    /// What was said about records that do not fit.
    damaged: Mutex<Vec<u64>>,
    gaps: Mutex<Vec<(u64, u64)>>,
    marks: Mutex<HashMap<Key, v1::Mark>>,
    torn: Mutex<Vec<u32>>,
    ended: Mutex<Vec<Vec<u8>>>,
    /// How many calls fail after they were committed.
    lose_answers: Mutex<u32>,
    /// Whether it is of a version that knows records only.
    old: bool,
}

#[async_trait]
impl Transport for Audit {
    async fn ship(&self, request: v1::ShipRequest) -> Result<v1::ShipResponse, tonic::Status> {
        let mut cursors = Vec::new();
        if request.ended {
            self.ended.lock().push(request.boot_id.clone());
            self.torn.lock().extend(request.torn_lanes);
        }
        for batch in request.lanes {
            cursors.push(self.take(&request.boot_id, batch)?);
        }
        let mut lose = self.lose_answers.lock();
        if *lose > 0 {
            *lose -= 1;
            return Err(tonic::Status::unavailable("the answer was lost"));
        }
        Ok(v1::ShipResponse {
            cursors,
            takes_payloads: !self.old,
        })
    }
}

impl Audit {
    fn take(&self, boot: &[u8], batch: v1::LaneBatch) -> Result<v1::LaneCursor, tonic::Status> {
        let key = (boot.to_vec(), batch.lane);
        let mut lanes = self.lanes.lock();
        let kept = lanes.entry(key.clone()).or_default();
        let have = u64::try_from(kept.len()).unwrap();
        assert!(batch.payloads.is_empty() || !self.old);
        let records = batch.records.iter().map(Message::encode_to_vec);
        let records: Vec<_> = records.chain(batch.payloads).collect();
        if batch.first_sequence > have + 1 && (batch.after_gap || !records.is_empty()) {
            if !batch.after_gap {
                return Err(tonic::Status::failed_precondition("gap"));
            }
            self.gaps.lock().push((have + 1, batch.first_sequence - 1));
            kept.resize(usize::try_from(batch.first_sequence - 1).unwrap(), None);
        }
        let have = u64::try_from(kept.len()).unwrap();
        let skip = usize::try_from(have + 1 - batch.first_sequence.min(have + 1)).unwrap();
        kept.extend(records.into_iter().skip(skip).map(Some));
        self.damaged.lock().extend(batch.damaged);
        if let Some(mark) = batch.mark {
            self.marks.lock().insert(key, mark);
        }
        Ok(v1::LaneCursor {
            lane: batch.lane,
            sequence: u64::try_from(kept.len()).unwrap(),
        })
    }

    /// Whether what came is what each lane's last mark says.
    fn fits(&self) -> bool {
        let lanes = self.lanes.lock();
        self.marks.lock().iter().all(|((boot, lane), mark)| {
            let start = Head::of_lane(BootId::from_bytes(boot).unwrap(), *lane);
            let upto = usize::try_from(mark.sequence).unwrap();
            let came = &lanes[&(boot.clone(), *lane)][..upto];
            let head = came.iter().fold(start, |head, record| {
                head.then(record.as_deref().unwrap_or_default())
            });
            head.as_bytes().as_slice() == mark.head
        })
    }
}

impl Audit {
    fn paths(&self) -> Vec<String> {
        let lanes = self.lanes.lock();
        let mut paths: Vec<_> = lanes
            .values()
            .flatten()
            .flatten()
            .filter_map(|payload| v1::Record::decode(payload.as_slice()).ok()?.event)
            .map(|event| match event {
                v1::record::Event::Use(record) => record.path,
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
    Running::start(Shipper::new(journal, Arc::clone(audit) as Arc<dyn Transport>).unwrap())
}

impl Running {
    fn start(shipper: Shipper) -> Self {
        let (stop, stopped) = watch::channel(false);
        #[expect(clippy::disallowed_methods, reason = "the test owns and joins it")]
        let task = tokio::spawn(shipper.run(stopped));
        Self { stop, task }
    }

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
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
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
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
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
        dead.append(&[], &use_of(&format!("/{n}")), false).unwrap();
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
        dead.append(&[], &use_of(&format!("/{n}")), false).unwrap();
    }
    assert!(dead.flushed(LONG).await);
    running.stop().await;
    for n in 700..900 {
        dead.append(&[], &use_of(&format!("/{n}")), false).unwrap();
    }
    drop_as_if_killed(dead);
    let journal = open(config(&parent));
    let running = start(&journal, &audit);
    wait_until(|| !folders(&parent).contains(&boot.to_string())).await;
    assert_eq!(audit.paths(), numbered(900));
    running.stop().await;
}

#[tokio::test]
async fn a_control_that_knows_records_only_gets_them_all() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit {
        old: true,
        ..Audit::default()
    });
    let running = start(&journal, &audit);
    for n in 0..2_000 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
    }
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), numbered(2_000));
    running.stop().await;
}

/// Changes a byte of a file.
fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Where the file of a living journal's records is.
fn segment_of(journal: &Journal) -> std::path::PathBuf {
    let folder = &journal.writer.inner.folder.path;
    super::super::segment::list(folder)
        .unwrap()
        .remove(0)
        .1
        .path
}

#[tokio::test]
async fn what_was_written_is_what_the_marks_say() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    for n in 0..3_000 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
        journal.complete(v1::Completion::default());
    }
    assert!(journal.flushed(LONG).await);
    assert!(audit.fits() && !audit.marks.lock().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn an_edit_of_a_living_journal_holds_up_nothing_and_shows() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    for n in 0..100 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
    }
    let path = segment_of(&journal);
    // A letter of a path, and the checksum over it made right: only the chain tells.
    let mut bytes = std::fs::read(&path).unwrap();
    let frame = 64;
    let length = u32::from_le_bytes(bytes[frame..][..4].try_into().unwrap()) as usize;
    let payload = &mut bytes[frame + 8..][..length];
    let at = payload.iter().rposition(|byte| *byte == b'0').unwrap();
    payload[at] = b'X';
    let check = crc32c::crc32c(payload);
    bytes[frame + 4..][..4].copy_from_slice(&check.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    assert!(journal.flushed(LONG).await);
    assert!(audit.paths().contains(&"/X".to_owned()));
    assert!(!audit.fits());
    running.stop().await;
}

#[tokio::test]
async fn a_living_journal_whose_files_are_removed_loses_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    for n in 0..3_000 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
    }
    let folder = journal.writer.inner.folder.path.clone();
    for (_, span) in super::super::segment::list(&folder).unwrap() {
        std::fs::remove_file(span.path).unwrap();
    }
    journal.append(&[], &use_of("/3000"), false).unwrap();
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), numbered(3_001));
    assert!(audit.fits());
    // The room of what is not there any more comes back all the same.
    let inner = Arc::clone(&journal.writer.inner);
    wait_until(|| inner.room.used() == inner.config.segment_bytes).await;
    running.stop().await;
}

#[tokio::test]
async fn a_dead_boot_whose_folder_is_removed_holds_up_nothing_and_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let dead = open(config(&parent));
    let boot = dead.boot();
    for n in 0..3_000 {
        dead.append(&[], &use_of(&format!("/dead/{n}")), false)
            .unwrap();
    }
    drop_as_if_killed(dead);
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let shipper = Shipper::new(&journal, Arc::clone(&audit) as Arc<dyn Transport>).unwrap();
    std::fs::remove_dir_all(parent.path().join(boot.to_string())).unwrap();
    let running = Running::start(shipper);
    for n in 0..2_000 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
    }
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), numbered(2_000));
    wait_until(|| *audit.ended.lock() == [boot.to_bytes()]).await;
    assert!(
        !audit.torn.lock().is_empty(),
        "control cannot tell that it is lost"
    );
    let inner = Arc::clone(&journal.writer.inner);
    wait_until(|| inner.room.used() == inner.config.segment_bytes).await;
    running.stop().await;
}

#[tokio::test]
async fn records_whose_lengths_were_altered_are_a_gap_and_the_lane_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let journal = open(config(&parent));
    for n in 0..10 {
        journal
            .append(&[], &use_of(&format!("/{n}")), false)
            .unwrap();
    }
    // The length of the first.
    flip(&segment_of(&journal), 65);
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    assert!(journal.flushed(LONG).await);
    assert_eq!(*audit.gaps.lock(), [(1, 10)]);
    journal.append(&[], &use_of("/later"), false).unwrap();
    assert!(journal.flushed(LONG).await);
    assert_eq!(audit.paths(), ["/later"]);
    running.stop().await;
}

#[tokio::test]
async fn a_damaged_record_of_a_dead_boot_goes_as_it_is_and_the_folder_is_set_aside() {
    let parent = tempfile::tempdir().unwrap();
    let dead = open(config(&parent));
    let boot = dead.boot();
    for n in 0..6_000 {
        dead.append(&[], &use_of(&format!("/{n}")), false).unwrap();
    }
    drop_as_if_killed(dead);
    let folder = parent.path().join(boot.to_string());
    let (_, span) = super::super::segment::list(&folder).unwrap().remove(0);
    flip(&span.path, 80);
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    wait_until(|| folders(&parent).contains(&format!("{boot}.damaged"))).await;
    assert_eq!(*audit.damaged.lock(), [1]);
    let came: usize = audit.lanes.lock().values().map(Vec::len).sum();
    assert_eq!(came, 6_000);
    running.stop().await;
}

#[tokio::test]
async fn a_dead_boots_torn_tail_and_missing_segment_are_told() {
    let parent = tempfile::tempdir().unwrap();
    let dead = open(config(&parent));
    let boot = dead.boot();
    for n in 0..12_000 {
        dead.append(&[], &use_of(&format!("/{n}")), false).unwrap();
    }
    drop_as_if_killed(dead);
    let folder = parent.path().join(boot.to_string());
    let spans = super::super::segment::list(&folder).unwrap();
    let (gone, behind, last) = (&spans[1].1, spans[2].1.first, &spans[spans.len() - 1].1);
    std::fs::remove_file(&gone.path).unwrap();
    flip(&last.path, 65);
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let running = start(&journal, &audit);
    wait_until(|| folders(&parent).contains(&format!("{boot}.damaged"))).await;
    assert_eq!(*audit.gaps.lock(), [(gone.first, behind - 1)]);
    assert_eq!(*audit.torn.lock(), [spans[0].0]);
    assert_eq!(*audit.ended.lock(), [boot.to_bytes()]);
    assert_eq!(journal.writer.inner.metrics.torn.get(), 1);
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

#[tokio::test]
async fn a_process_that_dies_beside_this_one_has_its_journal_shipped() {
    let parent = tempfile::tempdir().unwrap();
    let before = open(config(&parent));
    before.append(&[], &use_of("/before"), false).unwrap();
    let journal = open(config(&parent));
    let audit = Arc::new(Audit::default());
    let mut shipper = Shipper::new(&journal, audit.clone()).unwrap();
    shipper.adopt_at = Instant::now();
    let _more = shipper.round().await.unwrap();
    assert_eq!(audit.paths(), [""; 0], "the process before lives");
    drop_as_if_killed(before);
    shipper.adopt_at = Instant::now();
    while shipper.round().await.unwrap() {}
    assert_eq!(audit.paths(), ["/before"]);
    assert_eq!(folders(&parent).len(), 1, "its folder is gone");
}
