//! Where the relay listens: a port of this machine's loopback, or a Unix socket.
//!
//! Invariants: never beyond this machine. A port that others share wants a password; a socket is its owner's alone.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use rand::Rng as _;
use rand::distr::Alphanumeric;
use sortie_proto::secret::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::serve::Door;
use crate::config;
use crate::error::{Error, Result};

/// The most connections at once; more wait in the system's queue.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// How long accepting pauses after an error, such as no free descriptor: enough for connections to end.
pub(super) const BACK_OFF: Duration = Duration::from_millis(50);
/// Of a password that is made here: 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An address of the loopback; port 0 is any.
    Port(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

impl Place {
    /// Any free port of the loopback.
    pub(crate) fn any_port() -> Self {
        Self::Port(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self::Socket(path)),
                false => Err("write unix:/PATH".to_owned()),
            };
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_odd| "write 127.0.0.1:PORT or unix:/PATH".to_owned())?;
        if address.ip().is_loopback() {
            return Ok(Self::Port(address));
        }
        Err("a relay serves this machine alone: listen on 127.0.0.1".to_owned())
    }
}

/// Listens.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A port of the loopback.
    Port(TcpListener),
    /// A Unix socket.
    Socket(UnixListener, SocketFile),
}

/// The file of a socket; it goes when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another one may stand there already, or the folder may be gone.
        drop(fs::remove_file(&self.0));
    }
}

impl Listener {
    /// Opens it.
    ///
    /// # Errors
    /// [`Error::System`], and [`Error::Failed`] if another relay listens at the socket.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        match place {
            Place::Port(address) => TcpListener::bind(address)
                .await
                .map(Self::Port)
                .map_err(|source| Error::system("listen on the relay's port", source)),
            Place::Socket(path) => socket(path),
        }
    }

    /// Where a client finds it.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Port(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(_gone) => String::new(),
            },
            Self::Socket(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Port(listener) => {
                let (stream, _) = listener.accept().await?;
                drop(stream.set_nodelay(true));
                Ok(Box::new(stream))
            }
            Self::Socket(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }

    /// Accepts until it is dropped.
    pub(super) async fn serve(self, door: Arc<Door>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed.
        while let Ok(permit) = room.clone().acquire_owned().await {
            let Ok(stream) = self.accept().await else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            let serving = door.clone().serve(stream);
            door.crew.start(async move {
                serving.await;
                drop(permit);
            });
        }
    }
}

/// What a connection of an agent can do.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A socket that only its owner may connect to, from its first moment on. It is made beside its place and put there
/// whole, over one that a killed relay left.
fn socket(path: &Path) -> Result<Listener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::failed(
            format!("another relay listens at {}", path.display()),
            "Stop it, or name another socket with --listen.",
        ));
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let make = || {
        // Nothing else runs between the two: the runtime has one thread.
        let ours = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&draft);
        let _same = umask(ours);
        fs::rename(&draft, path)?;
        listener
    };
    let listener = make().map_err(|source| Error::file("listen at", path, source))?;
    Ok(Listener::Socket(listener, SocketFile(path.to_owned())))
}

/// A new password.
pub(crate) fn password() -> Secret {
    let mut random = rand::rng();
    let letters = (0..PASSWORD_LENGTH).map(|_| random.sample(Alphanumeric));
    Secret::new(letters.collect())
}

/// A new password twice: for who asks for it, and for who shows it.
pub(super) fn passwords() -> (Secret, Secret) {
    let made = password();
    let same = Secret::new(made.expose().to_vec());
    (made, same)
}

/// The password in a file, which is made if it is not there.
///
/// # Errors
/// [`Error::File`], and [`Error::Config`] for a file that holds none.
pub(crate) fn password_in(path: &Path) -> Result<Secret> {
    if path.exists() {
        return config::read_key(path);
    }
    let made = password();
    config::write_private(path, made.expose())?;
    Ok(made)
}

/// `http://x:PASSWORD@ADDRESS`, for a person to read. Passwords that are made here have letters and digits only.
pub(super) fn url(address: &str, password: &Secret) -> String {
    let password = String::from_utf8_lossy(password.expose());
    format!("http://x:{password}@{address}")
}

#[cfg(test)]
mod tests;
