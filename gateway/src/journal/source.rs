//! Reads what is to be shipped: the lanes of this boot, and those of a dead one.
//!
//! A lane is read from behind what control has acknowledged. Where its records end is known for a living lane; for a
//! dead one the records themselves tell: the first that is torn ends it, since the process died while it wrote it.

use std::collections::BTreeMap;
use std::io;

use prost::Message;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;

use super::folder::Folder;
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
}

/// How reading a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The batch is full.
    Budget,
    /// All that is there was read.
    End,
    /// There are records, but the one that control wants cannot be read.
    Gap,
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
}

impl LaneSource {
    /// A lane of this boot: control has nothing of it yet.
    pub(super) const fn fresh(lane: u32) -> Self {
        Self {
            lane,
            acknowledged: 0,
            known: true,
            reader: None,
            stop: Stop::End,
        }
    }

    /// A lane of a dead boot: control knows how far it came.
    pub(super) const fn unknown(lane: u32) -> Self {
        let mut source = Self::fresh(lane);
        source.known = false;
        source
    }

    /// Its number.
    pub(super) const fn lane(&self) -> u32 {
        self.lane
    }

    /// The last sequence that control has committed.
    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How the last reading ended.
    pub(super) const fn stop(&self) -> Stop {
        self.stop
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
    }

    /// The next batch: empty, to ask how far control is; `None` when there is nothing to send.
    pub(super) fn batch(
        &mut self,
        spans: &[Span],
        budget: &mut Budget,
    ) -> io::Result<Option<v1::LaneBatch>> {
        let first_sequence = self.acknowledged.saturating_add(1);
        let mut records = Vec::new();
        if self.known {
            self.stop = self.read(spans, budget, &mut records)?;
            if records.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(v1::LaneBatch {
            lane: self.lane,
            first_sequence,
            records,
        }))
    }

    fn read(
        &mut self,
        spans: &[Span],
        budget: &mut Budget,
        records: &mut Vec<v1::Record>,
    ) -> io::Result<Stop> {
        let mut wanted = self.acknowledged.saturating_add(1);
        // A batch that was read but never acknowledged is read again.
        let positioned = |reader: &mut Reader| reader.next() == wanted;
        let mut reader = self.reader.take_if(positioned);
        while !budget.is_spent() {
            let Some(span) = spans.iter().rfind(|span| span.first <= wanted) else {
                return Ok(if spans.is_empty() {
                    Stop::End
                } else {
                    Stop::Gap
                });
            };
            let open = match reader.take() {
                Some(open) if open.header().first == span.first => open,
                _ => match Reader::open(&span.path)? {
                    Some(open) => open,
                    None => return Ok(after(spans, span)),
                },
            };
            let open = reader.insert(open);
            match open.read(span.end)? {
                Read::Record(payload) if open.next() > wanted => {
                    wanted = open.next();
                    budget.records = budget.records.saturating_sub(1);
                    budget.bytes = budget.bytes.saturating_sub(payload.len());
                    // What cannot be decoded keeps its place in the sequence: control quarantines it.
                    records.push(v1::Record::decode(payload.as_slice()).unwrap_or_default());
                }
                Read::Record(_) => {}
                Read::End | Read::Torn => {
                    let stop = after(spans, span);
                    self.reader = reader;
                    return Ok(stop);
                }
            }
        }
        self.reader = reader;
        Ok(Stop::Budget)
    }
}

/// What it means that a segment's records end: the last one ends the lane, an earlier one leaves records behind it that
/// no longer follow on.
fn after(spans: &[Span], span: &Span) -> Stop {
    match spans.last() {
        Some(last) if last.first > span.first => Stop::Gap,
        _ => Stop::End,
    }
}

/// A dead boot's folder on its way to control.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) folder: Folder,
    pub(super) lanes: Vec<(LaneSource, Vec<Span>)>,
}

impl Dead {
    /// Looks at what a folder holds.
    pub(super) fn open(folder: Folder) -> io::Result<Self> {
        let mut lanes: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
        for (lane, span) in segment::list(&folder.path)? {
            // A file without a header was being made when the process died. It holds nothing.
            if Reader::open(&span.path)?.is_some() {
                lanes.entry(lane).or_default().push(span);
            }
        }
        let source = |(lane, spans)| (LaneSource::unknown(lane), spans);
        Ok(Self {
            folder,
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
            .all(|(lane, _)| lane.known && lane.stop != Stop::Budget)
    }

    /// Whether something in it cannot be shipped.
    pub(super) fn is_damaged(&self) -> bool {
        self.lanes.iter().any(|(lane, _)| lane.stop == Stop::Gap)
    }
}

/// The bytes that a folder's segments take.
pub(super) fn bytes(folder: &Folder) -> io::Result<u64> {
    segment::list(&folder.path)?
        .iter()
        .map(|(_, span)| Ok(std::fs::metadata(&span.path)?.len()))
        .sum()
}
