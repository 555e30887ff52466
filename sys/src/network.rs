//! What a process asks of the network namespace that it is in.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

/// Switches the loopback interface on: in a new namespace it is off.
///
/// Shape: needs `CAP_NET_ADMIN` in the namespace.
///
/// # Errors
/// What the system reports.
///
/// Source: `netdevice(7)`, `SIOCSIFFLAGS`.
pub fn raise_loopback() -> io::Result<()> {
    // Any socket of the namespace will do; this one is bound to nothing that is looked at.
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: SIOCGIFFLAGS reads the name in the struct and writes its flags; the struct lives until it returns.
    let got = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    crate::check(got)?;
    // SAFETY: SIOCGIFFLAGS has just written this field of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    // IFF_UP is 1.
    request.ifr_ifru.ifru_flags = flags | 1;
    // SAFETY: SIOCSIFFLAGS reads the struct, which lives until it returns.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    crate::check(set)
}
