//! What an import does once its record is on disk: the vault, then the files. Doing it again is harmless.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use sortie_proto::secret::Secret;

use super::record::{Changed, Folder, Record, State, sync_folder};
use crate::config::Context;
use crate::error::{Error, Result};
use crate::verbs::{credential_body, in_vault};

/// What a half-written file is called. Nothing looks for secrets in it.
const DRAFT: &str = ".sortie-import";

/// Moves all credentials of a record, then changes all its files.
///
/// # Errors
/// Whatever control or a file objects to. What is done stays done, and the record stays open.
pub(super) async fn all(folder: &Folder, record: Record, context: &Context) -> Result<Record> {
    // A file that has changed meanwhile would stop it half-way: better before anything is done.
    for file in &record.files {
        if !is(&file.path, &[&file.before, &file.after])? {
            return Err(changed(&file.path, &record.id));
        }
    }
    for moved in &record.credentials {
        let path = in_vault(context, &record.vault, &["credentials", &moved.name]);
        let body = credential_body(&moved.value, &moved.destinations, Some(&moved.placeholder));
        context.client.put(&path, &body).await?;
    }
    for file in &record.files {
        replace(file, &file.before, &file.after).map_err(|error| match error {
            Some(error) => error,
            None => changed(&file.path, &record.id),
        })?;
    }
    folder.mark(record, State::Done)
}

fn changed(path: &Path, id: &str) -> Error {
    Error::failed(
        format!("{} has changed meanwhile", path.display()),
        format!("`sortie import --undo {id}` puts the other files back; then import anew."),
    )
}

/// Puts the files of a record back, and says which have changed since and were left.
///
/// # Errors
/// [`Error::File`].
pub(super) fn back(record: &Record) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for file in &record.files {
        match replace(file, &file.after, &file.before) {
            Ok(()) => {}
            Err(None) => left.push(file.path.display().to_string()),
            Err(Some(error)) => return Err(error),
        }
    }
    Ok(left)
}

/// Whether a file holds one of these.
fn is(path: &Path, contents: &[&Secret]) -> Result<bool> {
    let bytes = fs::read(path).map_err(|source| Error::file("read", path, source))?;
    let bytes = Secret::new(bytes);
    Ok(contents
        .iter()
        .any(|content| content.same_as(bytes.expose())))
}

/// Replaces a file that holds `old` by one that holds `new`, whole, with its mode and owner. One that holds `new` is
/// left. The error is none if it holds something else.
fn replace(file: &Changed, old: &Secret, new: &Secret) -> std::result::Result<(), Option<Error>> {
    let path = &file.path;
    let draft = draft_of(path);
    let failed = |source| Some(Error::file("replace", path, source));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    if is(path, &[new])? {
        return Ok(());
    }
    write_draft(path, &draft, new.expose()).map_err(failed)?;
    // As late as can be: an editor may have saved the file while the vault was asked.
    if !is(path, &[old])? {
        fs::remove_file(&draft).map_err(failed)?;
        return Err(None);
    }
    fs::rename(&draft, path).map_err(failed)?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new("/")))?;
    Ok(())
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DRAFT);
    name.into()
}

fn write_draft(path: &Path, draft: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let about = fs::metadata(path)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(bytes)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (about.uid(), about.gid()) {
        fchown(&file, Some(about.uid()), Some(about.gid()))?;
    }
    // After the owner: to change that takes bits off the mode.
    file.set_permissions(fs::Permissions::from_mode(about.mode() & 0o7777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
