//! A network in which every address is the machine's own: whoever dials one arrives at who listens at its port here.
//!
//! Invariant: nothing leaves for it. It is for a network that holds a loopback and nothing else, where an address that
//! is not the loopback's would be unreachable.
//!
//! Source: `rtnetlink(7)`, `RTM_NEWROUTE`; the routes are those of `ip route add local default dev lo`.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// The loopback is the first interface of every network (`LOOPBACK_IFINDEX` of the kernel).
const LOOPBACK: u32 = 1;
/// The length of a message with its one attribute: header, route, attribute.
const LENGTH: u32 = 16 + 12 + 8;
/// Where the number of an error stands in an answer.
const ERROR_AT: std::ops::Range<usize> = 16..20;

/// Makes all addresses of IPv4, and of IPv6 where there is one, the machine's own.
///
/// Shape: needs `CAP_NET_ADMIN` in the network.
///
/// # Errors
/// What the system reports.
pub(super) fn own_every_address() -> io::Result<()> {
    add(libc::AF_INET, libc::RT_SCOPE_HOST)?;
    match add(libc::AF_INET6, libc::RT_SCOPE_UNIVERSE) {
        // Without IPv6 nobody dials it.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        done => done,
    }
}

fn add(family: i32, scope: u8) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let message = message(u8::try_from(family).unwrap_or_default(), scope);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // An acknowledgement is an error of number 0 (netlink(7), NLMSG_ERROR).
    let number = answer.get(..length).and_then(|answer| answer.get(ERROR_AT));
    let number = number.and_then(|bytes| bytes.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// "Add a route": to everything, by the loopback, in the table of what is the machine's own.
fn message(family: u8, scope: u8) -> Vec<u8> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend(u16::try_from(flags).unwrap_or_default().to_ne_bytes());
    // Sequence and sender: there is one message, and the kernel knows who sends it.
    message.extend([0; 8]);
    // Family, lengths of destination and source, service; table, protocol, scope, type; flags.
    message.extend([family, 0, 0, 0]);
    message.extend([
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_BOOT,
        scope,
        libc::RTN_LOCAL,
    ]);
    message.extend([0; 4]);
    message.extend(8_u16.to_ne_bytes());
    message.extend(libc::RTA_OIF.to_ne_bytes());
    message.extend(LOOPBACK.to_ne_bytes());
    message
}

#[cfg(test)]
mod tests;
