//! One entry a request, always: written before the credential leaves, shipped to control, replayed after a crash.
//!
//! ```text
//! <path>/<boot>/<lane>-<first sequence>.seg      locked while the boot lives
//! ```
//!
//! [`append`](Journal::append) is one `pwrite` into the calling thread's own lane. A thread of the journal's own drains
//! completions and syncs what was written, once a period and for whoever waits in [`durable`](Journal::durable); [`ship`]
//! sends it to control and removes what control has acknowledged, and does the same for what dead boots left.
//! **Invariants:** the sequences of a lane have no gaps; nothing is removed before it is acknowledged; at the bound a use
//! is refused, never dropped.
//!
//! It does not decide what is recorded, and it never reads a record to change it.

pub mod entry;
mod metrics;
mod queue;
mod segment;
mod lane;
mod folder;
mod commit;
mod sync;
mod health;
mod source;
pub mod ship;
pub mod transport;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use sortie_proto::code::Code;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;
use tokio::sync::Notify;

use self::commit::Commits;
pub use self::commit::Pending;
use self::folder::Folder;
use self::health::Health;
use self::lane::{Kind, Lane, Place, Refused, Room};
use self::metrics::Metrics;
use self::queue::{Pushed, Queue};
use crate::error::{Error as StageError, Result};

/// The smallest segment: below it a record of a long path would not fit.
pub const SEGMENT_BYTES_MIN: u64 = 128 * 1024;

/// The field numbers of `Record`'s variants in `journal.proto`.
const USE_TAG: u32 = 1;
const COMPLETION_TAG: u32 = 2;

/// The most bytes of completions that are appended at once.
const BATCH_BYTES: usize = 64 * 1024;

/// Where records are kept, and how many.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; one folder a boot is made in it.
    pub path: PathBuf,
    /// The size of a segment, preallocated. At least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// The most bytes of all segments; beyond nine tenths of it `append` refuses.
    pub bytes_max: u64,
    /// How often segments are synced to disk: what power loss may take.
    pub sync_interval: Duration,
    /// The most completions that wait for their record; beyond it each is appended by itself.
    pub completions_max: usize,
    /// Whether a tunnel that is passed on untouched goes on when it cannot be recorded.
    pub tunnels_unrecorded: bool,
}

/// The journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A size that cannot work.
    #[error("journal segments of {segment_bytes} bytes do not fit a journal of {bytes_max} bytes")]
    Size {
        /// The size of a segment.
        segment_bytes: u64,
        /// The size of the journal.
        bytes_max: u64,
    },
    /// The folder cannot be used.
    #[error("the journal's folder {path} cannot be used")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal's thread could not be started.
    #[error("the journal's thread could not be started")]
    Thread(#[source] io::Error),
    /// The metrics are registered already.
    #[error("the journal's metrics could not be registered")]
    Metrics(#[source] prometheus::Error),
}

/// The journal of this boot. Cheap to clone; the last clone to go drains it.
#[derive(Debug, Clone)]
pub struct Journal {
    writer: Arc<WriterThread>,
}

/// What the journal's users, its thread and its shipper share.
#[derive(Debug)]
struct Inner {
    config: Config,
    folder: Folder,
    lanes: Vec<Lane>,
    room: Room,
    queue: Queue,
    metrics: Metrics,
    appended: AtomicU64,
    acknowledged: AtomicU64,
    progress: Notify,
    commits: Commits,
    health: Health,
    stop: AtomicBool,
    #[cfg(test)]
    disk: tests::Disk,
}

/// The thread that drains and syncs, stopped and joined with the last handle.
#[derive(Debug)]
struct WriterThread {
    inner: Arc<Inner>,
    adopted: Mutex<Vec<Folder>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal of a boot, and adopts the folders that dead boots left.
    ///
    /// # Errors
    /// [`Error`] says what to change.
    pub fn open(
        config: Config,
        boot: BootId,
        registry: &prometheus::Registry,
    ) -> std::result::Result<Self, Error> {
        if config.segment_bytes < SEGMENT_BYTES_MIN || config.bytes_max / 2 < config.segment_bytes {
            return Err(Error::Size {
                segment_bytes: config.segment_bytes,
                bytes_max: config.bytes_max,
            });
        }
        let unusable = |source| Error::Folder {
            path: config.path.clone(),
            source,
        };
        let folder = Folder::create(&config.path, boot).map_err(unusable)?;
        let adopted = Folder::adopt(&config.path).map_err(unusable)?;
        let used = adopted
            .iter()
            .map(source::bytes)
            .sum::<io::Result<u64>>()
            .map_err(unusable)?;
        let inner = Arc::new(Inner {
            lanes: lane::lanes(config.bytes_max, config.segment_bytes, boot),
            room: Room::new(config.bytes_max, used),
            queue: Queue::new(config.completions_max),
            metrics: Metrics::register(registry).map_err(Error::Metrics)?,
            appended: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            progress: Notify::new(),
            commits: Commits::new(),
            health: Health::good(),
            stop: AtomicBool::new(false),
            #[cfg(test)]
            disk: tests::Disk::default(),
            folder,
            config,
        });
        let thread = {
            let inner = Arc::clone(&inner);
            std::thread::Builder::new()
                .name("journal".into())
                .spawn(move || inner.keep())
                .map_err(Error::Thread)?
        };
        Ok(Self {
            writer: Arc::new(WriterThread {
                inner,
                adopted: Mutex::new(adopted),
                thread: Some(thread),
            }),
        })
    }

    /// Appends the record of a use: the fields in `record`, and those that are encoded already. On return it survives the
    /// death of the process. With `durable` it is to survive that of the machine too: the answer is what to wait for, with
    /// [`durable`](Self::durable).
    ///
    /// # Errors
    /// `journal_full` when there is no room, or the disk refuses or fails.
    pub fn append(
        &self,
        encoded: &[u8],
        record: &v1::Use,
        durable: bool,
    ) -> Result<Option<Pending>> {
        let inner = &self.writer.inner;
        let before = durable.then(|| inner.commits.before());
        let appended = match inner.health.is_good() {
            true => inner.append_framed(Kind::Use, 1, |buffer| {
                frame(buffer, USE_TAG, encoded, record);
            }),
            false => Err(Refused::Fails),
        };
        appended
            .inspect_err(|_| inner.metrics.refused.inc())
            .map_err(|refused| StageError::because(Code::JournalFull, refused))?;
        let pending = before.map(|before| inner.commits.pending(before));
        if pending.is_some() {
            self.writer.wake();
        }
        Ok(pending)
    }

    /// Waits until an appended record is on the disk. No thread waits with it, and one sync serves all who do.
    ///
    /// # Errors
    /// `journal_full` when the disk refuses, or takes longer than five seconds.
    pub async fn durable(&self, pending: Pending) -> Result<()> {
        let inner = &self.writer.inner;
        inner.commits.wait(pending).await.map_err(|error| {
            inner.metrics.refused.inc();
            StageError::because(Code::JournalFull, error)
        })
    }

    /// Whether a tunnel that is passed on untouched may go on without its record; it is counted.
    pub(super) fn passes_unrecorded(&self) -> bool {
        let inner = &self.writer.inner;
        if inner.config.tunnels_unrecorded {
            inner.metrics.unrecorded.inc();
        }
        inner.config.tunnels_unrecorded
    }

    /// Queues the record of a completion. When the queue is full it is appended at once.
    pub fn complete(&self, record: v1::Completion) {
        let inner = &self.writer.inner;
        match inner.queue.push(record) {
            Pushed::Queued => {}
            Pushed::HalfFull => self.writer.wake(),
            Pushed::Full(record) => inner.complete_now(&record),
        }
    }

    /// The boot whose journal this is.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.writer.inner.folder.boot
    }

    /// Waits until control has acknowledged all that was recorded before the call, or for `deadline`. Whether it has.
    pub async fn flushed(&self, deadline: Duration) -> bool {
        let inner = &self.writer.inner;
        inner.drain();
        let wanted = inner.appended.load(Ordering::Acquire);
        let acknowledged = async {
            loop {
                let progress = inner.progress.notified();
                if inner.acknowledged.load(Ordering::Acquire) >= wanted {
                    return;
                }
                progress.await;
            }
        };
        let in_time = tokio::time::timeout(deadline, acknowledged).await.is_ok();
        in_time && inner.queue.len() == 0
    }
}

impl Inner {
    fn place(&self) -> Place<'_> {
        Place {
            folder: &self.folder.path,
            boot: self.folder.boot,
            segment_bytes: self.config.segment_bytes,
            room: &self.room,
        }
    }

    fn lane(&self, number: u32) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.number() == number)
    }

    fn append_framed(
        &self,
        kind: Kind,
        records: u64,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> std::result::Result<(), Refused> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            encode(buffer);
            let lane = lane::of_this_thread(&self.lanes).ok_or(Refused::Full)?;
            lane.append(&self.place(), kind, buffer, records)?;
            // After the lane has it: `flushed` must never wait for a record that is not there.
            self.appended.fetch_add(records, Ordering::Release);
            self.metrics.records.inc_by(records);
            Ok(())
        })
    }

    fn complete_now(&self, record: &v1::Completion) {
        let appended = self.append_framed(Kind::Completion, 1, |buffer| {
            frame(buffer, COMPLETION_TAG, &[], record);
        });
        if let Err(refused) = appended {
            self.metrics.lost.inc();
            tracing::error!(error = %refused, "a completion was lost: no room in the queue nor in the journal");
        }
    }

    /// Appends the completions that wait. What does not fit waits on.
    fn drain(&self) {
        let (_turn, records) = self.queue.drain();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let mut taken = 0_usize;
            let mut size = 0_usize;
            while let Some(record) = rest.get(taken) {
                size = size.saturating_add(record.encoded_len()).saturating_add(24);
                if taken > 0 && size > BATCH_BYTES {
                    break;
                }
                taken = taken.saturating_add(1);
            }
            let (batch, behind) = rest.split_at(taken.min(rest.len()));
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let appended = self.append_framed(Kind::Completion, count, |buffer| {
                for record in batch {
                    frame(buffer, COMPLETION_TAG, &[], record);
                }
            });
            if appended.is_err() {
                self.queue.put_back(rest.to_vec());
                return;
            }
            rest = behind;
        }
    }

    /// The journal's thread: drains and syncs until it is told to stop.
    fn keep(&self) {
        loop {
            // Who unparks the thread before it parks is not overlooked: the next parking ends at once.
            if !self.stop.load(Ordering::Acquire) {
                std::thread::park_timeout(self.config.sync_interval);
            }
            let stopped = self.stop.load(Ordering::Acquire);
            self.drain();
            match self.commits.round(|| self.sync()) {
                Ok(()) => self.health.try_again(|| self.folder.probe()),
                Err(error) => {
                    self.metrics.sync_failures.inc();
                    self.health.failed(&error);
                }
            }
            self.metrics
                .bytes
                .set(i64::try_from(self.room.used()).unwrap_or(i64::MAX));
            if stopped {
                return;
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let synced = sync::all(&self.lanes, &self.folder)?;
        if !synced.spans.is_empty() {
            self.metrics.syncs.inc();
            self.health.kept();
        }
        #[cfg(test)]
        self.disk.synced(&synced.spans);
        Ok(())
    }
}

/// Frames a `Record` whose variant has this number, without a copy of what is in it.
fn frame(buffer: &mut Vec<u8>, tag: u32, encoded: &[u8], record: &impl Message) {
    segment::frame(buffer, |payload| {
        let length = encoded.len().saturating_add(record.encoded_len());
        encode_key(tag, WireType::LengthDelimited, payload);
        encode_varint(u64::try_from(length).unwrap_or(u64::MAX), payload);
        payload.extend_from_slice(encoded);
        record.encode_raw(payload);
    });
}

impl WriterThread {
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
        // A folder with nothing to ship need not be adopted by the next boot.
        let appended = self.inner.appended.load(Ordering::Acquire);
        let all_there = self.inner.acknowledged.load(Ordering::Acquire) >= appended;
        if all_there && self.inner.queue.len() == 0 {
            drop(std::fs::remove_dir_all(&self.inner.folder.path));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
