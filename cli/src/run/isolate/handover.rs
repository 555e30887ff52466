//! How the listeners of the command's network come to the relay outside: a process inside opens them and sends them over
//! a Unix socket. A socket stays in the network that it was made in, so that the relay serves a network in which nothing
//! else is.
//!
//! Invariants: the socket's file is gone before the command starts. The process that sends becomes the command, so that
//! its id, which the kernel vouches for, is the command's.

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
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
use crate::relay::Entrances;

/// Where the command finds the relay, in a network of its own.
pub(super) const PORT: u16 = 7380;
/// How long the relay may take to be there once its listener is on the way.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Where names are asked for.
const DNS: u16 = 53;
/// The most sockets that are sent at once.
const SOCKETS_MAX: usize = 2 + PORTS_MAX;
/// The most ports at which connections are taken that know no proxy.
pub(super) const PORTS_MAX: usize = 32;
/// What is sent with the listeners, since a message has at least a byte.
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
    command: Option<Pid>,
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
    pub(super) async fn meet(self) -> Result<(Met, Inner)> {
        let failed =
            |source| Error::system("take over the listeners of the command's network", source);
        let (stream, _) = self.listener.accept().await.map_err(failed)?;
        let command = process(stream.peer_cred().map_err(failed)?.pid());
        let inner = receive(&stream).await.map_err(failed)?;
        // Nobody else can come after this one, from inside least of all.
        self.folder.close().map_err(failed)?;
        Ok((Met { command, stream }, inner))
    }
}

impl Met {
    /// Lets the command start, and says which process it is, if it has an id here. The line to it stays open while the second value is held:
    /// a container ends with it.
    ///
    /// # Errors
    /// [`Error::System`] if there is nobody any more.
    pub(super) async fn go(mut self) -> Result<(Option<Pid>, tokio::net::UnixStream)> {
        let sent = self.stream.write_all(GO).await;
        sent.map(|()| (self.command, self.stream))
            .map_err(|source| Error::system("start the command", source))
    }
}

/// The process of an id that the kernel vouches for. A process that cannot be seen from here has the id 0 (unix(7)), which
/// to kill(2) is our own group.
fn process(id: Option<i32>) -> Option<Pid> {
    id.filter(|id| *id > 0).map(Pid::from_raw)
}

/// The listeners of the command's network.
#[derive(Debug)]
pub(super) struct Inner {
    /// The relay's own port.
    pub(super) proxy: tokio::net::TcpListener,
    /// Where clients come in that know no proxy, if they are to.
    pub(super) entrances: Entrances,
}

impl Inner {
    /// In the order of [`open`].
    fn new(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let mut sockets = sockets.into_iter();
        let proxy = sockets.next().ok_or(io::ErrorKind::InvalidData)?;
        let proxy = listening(proxy)?;
        let Some(dns) = sockets.next().map(UdpSocket::from) else {
            let entrances = Entrances::default();
            return Ok(Self { proxy, entrances });
        };
        dns.set_nonblocking(true)?;
        let dns = tokio::net::UdpSocket::from_std(dns)?;
        let turned = sockets.map(listening).collect::<io::Result<_>>()?;
        Ok(Self {
            proxy,
            entrances: Entrances::of_network(turned, dns),
        })
    }
}

async fn receive(stream: &tokio::net::UnixStream) -> io::Result<Inner> {
    loop {
        stream.readable().await?;
        let read = stream.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0; HERE.len()];
            let mut parts = [IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let _one = recvmsg(stream.as_fd(), &mut parts, &mut control, flags)?;
            let mut found = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    found.extend(rights);
                }
            }
            Ok(found)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(sockets) => return Inner::new(sockets),
        }
    }
}

fn listening(listener: OwnedFd) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// The side inside: opens the listeners, sends them, and waits until the relay is there. With ports, connections to them
/// are taken at any address, and names are answered. What it answers with is the line to the process outside, which
/// closes it at its end.
///
/// # Errors
/// What the system reports, and an end of file if the relay could not be started.
pub(super) fn hand_over(socket: &Path, ports: &[u16]) -> io::Result<UnixStream> {
    let sockets = open(ports)?;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(READY_DEADLINE))?;
    let rights: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let parts = [IoSlice::new(HERE)];
    let _one = sendmsg(stream.as_fd(), &parts, &mut control, SendFlags::empty())?;
    let mut answer = [0; GO.len()];
    stream.read_exact(&mut answer)?;
    Ok(stream)
}

/// The relay's own port; then, with ports, the one for names, and theirs.
fn open(ports: &[u16]) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = vec![TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?.into()];
    if !ports.is_empty() {
        sockets.push(at_any_address(DNS, UdpSocket::bind)?.into());
    }
    for port in ports.iter().take(PORTS_MAX) {
        sockets.push(at_any_address(*port, TcpListener::bind)?.into());
    }
    Ok(sockets)
}

/// Of both versions of IP, or of the one that there is.
fn at_any_address<T>(port: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    bind((Ipv6Addr::UNSPECIFIED, port).into())
        .or_else(|_none| bind((Ipv4Addr::UNSPECIFIED, port).into()))
}

#[cfg(test)]
mod tests;
