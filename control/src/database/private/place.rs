//! Folders of the private database: who owns them, and a socket path that is short enough.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};

use super::Error;

/// `sun_path` has 108 bytes with its end on Linux, 104 on macOS.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// Who runs the server.
#[derive(Debug)]
pub(super) struct RunAs(Option<User>);

impl RunAs {
    /// This process's own user, or an unprivileged one if that is root.
    pub(super) fn choose() -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self(Some(user)))
            .ok_or(Error::NoUser)
    }

    /// Makes a child run as that user. As root the standard library also drops the supplementary groups.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Gives a path to that user.
    pub(super) fn own(&self, path: &Path, mode: u32) -> Result<(), Error> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io(path))?;
        match &self.0 {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .map_err(Error::io(path)),
            None => Ok(()),
        }
    }

    fn uid(&self) -> u32 {
        self.0
            .as_ref()
            .map_or_else(|| geteuid().as_raw(), |user| user.uid.as_raw())
    }

    /// Whether that user can pass through every folder on the way.
    fn can_reach(&self, dir: &Path) -> Result<(), Error> {
        let Some(user) = &self.0 else { return Ok(()) };
        for folder in dir.ancestors() {
            let meta = fs::metadata(folder).map_err(Error::io(folder))?;
            let mode = meta.mode();
            let passes = (meta.uid() == user.uid.as_raw() && mode & 0o100 != 0)
                || (meta.gid() == user.gid.as_raw() && mode & 0o010 != 0)
                || mode & 0o001 != 0;
            if !passes {
                return Err(Error::NotReachable {
                    user: user.name.clone(),
                    path: folder.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Where the parts of a private database are.
#[derive(Debug)]
pub(super) struct Place {
    /// What contains them.
    pub(super) dir: PathBuf,
    /// PostgreSQL's own folder; made by `initdb`.
    pub(super) data: PathBuf,
    /// Where the socket is; nobody but its user may enter.
    pub(super) socket_dir: PathBuf,
    /// What the server says.
    pub(super) log: PathBuf,
}

impl Place {
    /// Makes the folders.
    pub(super) fn prepare(dir: &Path, run_as: &RunAs) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let dir = dir.canonicalize().map_err(Error::io(dir))?;
        if run_as.0.is_some() {
            // Others may pass through but not list; every file that holds a secret is 0600 itself.
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))
                .map_err(Error::io(&dir))?;
        }
        run_as.can_reach(&dir)?;
        let socket_dir = socket_dir(&dir, run_as)?;
        Ok(Self {
            data: dir.join("postgres"),
            log: dir.join("postgres.log"),
            socket_dir,
            dir,
        })
    }
}

/// Writes a file that this process's user alone may read. It is whole whenever it is there.
pub(super) fn publish(path: &Path, text: &str) -> Result<(), Error> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&fresh, path)
    };
    write().map_err(Error::io(path))
}

/// A folder for the socket: beside the data if its path is short enough, else one in `/tmp` that is named after it.
/// In `/tmp` somebody else may have made it first: then its owner differs and it is refused.
fn socket_dir(dir: &Path, run_as: &RunAs) -> Result<PathBuf, Error> {
    let beside = dir.join("run");
    let chosen = if beside.as_os_str().len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_MAX {
        beside
    } else {
        let mut hasher = DefaultHasher::new();
        dir.hash(&mut hasher);
        let folder = PathBuf::from(format!("/tmp/sortie-{:016x}", hasher.finish()));
        tracing::info!(socket.dir = %folder.display(), "the data folder's path is too long for a socket");
        folder
    };
    match fs::create_dir(&chosen) {
        Ok(()) => run_as.own(&chosen, 0o700)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(&chosen).map_err(Error::io(&chosen))?;
            if !meta.is_dir() || meta.uid() != run_as.uid() {
                let source = std::io::Error::other("it belongs to somebody else");
                return Err(Error::io(&chosen)(source));
            }
            run_as.own(&chosen, 0o700)?;
        }
        Err(error) => return Err(Error::io(&chosen)(error)),
    }
    Ok(chosen)
}
