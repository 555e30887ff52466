//! The folder of a boot, and those that dead boots left.
//!
//! A living process holds a lock (`flock`) on its folder, which the kernel lets go of when it dies, however it dies. So
//! an unlocked folder has no writer and never will, and whoever locks it may ship what it holds. A folder gets its name
//! only once it is locked: nobody ever sees a living one without its lock.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use sortie_proto::id::BootId;

/// How much is written to find out whether the disk keeps it.
const PROBE_BYTES: usize = 64 * 1024;

/// A locked folder of a boot.
#[derive(Debug)]
pub(super) struct Folder {
    /// The boot.
    pub(super) boot: BootId,
    /// Where it is.
    pub(super) path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder of a new boot.
    pub(super) fn create(parent: &Path, boot: BootId) -> io::Result<Self> {
        make(parent, true)?;
        let nameless = parent.join(format!("new-{boot}"));
        make(&nameless, false)?;
        let lock = File::open(&nameless)?;
        lock.try_lock().map_err(io::Error::from)?;
        let path = parent.join(boot.to_string());
        std::fs::rename(&nameless, &path)?;
        sync(&File::open(parent)?)?;
        Ok(Self { boot, path, lock })
    }

    /// Locks the folders that dead boots left, in the order in which the boots started.
    pub(super) fn adopt(parent: &Path) -> io::Result<Vec<Self>> {
        let mut adopted = Vec::new();
        for entry in std::fs::read_dir(parent)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(boot) = name.and_then(|name| name.parse().ok()) else {
                continue;
            };
            let lock = match File::open(&path) {
                Ok(lock) => lock,
                // Who shipped the last of it has removed it since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match lock.try_lock() {
                Ok(()) => adopted.push(Self { boot, path, lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        adopted.sort_by_key(|folder| folder.boot);
        Ok(adopted)
    }

    /// Writes to the disk which files are in it: a file that was synced can still lack its name.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync(&self.lock)
    }

    /// Whether the disk keeps data: something is written to it, and taken away again.
    pub(super) fn probe(&self) -> io::Result<()> {
        let path = self.path.join("probe");
        let file = File::create(&path)?;
        file.write_all_at(&[0; PROBE_BYTES], 0)?;
        let kept = file.sync_data();
        // What could not be kept may be in the way of the next one.
        std::fs::remove_file(path)?;
        kept
    }

    /// Removes the folder and all that is in it.
    pub(super) fn remove(self) -> io::Result<()> {
        unless_gone(std::fs::remove_dir_all(&self.path))
    }

    /// Moves it out of the way, for a person to look at: it holds records that cannot be shipped.
    pub(super) fn set_aside(self) -> io::Result<()> {
        unless_gone(std::fs::rename(
            &self.path,
            self.path.with_extension("damaged"),
        ))
    }
}

/// Somebody may have removed the folder: then there is nothing left to do.
fn unless_gone(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| {
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        if is_gone { Ok(()) } else { Err(error) }
    })
}

/// Some network file systems sync no folders: there a name is durable once it is given.
fn sync(folder: &File) -> io::Result<()> {
    match folder.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}

fn make(path: &Path, parents: bool) -> io::Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(parents)
        .create(path)
}

#[cfg(test)]
mod tests;
