//! How the listener of the command's network comes to the relay outside: a process inside opens it and sends it over a
//! Unix socket. A socket stays in the network that it was made in, so that the relay serves a network in which nothing
//! else is.
//!
//! Invariants: the socket's file is gone before the command starts. The process that sends becomes the command, so that
//! its id, which the kernel vouches for, is the command's.

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixListener;

use crate::error::{Error, Result};

/// Where the command finds the relay, in a network of its own.
pub(super) const PORT: u16 = 7380;
/// How long the relay may take to be there once its listener is on the way.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// What is sent with the listener, since a message has at least a byte.
const HERE: &[u8] = b"l";
/// What is answered when the relay is there.
const GO: &[u8] = b"g";

/// The side outside.
#[derive(Debug)]
pub(super) struct Handover {
    listener: UnixListener,
    folder: TempDir,
}

/// What came from inside.
#[derive(Debug)]
pub(super) struct Met {
    command: Pid,
    stream: tokio::net::UnixStream,
}

impl Handover {
    /// Listens in a private folder.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(super) fn open() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sortie-in-").tempdir();
        let folder = folder.map_err(|source| Error::system("make a private folder", source))?;
        let listener = UnixListener::bind(folder.path().join("handover"))
            .map_err(|source| Error::system("listen in a private folder", source))?;
        Ok(Self { listener, folder })
    }

    /// The folder, which has to be there inside.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder().join("handover")
    }

    /// Waits for the listener, and for who sends it.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(super) async fn meet(self) -> Result<(Met, tokio::net::TcpListener)> {
        let failed =
            |source| Error::system("take over the listener of the command's network", source);
        let (stream, _) = self.listener.accept().await.map_err(failed)?;
        let id = stream.peer_cred().map_err(failed)?.pid();
        let id = id.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let listener = receive(&stream).await.map_err(failed)?;
        // Nobody else can come after this one, from inside least of all.
        self.folder.close().map_err(failed)?;
        let command = Pid::from_raw(id);
        Ok((Met { command, stream }, listener))
    }
}

impl Met {
    /// Lets the command start, and says which process it is.
    ///
    /// # Errors
    /// [`Error::System`] if there is nobody any more.
    pub(super) async fn go(mut self) -> Result<Pid> {
        let sent = self.stream.write_all(GO).await;
        sent.map(|()| self.command)
            .map_err(|source| Error::system("start the command", source))
    }
}

async fn receive(stream: &tokio::net::UnixStream) -> io::Result<tokio::net::TcpListener> {
    loop {
        stream.readable().await?;
        let read = stream.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0; HERE.len()];
            let mut parts = [IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let _one = recvmsg(stream.as_fd(), &mut parts, &mut control, flags)?;
            let mut found = control.drain().filter_map(|message| {
                if let RecvAncillaryMessage::ScmRights(mut rights) = message {
                    return rights.next();
                }
                None
            });
            found
                .next()
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(listener) => return listening(listener),
        }
    }
}

fn listening(listener: OwnedFd) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// The side inside: opens the listener, sends it, and waits until the relay is there.
///
/// # Errors
/// What the system reports, and an end of file if the relay could not be started.
pub(super) fn hand_over(socket: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(READY_DEADLINE))?;
    let rights = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let parts = [IoSlice::new(HERE)];
    let _one = sendmsg(stream.as_fd(), &parts, &mut control, SendFlags::empty())?;
    let mut answer = [0; GO.len()];
    stream.read_exact(&mut answer)
}
