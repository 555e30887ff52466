//! One entry a request, always: written before the credential leaves, shipped to control, replayed after a crash.

pub mod entry;
pub mod queue;
pub mod segment;
pub mod ship;

use std::path::PathBuf;
use std::time::Duration;

use sortie_proto::wire::v1;

use crate::error::Result;

/// Where records are kept, and how many.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; one folder a boot is made in it.
    pub path: PathBuf,
    /// The size of a segment, preallocated.
    pub segment_bytes: u64,
    /// The most bytes of all segments; beyond it `append` refuses.
    pub bytes_max: u64,
    /// How often segments are synced to disk: what power loss may take.
    pub sync_interval: Duration,
    /// The most completions that wait for their record.
    pub completions_max: usize,
}

/// The journal of this boot.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Appends the record of a use. On return it survives the death of the process; if `durable`, of the machine.
    ///
    /// # Errors
    /// `journal_full` when there is no room or the disk refuses.
    pub fn append(&self, record: &v1::Use, durable: bool) -> Result<()> {
        let _ = (record, durable);
        todo!()
    }

    /// Queues the record of a completion. Never lost: when the queue is full it is appended at once.
    pub fn complete(&self, record: v1::Completion) {
        let _ = record;
        todo!()
    }
}
