//! What the journal's thread does to bring records to the disk.
//!
//! A round syncs every segment that was written since the one before, and the folder if a segment is new. One that the
//! disk refuses is not written again: the kernel has dropped what it could not write, and a later sync of the same file
//! would succeed without it. Its records are still in memory, for the shipper.

use std::io;

use super::folder::Folder;
use super::lane::{Lane, Unsynced};
use super::segment::Span;

/// What a round has brought to the disk.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// The segments, each up to its end.
    pub(super) spans: Vec<Span>,
}

/// Syncs all that was written to any lane since the last call.
pub(super) fn all(lanes: &[Lane], folder: &Folder) -> io::Result<Synced> {
    let mut outcome = Ok(());
    let mut synced = Synced::default();
    let mut made = false;
    for lane in lanes {
        let Unsynced { spans, made: new } = lane.take_unsynced();
        made |= new;
        for span in spans {
            match sync(&span) {
                Ok(()) => synced.spans.push(span),
                Err(error) => {
                    lane.seal(&span);
                    outcome = outcome.and(Err(error));
                }
            }
        }
    }
    if made && let Err(error) = folder.sync() {
        lanes.iter().for_each(Lane::name_unsynced);
        outcome = outcome.and(Err(error));
    }
    outcome.map(|()| synced)
}

/// A segment's length was set when it was made, so `fdatasync` is enough.
fn sync(span: &Span) -> io::Result<()> {
    let Some(written) = &span.written else {
        return Ok(());
    };
    written.file.sync_data()
}
