//! One writer of segments: a sequence without gaps, from 1, over as many segments as are not yet acknowledged.
//!
//! Each thread writes to a lane of its own, given out on first use, so that workers do not wait for each other; where
//! there are more threads than lanes they share. The lock of a lane is held for one `pwrite` (and, once a segment, for
//! making the next): a second thread on the same lane must not come between the choice of the offset and the write,
//! or the lane would have a hole that ends it for every reader.
//!
//! A lane keeps the head of its chain in memory: what a reader later finds in the files can be held against it.
//!
//! **Invariant:** a segment is removed only when all its records are acknowledged and it is not written any more; one
//! that could not be synced is never written again.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use sortie_proto::chain::Head;
use sortie_proto::id::BootId;

use super::segment::{self, HEADER_LEN, Header, Segment, Span};

/// The most lanes that a boot has.
const LANES_MAX: u64 = 64;

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// All the bytes that the journal may have are taken.
    #[error("the journal has no room")]
    Full,
    /// A record that would not fit into an empty segment.
    #[error("the record is larger than a segment")]
    TooLarge,
    /// The disk did not keep what it was given.
    #[error("the disk fails")]
    Fails,
    /// The disk refused.
    #[error("the disk refused")]
    Disk(#[source] io::Error),
}

/// Who asks for a new segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A use: refused once nine tenths are taken, while its request can still be refused with it.
    Use,
    /// A completion: its request has happened, so it may have the last tenth too.
    Completion,
}

/// The bytes that segments may take, shared by all lanes.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicU64,
    max: u64,
    retry: Mutex<Option<tokio::time::Instant>>,
}

impl Room {
    /// How long a disk that refused is left alone: a full disk must not cost each request a failing system call.
    const RETRY: std::time::Duration = std::time::Duration::from_millis(100);

    /// Room for so many bytes, of which some are taken.
    pub(super) const fn new(max: u64, used: u64) -> Self {
        Self {
            used: AtomicU64::new(used),
            max,
            retry: Mutex::new(None),
        }
    }

    fn take(&self, bytes: u64, kind: Kind) -> Result<(), Refused> {
        let max = match kind {
            Kind::Use => self.max_of_uses(),
            Kind::Completion => self.max,
        };
        let mut retry = self.retry.lock();
        if retry.is_some_and(|at| tokio::time::Instant::now() < at) {
            return Err(Refused::Full);
        }
        *retry = None;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= max)
            })
            .map(drop)
            .or(Err(Refused::Full))
    }

    const fn max_of_uses(&self) -> u64 {
        self.max.saturating_sub(self.max / 10)
    }

    /// Whether a segment of this size would be refused to a use.
    pub(super) fn is_full(&self, segment_bytes: u64) -> bool {
        self.used().saturating_add(segment_bytes) > self.max_of_uses()
    }

    /// Counts bytes that are there already, whether there is room for them or not.
    pub(super) fn fill(&self, bytes: u64) {
        let _before = self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back.
    pub(super) fn give(&self, bytes: u64) {
        let taken = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(taken >= bytes, "more room was given back than was taken");
    }

    fn failed(&self) {
        *self.retry.lock() = Some(tokio::time::Instant::now() + Self::RETRY);
    }

    /// The bytes that segments take.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Where a lane makes its segments, and how large.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The folder of the boot.
    pub(super) folder: &'a Path,
    /// The boot.
    pub(super) boot: BootId,
    /// The size of a segment.
    pub(super) segment_bytes: u64,
    /// What all lanes share.
    pub(super) room: &'a Room,
}

/// One writer.
#[derive(Debug)]
pub(super) struct Lane {
    number: u32,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    current: Option<Segment>,
    sealed: VecDeque<Span>,
    unsynced: Vec<Span>,
    dirty: bool,
    /// Whether a file was made since the last sync.
    made: bool,
    next: u64,
    head: Head,
}

/// What is complete in a lane, at one moment.
#[derive(Debug)]
pub(super) struct View {
    /// The segments, in order.
    pub(super) spans: Vec<Span>,
    /// The end of them.
    pub(super) mark: Mark,
}

/// A place in a lane, and the head of the chain there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The sequence of the last record before it.
    pub(super) sequence: u64,
    /// The head behind that record.
    pub(super) head: Head,
}

/// What was written to a lane since the last sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// The segments.
    pub(super) spans: Vec<Span>,
    /// Whether one of them is new: its name is to be synced too.
    pub(super) made: bool,
}

/// How many lanes a journal of this size has: at least two segments for each, or one lane.
pub(super) fn lanes(bytes_max: u64, segment_bytes: u64, boot: BootId) -> Vec<Lane> {
    let count = bytes_max
        .checked_div(segment_bytes.saturating_mul(2))
        .unwrap_or(1)
        .clamp(1, LANES_MAX);
    (0..u32::try_from(count).unwrap_or(1))
        .map(|number| Lane::new(number, boot))
        .collect()
}

/// The lane of this thread: the same one each time.
pub(super) fn of_this_thread(lanes: &[Lane]) -> Option<&Lane> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let mine = MINE.get().unwrap_or_else(|| {
        let mine = NEXT.fetch_add(1, Ordering::Relaxed);
        MINE.set(Some(mine));
        mine
    });
    lanes.get(mine.checked_rem(lanes.len())?)
}

impl Lane {
    fn new(number: u32, boot: BootId) -> Self {
        Self {
            number,
            writer: Mutex::new(Writer {
                current: None,
                sealed: VecDeque::new(),
                unsynced: Vec::new(),
                dirty: false,
                made: false,
                next: 1,
                head: Head::of_lane(boot, number),
            }),
        }
    }

    /// Its number.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Appends framed records.
    pub(super) fn append(
        &self,
        place: &Place<'_>,
        kind: Kind,
        framed: &[u8],
        records: u64,
    ) -> Result<(), Refused> {
        let mut writer = self.writer.lock();
        let segment = writer.room_for(framed.len(), kind, self.number, place)?;
        segment.append(framed, records).map_err(Refused::Disk)?;
        writer.next = segment.next();
        writer.head =
            segment::payloads(framed).fold(writer.head, |head, payload| head.then(payload));
        writer.dirty = true;
        Ok(())
    }

    /// The sequence that the next record will have.
    #[cfg(test)]
    pub(super) fn next(&self) -> u64 {
        self.writer.lock().next
    }

    /// What is complete.
    pub(super) fn view(&self) -> View {
        let writer = self.writer.lock();
        let current = writer.current.as_ref().map(Segment::span);
        View {
            spans: writer.sealed.iter().cloned().chain(current).collect(),
            mark: Mark {
                sequence: writer.next.saturating_sub(1),
                head: writer.head,
            },
        }
    }

    /// What was written since the last call.
    pub(super) fn take_unsynced(&self) -> Unsynced {
        let mut writer = self.writer.lock();
        let mut spans = std::mem::take(&mut writer.unsynced);
        if std::mem::take(&mut writer.dirty) {
            spans.extend(writer.current.as_ref().map(Segment::span));
        }
        let made = std::mem::take(&mut writer.made);
        Unsynced { spans, made }
    }

    /// Takes down that the folder could not be synced: the next round tries again.
    pub(super) fn name_unsynced(&self) {
        self.writer.lock().made = true;
    }

    /// Writes to this segment no more.
    pub(super) fn seal(&self, span: &Span) {
        let mut writer = self.writer.lock();
        if let Some(segment) = writer
            .current
            .take_if(|segment| segment.first() == span.first)
        {
            writer.sealed.push_back(segment.span());
        }
    }

    /// Removes the segments whose records are all acknowledged. For one thread at a time: the shipper's.
    pub(super) fn release(&self, acknowledged: u64, place: &Place<'_>) -> io::Result<()> {
        loop {
            let writer = self.writer.lock();
            let behind = writer.sealed.get(1).map(|span| span.first);
            let behind = behind
                .or_else(|| Some(writer.current.as_ref()?.span().first))
                .unwrap_or(writer.next);
            if behind > acknowledged.saturating_add(1) {
                return Ok(());
            }
            let Some(path) = writer.sealed.front().map(|span| span.path.clone()) else {
                return Ok(());
            };
            // Removing a large file takes time, and the lane's threads need not wait for it.
            drop(writer);
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            // Only now: a segment that cannot be removed keeps its room, and is tried again.
            let _removed = self.writer.lock().sealed.pop_front();
            place.room.give(place.segment_bytes);
        }
    }
}

impl Writer {
    fn room_for(
        &mut self,
        bytes: usize,
        kind: Kind,
        lane: u32,
        place: &Place<'_>,
    ) -> Result<&mut Segment, Refused> {
        let whole = u64::try_from(bytes.saturating_add(HEADER_LEN)).unwrap_or(u64::MAX);
        if whole > place.segment_bytes {
            return Err(Refused::TooLarge);
        }
        if let Some(full) = self.current.take_if(|segment| !segment.fits(bytes)) {
            // Sealed even if no new one can be made: only so can its room come back.
            self.sealed.push_back(full.span());
            self.unsynced.push(full.span());
        }
        if self.current.is_none() {
            self.current = Some(Self::make(self.next, kind, lane, place)?);
            self.made = true;
        }
        self.current.as_mut().ok_or(Refused::Full)
    }

    fn make(first: u64, kind: Kind, lane: u32, place: &Place<'_>) -> Result<Segment, Refused> {
        place.room.take(place.segment_bytes, kind)?;
        let header = Header {
            boot: place.boot,
            lane,
            first,
        };
        Segment::create(place.folder, header, place.segment_bytes).map_err(|error| {
            place.room.give(place.segment_bytes);
            place.room.failed();
            Refused::Disk(error)
        })
    }
}
