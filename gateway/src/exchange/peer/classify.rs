//! Which addresses are not the public internet: the IANA special-purpose registries (RFC 6890), and what clouds serve
//! their metadata at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is anything but a public unicast one.
///
/// An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4, Teredo) is special whatever it carries: nothing
/// that is public is only reachable through one.
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, and multicast.
fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    match (a, b, c) {
        // This network; private; loopback; link-local, with most metadata services; private.
        (0 | 10 | 127, _, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Shared (CGNAT), with a metadata service at 100.100.100.200; benchmarking.
        (100, 64..=127, _) | (198, 18..=19, _) => true,
        // Protocol assignments, with a metadata service at 192.0.0.192; documentation; 6to4 relays; AS112; AMT.
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => true,
        (192, 88, 99) | (192, 31, 196) | (192, 52, 193) | (192, 175, 48) => true,
        // A public address, but the platform's own service on every virtual machine of Azure.
        (168, 63, 129) => d == 16,
        // Multicast, reserved, broadcast.
        (224.., _, _) => true,
        _ => false,
    }
}

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>. Public unicast is `2000::/3` and nothing else, less
/// what is carved out of it.
fn is_special_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments: Teredo, benchmarking, ORCHID, and more; documentation; 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] => true,
        // AS112; documentation.
        [0x2620, 0x4f, 0x8000, ..] | [0x3fff, 0..=0xfff, ..] => true,
        // All else outside 2000::/3: unspecified, loopback, compatible, mapped, NAT64, discard, SRv6 (5f00::/16),
        // unique local with fd00:ec2::254, link-local, site-local, multicast, and what nobody was given.
        [first, ..] => !(0x2000..=0x3fff).contains(&first),
    }
}
