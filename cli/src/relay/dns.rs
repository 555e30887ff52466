//! A DNS that gives every name one address, for sandboxes that have none: a client comes to connect, is redirected, and
//! the relay reads the name from what it says.
//!
//! Invariants: nobody is asked, so that names carry nothing out. What is not a question with one name is not answered.
//! An answer is no longer than twice a question, and goes to who asked, from the address that was asked.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use rustix::net::sockopt::set_ipv6_freebind;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What every name has: an address for benchmarks (RFC 2544), which nobody has on the Internet.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// How long an answer may be kept, in seconds.
const TIME_TO_LIVE: u32 = 60;
/// The longest question without extensions (RFC 1035, 4.2.1), and what extensions may add.
const QUESTION_MAX: usize = 1024;
/// The header's length (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// The type of an IPv4 address, and the class of the Internet.
const A: [u8; 2] = [0, 1];
const INTERNET: [u8; 2] = [0, 1];

/// Answers until it is dropped.
pub(super) async fn serve(socket: UdpSocket) {
    // Of these each system and each version of IP has its own; what is not to be had is not needed there.
    let _v6 = setsockopt(&socket, Ipv6RecvPacketInfo, &true);
    let _v4 = setsockopt(&socket, Ipv4PacketInfo, &true);
    let _any_source = set_ipv6_freebind(&socket, true);
    let mut question = [0; QUESTION_MAX];
    loop {
        let receiving = socket.async_io(Interest::READABLE, || receive(&socket, &mut question));
        // An error is one of an earlier answer, which nobody took.
        let Ok(asked) = receiving.await else {
            continue;
        };
        if let Some(answer) = question.get(..asked.length).and_then(answer) {
            let sending = socket.async_io(Interest::WRITABLE, || send(&socket, &asked, &answer));
            drop(sending.await);
        }
    }
}

/// Who asked how much, and where.
struct Asked {
    length: usize,
    from: SockaddrStorage,
    at: Option<At>,
}

/// The address that was asked, from which a client awaits the answer: another one of the same machine may be ours by
/// default, as 127.0.0.1 is where 127.0.0.53 was asked.
enum At {
    V4(libc::in_pktinfo),
    /// Of IPv4, too, where a socket serves both.
    V6(libc::in6_pktinfo),
}

fn receive(socket: &UdpSocket, question: &mut [u8]) -> io::Result<Asked> {
    let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(question)];
    let flags = MsgFlags::empty();
    let got = recvmsg(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let from = got.address.ok_or(io::ErrorKind::InvalidData)?;
    let mut at = None;
    for message in got.cmsgs()? {
        // The interface is the system's to choose.
        if let ControlMessageOwned::Ipv6PacketInfo(mut info) = message {
            info.ipi6_ifindex = 0;
            at = Some(At::V6(info));
        } else if let ControlMessageOwned::Ipv4PacketInfo(mut info) = message
            && at.is_none()
        {
            info.ipi_ifindex = 0;
            info.ipi_spec_dst = info.ipi_addr;
            at = Some(At::V4(info));
        }
    }
    let length = got.bytes;
    Ok(Asked { length, from, at })
}

fn send(socket: &UdpSocket, asked: &Asked, answer: &[u8]) -> io::Result<()> {
    let control = asked.at.as_ref().map(|at| match at {
        At::V4(info) => ControlMessage::Ipv4PacketInfo(info),
        At::V6(info) => ControlMessage::Ipv6PacketInfo(info),
    });
    let (parts, flags) = ([IoSlice::new(answer)], MsgFlags::empty());
    let to = Some(&asked.from);
    sendmsg(socket.as_raw_fd(), &parts, control.as_slice(), flags, to)?;
    Ok(())
}

/// What is answered to a message; nothing to what is no question.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = message.split_at_checked(HEADER)?;
    let [id_high, id_low, flags, _, count_high, count_low, ..] = *header else {
        return None;
    };
    // A standard query (opcode 0) with one question.
    if flags & 0b1111_1000 != 0 || [count_high, count_low] != [0, 1] {
        return None;
    }
    let name = name_length(rest)?;
    let question = rest.get(..name + 4)?;
    let (kind, class) = question.get(name..)?.split_at_checked(2)?;
    if class != INTERNET {
        return None;
    }
    let found = kind == A;
    let mut answer = vec![id_high, id_low];
    // An authoritative answer; recursion as it was wished, and available.
    answer.extend([0b1000_0100 | (flags & 1), 0b1000_0000]);
    answer.extend([0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend(question);
    if found {
        // The name is that of the question, at byte 12.
        answer.extend([0xC0, 12]);
        answer.extend(A);
        answer.extend(INTERNET);
        answer.extend(TIME_TO_LIVE.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(ADDRESS.octets());
    }
    Some(answer)
}

/// How long a name is that stands at the start, with its end (RFC 1035, 3.1). It has no pointers: a question is the
/// first of its message.
fn name_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*bytes.get(at)?);
        at += label + 1;
        match label {
            0 => return Some(at),
            1..=63 if at < 255 => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
