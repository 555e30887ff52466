//! The fence as a file in the data folder of one control. Keep it out of backups of the database.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{Error, Fence, Mark};

/// Its name in the data folder.
const NAME: &str = "fence.json";

/// A mark in a file. Replaced as a whole, so that no crash leaves half of one.
#[derive(Debug)]
pub struct FileFence {
    path: PathBuf,
    /// One writer at a time: it reads, compares and replaces.
    writing: Mutex<()>,
}

impl FileFence {
    /// In a data folder.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(NAME),
            writing: Mutex::default(),
        }
    }

    fn io(&self) -> impl FnOnce(std::io::Error) -> Error + '_ {
        |source| Error::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn write(&self, mark: Mark) -> std::io::Result<()> {
        let fresh = self.path.with_extension("json.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        serde_json::to_writer(&mut file, &mark)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // The new name must be on disk as well.
        self.path
            .parent()
            .map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    }
}

impl Fence for FileFence {
    fn read(&self) -> Result<Option<Mark>, Error> {
        match fs::read(&self.path) {
            Ok(text) => {
                let malformed = |_: serde_json::Error| Error::Malformed(self.path.clone());
                serde_json::from_slice(&text).map(Some).map_err(malformed)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io()(error)),
        }
    }

    fn raise(&self, mark: Mark) -> Result<(), Error> {
        let _turn = self.writing.lock();
        match self.read() {
            Ok(Some(held))
                if held.cluster == mark.cluster && held.position() >= mark.position() =>
            {
                Ok(())
            }
            Ok(_) | Err(Error::Malformed(_)) => self.write(mark).map_err(self.io()),
            Err(error) => Err(error),
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests;
