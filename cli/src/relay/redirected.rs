//! Redirected traffic: connections of clients that know no proxy, which the system turns to the relay. Each names its
//! host in its first bytes, and becomes a tunnel to the gateway.
//!
//! Invariants: what was not redirected is refused, so that the firewall's rules alone say who comes in without a
//! password. The name that a client asks for is the only one that a tunnel is asked for: where there is none, the
//! connection is closed; the address that the client dialled lets nothing through. What is closed is counted by its
//! reason, and said. The relay's own way to the gateway, redirected by mistake, is refused and makes no loop.
//! Deliberately not here: what may be reached, which is the gateway's to say, and the firewall's rules (docs/relay.md).

mod opening;
mod tally;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper_util::rt::TokioIo;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpTransparent;
use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::opening::Speech;
use self::tally::{Reason, Tally};
use super::gateway::{Opened, copy};
use super::listen::{BACK_OFF, CONNECTIONS_MAX};
use super::serve::Door;
use super::{answer, dns};
use crate::error::{Error, Result};
use crate::output::Output;

/// How long a client may take to say which host it wants. One that waits for the server to speak first never does.
const OPENING_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client may take to read why it was refused.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// What is for clients that know no proxy.
#[derive(Debug, Default, Args)]
pub(super) struct Asked {
    /// On Linux: take what the firewall redirects here, from clients that know no proxy; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT")]
    redirected: Vec<SocketAddr>,
    /// Answer DNS here: every name has one address, so that redirected clients come to connect where no DNS is
    #[arg(long, value_name = "ADDRESS:PORT", requires = "redirected")]
    dns: Option<SocketAddr>,
}

impl Asked {
    /// Opens all of it.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(super) async fn open(&self) -> Result<Entrances> {
        let mut entrances = Entrances::default();
        for address in &self.redirected {
            let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
            // For TPROXY, which needs a right that few relays have; REDIRECT works without.
            let _as_it_is = setsockopt(&listener, IpTransparent, &true);
            entrances.doors.push(Entrance {
                listener,
                turned: Turned::Firewall(*address),
            });
        }
        if let Some(address) = self.dns {
            entrances.dns = Some(UdpSocket::bind(address).await.map_err(cannot_listen)?);
        }
        Ok(entrances)
    }
}

fn cannot_listen(source: std::io::Error) -> Error {
    Error::system("listen for redirected traffic", source)
}

/// Where redirected traffic comes in. There may be none.
#[derive(Debug, Default)]
pub(crate) struct Entrances {
    doors: Vec<Entrance>,
    dns: Option<UdpSocket>,
}

#[derive(Debug)]
struct Entrance {
    listener: TcpListener,
    turned: Turned,
}

/// Who turns connections to an entrance.
#[derive(Debug, Clone, Copy)]
enum Turned {
    /// Rules of the firewall; the address is the entrance's own.
    Firewall(SocketAddr),
    /// A network in which every address is the machine's own: who dials one arrives there.
    Network,
}

impl Entrances {
    /// In a network in which every address is the machine's own.
    pub(crate) fn of_network(listeners: Vec<TcpListener>, dns: UdpSocket) -> Self {
        let doors = listeners.into_iter().map(|listener| Entrance {
            listener,
            turned: Turned::Network,
        });
        Self {
            doors: doors.collect(),
            dns: Some(dns),
        }
    }

    /// Starts to serve them.
    pub(super) fn start(self, door: &Arc<Door>, out: Output) {
        let crew = &door.crew;
        let tally = Arc::new(Tally::new(out));
        for entrance in self.doors {
            crew.start(entrance.serve(door.clone(), tally.clone()));
        }
        if let Some(socket) = self.dns {
            crew.start(dns::serve(socket));
        }
    }
}

impl Entrance {
    /// Accepts until it is dropped.
    async fn serve(self, door: Arc<Door>, tally: Arc<Tally>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed.
        while let Ok(permit) = room.clone().acquire_owned().await {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            drop(stream.set_nodelay(true));
            let (own, tally, turned) = (door.clone(), tally.clone(), self.turned);
            door.crew.start(async move {
                let (meant, is_direct) = turned.destination(&stream);
                let carried = match is_direct {
                    true => Err(Reason::Direct),
                    false => Box::pin(carry(&own, stream, meant)).await,
                };
                if let Err(reason) = carried {
                    tally.count(reason, meant);
                }
                drop(permit);
            });
        }
    }
}

impl Turned {
    /// Which address the client dialled, and whether that is the relay itself.
    ///
    /// After REDIRECT the connection tracker knows (`SO_ORIGINAL_DST`); after TPROXY, and in a network of its own, the
    /// accepted socket has that address.
    fn destination(self, stream: &TcpStream) -> (Option<SocketAddr>, bool) {
        let Ok(local) = stream.local_addr() else {
            return (None, true);
        };
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let before = match local {
            SocketAddr::V4(_) => ip_original_dst(stream).map(SocketAddr::V4),
            SocketAddr::V6(_) => ipv6_original_dst(stream).map(SocketAddr::V6),
        };
        let meant = before.map_or(local, |found| SocketAddr::new(found.ip(), found.port()));
        let is_direct = match self {
            Self::Firewall(own) => meant == local && meant.port() == own.port(),
            Self::Network => meant.ip().is_loopback(),
        };
        (Some(meant), is_direct)
    }
}

/// Carries one connection to its end.
async fn carry(
    door: &Door,
    mut stream: TcpStream,
    meant: Option<SocketAddr>,
) -> std::result::Result<(), Reason> {
    let meant = meant.ok_or(Reason::Direct)?;
    if door.gateway.is_at(meant) {
        return Err(Reason::Loop);
    }
    let read = timeout(OPENING_DEADLINE, Box::pin(opening::read(&mut stream))).await;
    let opening = match read.unwrap_or(Err((Reason::Silent, None))) {
        Ok(opening) => opening,
        Err((reason, speech)) => {
            refuse(&mut stream, speech, reason).await;
            return Err(reason);
        }
    };
    let authority = format!("{}:{}", opening.name, meant.port());
    let refused = match door.tunnel(&authority).await {
        Ok(opened) if opened.response.status().is_success() => {
            return tunnel(stream, opened, &opening.bytes).await;
        }
        Ok(opened) => answer::code(&opened.response),
        Err(answer) => answer::code(&answer),
    };
    let reason = Reason::Refused(refused);
    refuse(&mut stream, Some(opening.speech), reason).await;
    Err(reason)
}

/// Sends what was read, and then whatever comes.
async fn tunnel(
    near: TcpStream,
    mut opened: Opened,
    read: &[u8],
) -> std::result::Result<(), Reason> {
    let Ok(far) = hyper::upgrade::on(&mut opened.response).await else {
        return Err(Reason::Refused(answer::UNREACHABLE));
    };
    let mut far = TokioIo::new(far);
    // Either side may end a tunnel as it likes.
    if far.write_all(read).await.is_ok() {
        drop(copy(near, far).await);
    }
    drop(opened.place);
    Ok(())
}

/// Says no, in the client's own words, and closes.
async fn refuse(stream: &mut TcpStream, speech: Option<Speech>, reason: Reason) {
    let words = opening::refusal(speech, reason);
    let say = async {
        drop(stream.write_all(&words).await);
        drop(stream.shutdown().await);
    };
    drop(timeout(REFUSAL_DEADLINE, say).await);
}

#[cfg(test)]
mod tests;
