//! Reads what is to be shipped: the lanes of this boot, and those of a dead one.
//!
//! A lane is read from behind what control has acknowledged. Where its records end is known for a living lane; for a
//! dead one the records themselves tell. What cannot be read is passed over and control is told which records those
//! are: one that was altered goes as it stands and says so; where not even its length can be trusted, all up to the
//! next place that is known are gone.

use std::collections::BTreeMap;
use std::io;

use prost::Message;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;

use super::folder::Folder;
use super::lane::{Mark, View};
use super::segment::{self, Read, Reader, Span};

/// The most records of a batch.
const RECORDS_MAX: usize = 1_000;
/// The most bytes of a batch, but for its last record.
const BYTES_MAX: usize = 1024 * 1024;

/// What may still go into a batch.
#[derive(Debug)]
pub(super) struct Budget {
    records: usize,
    bytes: usize,
}

impl Budget {
    /// A whole batch.
    pub(super) const fn whole() -> Self {
        Self {
            records: RECORDS_MAX,
            bytes: BYTES_MAX,
        }
    }

    /// Whether the batch is full: more may be left.
    pub(super) const fn is_spent(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    fn take(&mut self, bytes: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// How reading a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The batch is full, or a gap follows: there is more.
    More,
    /// All that is there was read.
    End,
    /// All was read, and bytes follow that are no record.
    Torn,
}

/// What was read for a batch.
#[derive(Debug, Default)]
struct Found {
    first: u64,
    payloads: Vec<Vec<u8>>,
    damaged: Vec<u64>,
    after_gap: bool,
}

impl Found {
    fn next(&self) -> u64 {
        let count = u64::try_from(self.payloads.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(count)
    }
}

/// A place behind bytes that cannot be read: the segment, where the place is, and the record that stands there.
#[derive(Debug, Clone, Copy)]
struct Detour {
    segment: u64,
    offset: u64,
    next: u64,
}

/// One lane on its way to control.
#[derive(Debug)]
pub(super) struct LaneSource {
    lane: u32,
    acknowledged: u64,
    /// Whether control has said how far it is.
    known: bool,
    reader: Option<Reader>,
    stop: Stop,
    detour: Option<Detour>,
    /// Whether records of it were passed over.
    damaged: bool,
    /// Announced, until control has all up to there: where it can compare its head with this node's.
    mark: Option<Mark>,
}

impl LaneSource {
    /// A lane; control will be asked how far it is.
    pub(super) const fn new(lane: u32) -> Self {
        Self {
            lane,
            acknowledged: 0,
            known: false,
            reader: None,
            stop: Stop::End,
            detour: None,
            damaged: false,
            mark: None,
        }
    }

    /// Its number.
    pub(super) const fn lane(&self) -> u32 {
        self.lane
    }

    /// The last sequence that control has committed.
    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether records of it were passed over.
    pub(super) const fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Forgets how far control is: the next batch asks.
    pub(super) fn forget(&mut self) {
        self.known = false;
        self.reader = None;
    }

    /// Takes control's cursor.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        self.known = true;
        self.acknowledged = sequence;
        let read_on = |reader: &mut Reader| reader.next() == sequence.saturating_add(1);
        self.reader = self.reader.take_if(read_on);
        self.mark = self.mark.take_if(|mark| mark.sequence > sequence);
    }

    /// The next batch of a living lane: empty, to ask how far control is; `None` when there is nothing to send.
    pub(super) fn batch(
        &mut self,
        view: &View,
        budget: &mut Budget,
    ) -> io::Result<Option<v1::LaneBatch>> {
        if view.mark.sequence == 0 {
            // Nothing was ever written to it, and control need not hear of it.
            return Ok(None);
        }
        let Some(batch) = self.batch_of(&view.spans, budget)? else {
            return Ok(None);
        };
        // All that was written is announced, however much of it is still to be sent: a tail that is lost is missed. A lane
        // that is always behind is compared where it once was.
        let held = *self.mark.get_or_insert(view.mark);
        let count = u64::try_from(batch.payloads.len()).unwrap_or(u64::MAX);
        let reaches = batch.first_sequence.saturating_add(count) > held.sequence;
        let mark = if reaches { held } else { view.mark };
        Ok(Some(v1::LaneBatch {
            mark: Some(v1::Mark {
                sequence: mark.sequence,
                head: mark.head.as_bytes().to_vec(),
            }),
            ..batch
        }))
    }

    /// The next batch of a lane of which only the files are left.
    pub(super) fn batch_of(
        &mut self,
        spans: &[Span],
        budget: &mut Budget,
    ) -> io::Result<Option<v1::LaneBatch>> {
        let mut found = Found {
            first: self.acknowledged.saturating_add(1),
            ..Found::default()
        };
        if self.known {
            self.stop = self.read(spans, budget, &mut found)?;
            self.damaged |= found.after_gap || !found.damaged.is_empty();
            if found.payloads.is_empty() && !found.after_gap {
                return Ok(None);
            }
        }
        Ok(Some(v1::LaneBatch {
            lane: self.lane,
            first_sequence: found.first,
            payloads: found.payloads,
            damaged: found.damaged,
            after_gap: found.after_gap,
            ..v1::LaneBatch::default()
        }))
    }

    fn read(&mut self, spans: &[Span], budget: &mut Budget, found: &mut Found) -> io::Result<Stop> {
        while !budget.is_spent() {
            let wanted = found.next();
            let Some(at) = spans.iter().rposition(|span| span.first <= wanted) else {
                let Some(first) = spans.first() else {
                    return Ok(Stop::End);
                };
                // Control wants what is not there any more.
                if !pass_over(found, first.first) {
                    return Ok(Stop::More);
                }
                continue;
            };
            let (Some(span), behind) = (spans.get(at), spans.get(at.saturating_add(1))) else {
                return Ok(Stop::End);
            };
            let is_torn = self.read_span(span, budget, found)?;
            if budget.is_spent() {
                return Ok(Stop::More);
            }
            // Where reading can go on: what the writer knows, or where the next segment begins.
            let known = span.written.as_ref().map(|written| written.next);
            let next = known.or_else(|| Some(behind?.first));
            let next = next.unwrap_or_else(|| found.next());
            if next > found.next() {
                if !pass_over(found, next) {
                    return Ok(Stop::More);
                }
                self.detour = span.written.as_ref().map(|written| Detour {
                    segment: span.first,
                    offset: written.end,
                    next,
                });
            }
            if behind.is_none() {
                let is_torn = is_torn && span.written.is_none();
                return Ok(if is_torn { Stop::Torn } else { Stop::End });
            }
        }
        Ok(Stop::More)
    }

    /// Reads a segment's records up to its end, or to bytes that are none. Whether it came upon such.
    fn read_span(
        &mut self,
        span: &Span,
        budget: &mut Budget,
        found: &mut Found,
    ) -> io::Result<bool> {
        let wanted = found.next();
        let on =
            |reader: &mut Reader| reader.header().first == span.first && reader.next() <= wanted;
        let Some(mut reader) = (match self.reader.take_if(on) {
            Some(reader) => Some(reader),
            None => match Reader::of(span) {
                // Nobody writes it any more: what it held is lost, and control is told.
                Err(error) if span.written.is_none() && error.kind() == io::ErrorKind::NotFound => {
                    None
                }
                opened => opened?,
            },
        }) else {
            return Ok(true);
        };
        let behind = |detour: &Detour| {
            detour.segment == span.first && (reader.next()..=wanted).contains(&detour.next)
        };
        if let Some(detour) = self.detour.filter(behind) {
            reader.skip_to(detour.offset, detour.next);
        }
        let is_torn = loop {
            if budget.is_spent() {
                break false;
            }
            let (payload, is_damaged) = match reader.read(span.end())? {
                Read::Record(payload) => (payload, false),
                Read::Damaged(payload) => (payload, true),
                Read::End => break false,
                Read::Torn => break true,
            };
            let next = found.next();
            if reader.next() <= next {
                continue;
            }
            budget.take(payload.len());
            if is_damaged {
                found.damaged.push(next);
            }
            found.payloads.push(payload);
        };
        self.reader = Some(reader);
        Ok(is_torn)
    }
}

/// Begins the batch behind records that are gone. `false` if it holds some from before them: those go first.
fn pass_over(found: &mut Found, next: u64) -> bool {
    if !found.payloads.is_empty() {
        return false;
    }
    found.first = next;
    found.after_gap = true;
    true
}

/// The batch as a control takes it that does not know payloads. What cannot be decoded keeps its place in the sequence:
/// control quarantines it.
pub(super) fn decoded(batch: &v1::LaneBatch) -> v1::LaneBatch {
    let record = |payload: &Vec<u8>| v1::Record::decode(payload.as_slice()).unwrap_or_default();
    v1::LaneBatch {
        lane: batch.lane,
        first_sequence: batch.first_sequence,
        records: batch.payloads.iter().map(record).collect(),
        ..v1::LaneBatch::default()
    }
}

/// A dead boot's folder on its way to control.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) folder: Folder,
    /// What its segments took of the journal's room when it was adopted.
    pub(super) bytes: u64,
    pub(super) lanes: Vec<(LaneSource, Vec<Span>)>,
}

impl Dead {
    /// Looks at what a folder holds.
    pub(super) fn open(folder: Folder) -> io::Result<Self> {
        let bytes = bytes(&folder)?;
        let mut lanes: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
        for (lane, span) in segment::list(&folder.path)? {
            // A file without a header was being made when the process died. It holds nothing.
            if Reader::of(&span)?.is_some() {
                lanes.entry(lane).or_default().push(span);
            }
        }
        let source = |(lane, spans)| (LaneSource::new(lane), spans);
        Ok(Self {
            folder,
            bytes,
            lanes: lanes.into_iter().map(source).collect(),
        })
    }

    /// The boot.
    pub(super) const fn boot(&self) -> BootId {
        self.folder.boot
    }

    /// Whether all that can be read is acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.lanes
            .iter()
            .all(|(lane, _)| lane.known && lane.stop != Stop::More)
    }

    /// Whether records in it could not be read.
    pub(super) fn is_damaged(&self) -> bool {
        self.lanes.iter().any(|(lane, _)| lane.is_damaged())
    }

    /// The lanes whose last segment ends in bytes that are no record.
    pub(super) fn torn(&self) -> Vec<u32> {
        let torn = self
            .lanes
            .iter()
            .filter(|(lane, _)| lane.stop == Stop::Torn);
        torn.map(|(lane, _)| lane.lane()).collect()
    }
}

/// The bytes that a folder's segments take.
pub(super) fn bytes(folder: &Folder) -> io::Result<u64> {
    segment::list(&folder.path)?
        .iter()
        .map(|(_, span)| Ok(std::fs::metadata(&span.path)?.len()))
        .sum()
}
