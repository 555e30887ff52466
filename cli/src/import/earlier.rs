//! What is done with the records of earlier imports: listed, gone on with, undone, forgotten.

use super::carry;
use super::record::{Folder, Record, State};
use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::{Column, Output};

const RECORDS: [Column; 5] = [
    ("ID", "/id"),
    ("STATE", "/state"),
    ("VAULT", "/vault"),
    ("CREDENTIALS", "/credentials"),
    ("FILES", "/files"),
];

/// Lists all records.
///
/// # Errors
/// Whatever keeps one from being read.
pub(super) fn list(folder: &Folder, out: Output) -> Result<()> {
    let rows: Vec<_> = folder.all()?.iter().map(Record::summary).collect();
    out.list(&rows, &RECORDS)
}

/// Ends an import that was broken off.
///
/// # Errors
/// [`Error::Failed`] if it was not, and whatever control or a file objects to.
pub(super) async fn go_on(folder: &Folder, record: Record, context: &Context) -> Result<()> {
    if record.state != State::Started {
        return Err(Error::failed(
            format!("import {} is {}", record.id, record.state.name()),
            "There is nothing to go on with; `sortie import --list` shows all.",
        ));
    }
    record.check_control(context)?;
    let done = carry::all(folder, record, context).await?;
    context
        .out
        .done(&done.summary(), &format!("import {} is done", done.id))
}

/// Puts the files of an import back.
///
/// # Errors
/// [`Error::Failed`] with the files that were edited since; the others are back then.
pub(super) fn undo(folder: &Folder, id: &str, out: Output) -> Result<()> {
    let record = folder.read(id, |state| state != State::Undone)?;
    let changed = carry::back(&record)?;
    if !changed.is_empty() {
        return Err(Error::failed(
            format!(
                "changed since the import, and left as they are: {}",
                changed.join(", ")
            ),
            "All other files are put back. Take the placeholders out by hand, or restore those files and try again.",
        ));
    }
    let record = folder.mark(record, State::Undone)?;
    let names: Vec<_> = record.names().collect();
    out.note(&format!(
        "the vault {} keeps {}",
        record.vault,
        names.join(", ")
    ));
    out.done(
        &record.summary(),
        &format!("the files of import {} are as they were", record.id),
    )
}

/// Overwrites a record and removes it.
///
/// # Errors
/// [`Error::Failed`] while it may hold the only copy of a value.
pub(super) fn forget(folder: &Folder, id: &str, out: Output) -> Result<()> {
    let record = folder.read(id, |_| true)?;
    if record.state == State::Started {
        return Err(Error::failed(
            format!(
                "import {} was broken off: its record may hold the only copy of a value",
                record.id
            ),
            format!(
                "First `sortie import --continue {0}` or `sortie import --undo {0}`.",
                record.id
            ),
        ));
    }
    folder.shred(&record)?;
    out.note("where a disk or file system keeps old blocks, it may keep these");
    out.done(
        &record.summary(),
        &format!(
            "the record of import {} is overwritten and removed",
            record.id
        ),
    )
}
