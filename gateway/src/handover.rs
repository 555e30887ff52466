//! How a process takes the listening sockets of the one that serves, so that an upgrade refuses no connection.
//!
//! ```text
//! <data_dir>/upgrade.sock        for the owner only, in the folder of the node's key
//!
//! the new process                the one that serves
//! asks                     →     checks the asking process's user
//!                          ←     copies of the listening sockets
//! joins, is leased, accepts
//! "taken"                  →     accepts no more, drains and exits
//! ```
//!
//! **Invariants.** Until `taken` the old process serves as ever, and what becomes of the new one does not matter to it.
//! From the first answer on a listening socket is open in at least one of the two, so that the kernel refuses nobody.
//! Both are one node: they share its identity, and each has a journal and a stream from control of its own.
//!
//! It hands over no connection and no state: what is open ends where it is.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::signal::unix::{SignalKind, signal};

use crate::server::Error;

/// The socket's name in the data folder.
const SOCKET: &str = "upgrade.sock";
/// What the sockets travel with: the version of this exchange.
const OFFERED: &[u8] = b"1";
/// The most sockets; the configuration allows fewer.
const SOCKETS_MAX: usize = 64;
/// What the new process says once it accepts.
const TAKEN: &[u8] = b"taken";
/// How long the new process waits for the sockets.
const ASK: Duration = Duration::from_secs(10);
/// How long the new process may take until it accepts: longer than it gives itself.
const TAKE: Duration = Duration::from_secs(120);
/// How long asking pauses after an error, such as no free descriptor.
const BACK_OFF: Duration = Duration::from_secs(1);

/// What a gateway listens on.
#[derive(Debug)]
pub struct Sockets {
    /// The proxy's ports.
    pub proxy: Vec<TcpListener>,
    /// The port of `/livez` and its siblings.
    pub admin: TcpListener,
}

impl Sockets {
    /// Takes what was received where its address is asked for, and opens what is missing. What nobody asks for is
    /// closed.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub fn open(
        proxy: &[SocketAddr],
        admin: SocketAddr,
        received: Vec<OwnedFd>,
    ) -> Result<Self, Error> {
        let mut received: Vec<_> = received.into_iter().map(TcpListener::from).collect();
        let mut open = |address: SocketAddr| {
            let failed = |error| Error::Listen(address, error);
            let is_it = |one: &TcpListener| one.local_addr().is_ok_and(|found| found == address);
            let listener = match received.iter().position(is_it) {
                Some(at) => received.swap_remove(at),
                None => TcpListener::bind(address).map_err(failed)?,
            };
            listener.set_nonblocking(true).map_err(failed)?;
            Ok::<_, Error>(listener)
        };
        Ok(Self {
            admin: open(admin)?,
            proxy: proxy.iter().copied().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// Copies, to offer them to another process.
    ///
    /// # Errors
    /// What the system reports, such as no free descriptor.
    pub fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let all = self.proxy.iter().chain([&self.admin]);
        all.map(|listener| listener.as_fd().try_clone_to_owned())
            .collect()
    }
}

fn send(stream: impl AsFd, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let text = IoSlice::new(OFFERED);
    let _one_byte = sendmsg(stream, &[text], &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive(stream: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    // Elsewhere it is set a moment later: this process starts no other before it serves.
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; OFFERED.len()];
    let parts = &mut [IoSliceMut::new(&mut text)];
    let received = recvmsg(stream, parts, &mut control, flags)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            sockets.extend(some);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || text != *OFFERED {
        return Err(io::ErrorKind::InvalidData.into());
    }
    #[cfg(not(target_os = "linux"))]
    for socket in &sockets {
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(sockets)
}

// === the new process ===

/// The process that serves, for the one that will.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks the process that serves from a data folder for its sockets.
    ///
    /// # Errors
    /// When there is none, or it does not answer as this version does.
    pub fn ask(folder: &Path) -> io::Result<(Self, Vec<OwnedFd>)> {
        let stream = UnixStream::connect(folder.join(SOCKET))?;
        stream.set_read_timeout(Some(ASK))?;
        let sockets = receive(&stream)?;
        Ok((Self(stream), sockets))
    }

    /// Tells it that this process accepts: from here on it drains.
    ///
    /// # Errors
    /// When it has gone. Then this process has the sockets for itself.
    pub fn took(mut self) -> io::Result<()> {
        self.0.write_all(TAKEN)
    }
}

// === the process that serves ===

/// What lets another process take over. Dropped, it lets nobody, and the sockets' copies are closed.
#[derive(Debug)]
pub struct Offer {
    listener: tokio::net::UnixListener,
    copies: Vec<OwnedFd>,
    path: PathBuf,
    /// Which file it made: by the time it goes, another's may stand at the path.
    inode: u64,
}

impl Offer {
    /// Opens the socket in the data folder, in place of one that is there.
    ///
    /// # Errors
    /// What the system reports, such as a path that is too long for a socket.
    pub fn open(folder: &Path, copies: Vec<OwnedFd>) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        let new = folder.join(format!("{SOCKET}.{}", std::process::id()));
        let listener = tokio::net::UnixListener::bind(&new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
        let inode = std::fs::metadata(&new)?.ino();
        std::fs::rename(&new, &path)?;
        Ok(Self {
            listener,
            copies,
            path,
            inode,
        })
    }

    /// Waits until another process has taken over.
    pub async fn taken(&self) {
        loop {
            let asked = match self.listener.accept().await {
                Ok((stream, _)) => tokio::time::timeout(TAKE, self.hand_over(stream)).await,
                Err(error) => {
                    tracing::warn!(%error, "a process that asks for the sockets was not heard");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            };
            match asked {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(%error, "a process did not take over: this one goes on");
                }
                Err(_late) => {
                    tracing::error!("a process did not take over in time: this one goes on");
                }
            }
        }
    }

    async fn hand_over(&self, mut stream: tokio::net::UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?;
        if peer.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        tracing::info!(process.id = peer.pid(), "another process asks to take over");
        let copies: Vec<_> = self.copies.iter().map(OwnedFd::as_fd).collect();
        let sending = stream.async_io(Interest::WRITABLE, || send(&stream, &copies));
        sending.await?;
        let mut said = [0; TAKEN.len()];
        let _all = stream.read_exact(&mut said).await?;
        if said != *TAKEN {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // One that stays answers nobody, and the next process replaces it.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// How this process was started, to start the next one likewise.
#[derive(Debug, Clone)]
pub struct Started {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Started {
    /// Looks it up. Called at the start: later another program may stand at the path, and that is the one to start.
    ///
    /// # Errors
    /// What the system reports.
    pub fn now() -> io::Result<Self> {
        let upgrade = OsString::from("--upgrade");
        let given = std::env::args_os().skip(1);
        let mut arguments: Vec<_> = given.filter(|one| *one != upgrade).collect();
        arguments.push(upgrade);
        Ok(Self {
            program: std::env::current_exe()?,
            arguments,
        })
    }

    /// Starts a process that takes over at each SIGUSR2, one at a time. Runs until it is dropped.
    pub async fn again_on_signal(self) {
        let mut asked = match signal(SignalKind::user_defined2()) {
            Ok(asked) => asked,
            Err(error) => return tracing::error!(%error, "SIGUSR2 is not heard"),
        };
        while asked.recv().await.is_some() {
            tracing::info!(program = %self.program.display(), "SIGUSR2: a process is started that takes over");
            let mut command = tokio::process::Command::new(&self.program);
            match command.args(&self.arguments).spawn() {
                // One that takes over outlives this process, and is not seen to end.
                Ok(mut child) => match child.wait().await {
                    Ok(status) => {
                        tracing::error!(%status, "the process that was to take over has ended");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the process that was to take over is lost");
                    }
                },
                Err(error) => {
                    tracing::error!(%error, "the process that was to take over cannot be started");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
