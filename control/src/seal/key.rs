//! Where the root key comes from: a file of 32 bytes in base64, readable by nobody else.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use sortie_proto::secret::Secret;
use zeroize::Zeroizing;

/// Why the root key's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none, but the database has a cluster.
    #[error(
        "{0} is missing, but the database holds a cluster that was made with it: put it back from its backup"
    )]
    Missing(PathBuf),
    /// Others may read it.
    #[error(
        "{path} may be read by others (mode {mode:o}): make it `chmod 600`, and consider the key known"
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a key.
    #[error("{0} is not 32 bytes in base64")]
    Malformed(PathBuf),
    /// It cannot be read or written.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Reads the root key.
///
/// # Errors
/// Each variant of [`Error`] says what to do.
pub fn read(path: &Path) -> Result<Secret, Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Missing(path.to_owned()));
        }
        meta => meta.map_err(io)?,
    };
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    let Ok(bytes) = STANDARD.decode(text.trim()) else {
        return Err(Error::Malformed(path.to_owned()));
    };
    let key = Secret::new(bytes);
    if key.len() == 32 {
        Ok(key)
    } else {
        Err(Error::Malformed(path.to_owned()))
    }
}

/// Reads the root key, or makes one where there is none.
///
/// # Errors
/// As [`read`], but never [`Error::Missing`].
pub fn read_or_create(path: &Path) -> Result<Secret, Error> {
    if path.exists() {
        return read(path);
    }
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::rng().fill_bytes(&mut *bytes);
    let mut text = Zeroizing::new(STANDARD.encode(*bytes));
    text.push('\n');
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io)?;
    read(path)
}
