//! What is near: addresses of this machine, ports that somebody listens on, Unix sockets of well-known servers.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;

use super::super::environment::Environment;

/// Ports that servers on a developer's machine listen on; tried where the system does not say which ones are in use.
const COMMON: [u16; 20] = [
    22, 25, 53, 80, 111, 443, 631, 2375, 2376, 3000, 3306, 5000, 5432, 6379, 7300, 8000, 8080,
    8443, 9200, 27017,
];

/// Servers whose sockets give whoever reaches them more than the gateway does.
const UNIX: [&str; 7] = [
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/snapd.socket",
];

/// The addresses of all interfaces, and those of the loopback in any case.
pub(super) fn own_addresses() -> BTreeSet<IpAddr> {
    let mut own = BTreeSet::from([
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ]);
    let Ok(interfaces) = getifaddrs() else {
        return own;
    };
    for interface in interfaces {
        let Some(address) = interface.address else {
            continue;
        };
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
        // A link-local address is of no use without its interface.
        let is_usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        own.extend(v4.or(v6).filter(is_usable));
    }
    own
}

/// The TCP ports that are listened on, as the system tells, and the common ones.
pub(super) fn listening_ports() -> BTreeSet<u16> {
    let mut ports = BTreeSet::from(COMMON);
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        ports.extend(text.lines().skip(1).filter_map(listening));
    }
    ports
}

/// The port of a line of `/proc/net/tcp` whose socket listens.
pub(super) fn listening(line: &str) -> Option<u16> {
    const LISTEN: &str = "0A";

    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    (state == LISTEN)
        .then(|| u16::from_str_radix(port, 16).ok())
        .flatten()
}

/// Those Unix sockets that take a connection.
pub(super) fn open_unix(environment: &Environment) -> Vec<String> {
    let mut paths: BTreeSet<PathBuf> = UNIX.iter().map(PathBuf::from).collect();
    paths.extend(environment.get("SSH_AUTH_SOCK").map(PathBuf::from));
    let bus = environment.get("DBUS_SESSION_BUS_ADDRESS");
    let bus = bus.and_then(|address| address.strip_prefix("unix:path="));
    paths.extend(
        bus.and_then(|path| path.split(',').next())
            .map(PathBuf::from),
    );
    let docker = environment.get("DOCKER_HOST");
    let docker = docker.and_then(|address| address.strip_prefix("unix://"));
    paths.extend(docker.map(PathBuf::from));
    paths
        .into_iter()
        .filter(|path| UnixStream::connect(path).is_ok())
        .map(|path| path.display().to_string())
        .collect()
}
