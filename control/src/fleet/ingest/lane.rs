//! What one lane's batch does to its cursor: what is new, whether the chain fits, and which alarms that raises. Pure.
//!
//! The node's marks are the measure: a mark says what the head must be behind a record, from the memory of the one who
//! wrote it. An alarm never stops the lane: what does not fit is told, and the chain goes on from the mark.

use sortie_proto::chain::Head;
use sortie_proto::code::Code;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;

use crate::database::journal::alarms::{Alarm, Kind};
use crate::database::journal::cursors::{Cursor, Mark};
use crate::error::{Error, Result};

/// The largest sequence: what the column holds.
const SEQUENCE_MAX: u64 = i64::MAX.unsigned_abs();

/// A lane that is being taken in.
#[derive(Debug)]
pub(super) struct Lane {
    /// Where it is now.
    pub(super) cursor: Cursor,
    /// What is wrong.
    pub(super) alarms: Vec<Alarm>,
    /// The mark of this batch.
    mark: Option<Mark>,
}

impl Lane {
    /// Begins a batch at a locked cursor. `count` is how many records it brings.
    ///
    /// # Errors
    /// `failed_precondition` if it does not follow on; `invalid_argument` for what is malformed.
    pub(super) fn begin(
        boot: BootId,
        mut cursor: Cursor,
        batch: &v1::LaneBatch,
        count: usize,
    ) -> Result<Self> {
        let first = batch.first_sequence;
        let brings = count > 0 || batch.after_gap;
        let mark = batch.mark.as_ref().map(read_mark).transpose()?;
        if cursor.sequence == 0 && cursor.head.is_none() {
            cursor.head = Some(Head::of_lane(boot, cursor.lane));
        }
        let mut lane = Self {
            cursor,
            alarms: Vec::new(),
            mark,
        };
        if !brings {
            lane.check_end();
            return Ok(lane);
        }
        let follows = first <= lane.cursor.sequence.saturating_add(1);
        let count = u64::try_from(count).map_err(Error::internal)?;
        if first < 1 || first.saturating_add(count) > SEQUENCE_MAX || !(follows || batch.after_gap)
        {
            return Err(Error::new(Code::FailedPrecondition).because(
                "the batch does not begin where the lane ends: ask for the cursor with an empty batch",
            ));
        }
        if !follows {
            lane.pass_over(first);
        }
        Ok(lane)
    }

    /// Takes the next record, which has this sequence. `false` if it is there already. `payload` is missing from nodes
    /// that know no chain.
    pub(super) fn take(&mut self, sequence: u64, payload: Option<&[u8]>) -> bool {
        if sequence <= self.cursor.sequence {
            return false;
        }
        self.cursor.sequence = sequence;
        let known = self.cursor.head.zip(payload);
        self.cursor.head = known.map(|(head, payload)| head.then(payload));
        for mark in [self.cursor.mark, self.mark].into_iter().flatten() {
            if mark.sequence == sequence {
                self.check(mark);
            }
        }
        true
    }

    /// Ends the batch.
    pub(super) fn end(mut self) -> (Cursor, Vec<Alarm>) {
        let sequence = self.cursor.sequence;
        // The furthest: if nothing more comes of the boot, all up to there is known to be missing.
        let open = [self.cursor.mark, self.mark].into_iter().flatten();
        let open = open.filter(|mark| mark.sequence > sequence);
        self.cursor.mark = open.max_by_key(|mark| mark.sequence);
        (self.cursor, self.alarms)
    }

    /// The node says where its lane ends.
    fn check_end(&mut self) {
        let Some(mark) = self.mark else { return };
        let sequence = self.cursor.sequence;
        if mark.sequence < sequence {
            self.alarm(Kind::Fork, mark.sequence.saturating_add(1), sequence);
        } else if mark.sequence == sequence {
            self.check(mark);
        }
    }

    fn check(&mut self, mark: Mark) {
        if self.cursor.head.is_some_and(|head| head != mark.head) {
            let first = self.cursor.verified.saturating_add(1);
            self.alarm(Kind::Edited, first.min(mark.sequence), mark.sequence);
        }
        self.cursor.head = Some(mark.head);
        self.cursor.verified = mark.sequence;
    }

    fn pass_over(&mut self, first: u64) {
        let last = first.saturating_sub(1);
        self.alarm(Kind::Gap, self.cursor.sequence.saturating_add(1), last);
        self.cursor.sequence = last;
        self.cursor.head = None;
        for mark in [self.cursor.mark, self.mark].into_iter().flatten() {
            if mark.sequence == last {
                self.check(mark);
            }
        }
        self.cursor.verified = last;
    }

    fn alarm(&mut self, kind: Kind, first: u64, last: u64) {
        self.alarms.push(Alarm {
            kind,
            lane: self.cursor.lane,
            first,
            last,
        });
    }
}

fn read_mark(wire: &v1::Mark) -> Result<Mark> {
    let head = Head::from_bytes(&wire.head);
    let head = head.ok_or_else(|| Error::invalid("mark.head", "must have 32 bytes"))?;
    if wire.sequence > SEQUENCE_MAX {
        return Err(Error::invalid("mark.sequence", "is too large"));
    }
    Ok(Mark {
        sequence: wire.sequence,
        head,
    })
}

#[cfg(test)]
mod tests;
