//! What is closed from where this runs: everything should be but the way to the gateway.
//!
//! Each way is really tried, for a few seconds at most. A way that is open is a fault. Nothing secret is sent: a query
//! for the address of a public name at most.

mod sockets;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::net::{TcpStream, UdpSocket};

use super::environment::{Environment, Named};
use super::finding::Finding;
use crate::tasks;

/// How long one way is tried.
const TIME: Duration = Duration::from_secs(3);
/// How many ways are tried at once.
const AT_ONCE: usize = 32;

/// A name that everybody can resolve.
const PUBLIC_NAME: &str = "example.com";

const CLOUDFLARE: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
const GOOGLE: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
const CLOUDFLARE_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111));
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
const METADATA_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254));
/// One of github.com's.
const GITHUB: IpAddr = IpAddr::V4(Ipv4Addr::new(140, 82, 121, 4));

/// What closes all ways but one.
const ISOLATE: &str = "sortie run --isolate -- CMD";

/// Tries everything. `also` names more addresses that must be closed, e.g. those of the machine around a sandbox.
pub(super) async fn check(
    environment: &Environment,
    proxy: Option<&Named>,
    also: &[SocketAddr],
) -> Vec<Finding> {
    let way = way(proxy).await;
    let public = [
        ("direct TCP", CLOUDFLARE, 443),
        ("direct TCP over IPv6", CLOUDFLARE_6, 443),
        ("metadata service", METADATA, 80),
        ("metadata service over IPv6", METADATA_6, 80),
        ("SSH", GITHUB, 22),
    ];
    let mut found = Vec::new();
    for (check, address, port) in public {
        found.push(told(
            check,
            open(&[SocketAddr::new(address, port)], &way).await,
        ));
    }
    found.push(told("DNS over UDP", names_over_udp().await));
    found.push(resolver().await);
    let own = sockets::own_addresses();
    let ports = sockets::listening_ports();
    let (loopback, outward): (Vec<IpAddr>, Vec<IpAddr>) =
        own.into_iter().partition(IpAddr::is_loopback);
    let every = |addresses: &[IpAddr]| -> Vec<SocketAddr> {
        let pairs = addresses
            .iter()
            .flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port)));
        pairs.collect()
    };
    found.push(told("loopback ports", open(&every(&loopback), &way).await));
    found.push(told(
        "this machine's addresses",
        open(&every(&outward), &way).await,
    ));
    if !also.is_empty() {
        found.push(told("other addresses", open(also, &way).await));
    }
    found.push(told("Unix sockets", sockets::open_unix(environment)));
    found
}

/// The addresses of the gateway: the one way that should be open.
async fn way(proxy: Option<&Named>) -> Vec<SocketAddr> {
    use sortie_proto::host::Host;

    let Some(named) = proxy else {
        return Vec::new();
    };
    let port = named.proxy.port();
    match named.proxy.host() {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => {
            let found = lookup(name.to_string(), port).await;
            found.unwrap_or_default()
        }
    }
}

fn told(check: &str, open: Vec<String>) -> Finding {
    const SHOWN: usize = 8;

    if open.is_empty() {
        return Finding::ok(check, "closed");
    }
    let more = match open.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown: Vec<_> = open.into_iter().take(SHOWN).collect();
    Finding::fault(
        check,
        format!("open: {}{more}", shown.join(", ")),
        format!("{ISOLATE}   # or close it outside the sandbox"),
    )
}

/// Those of the addresses that take a connection and are not the gateway.
async fn open(addresses: &[SocketAddr], way: &[SocketAddr]) -> Vec<String> {
    let tried = addresses
        .iter()
        .filter(|address| !way.contains(address))
        .map(|address| async move {
            let connected = tokio::time::timeout(TIME, TcpStream::connect(address)).await;
            matches!(connected, Ok(Ok(_))).then(|| address.to_string())
        });
    stream::iter(tried)
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn names_over_udp() -> Vec<String> {
    let mut open = Vec::new();
    for server in [CLOUDFLARE, GOOGLE] {
        let server = SocketAddr::new(server, 53);
        if let Ok(Ok(())) = tokio::time::timeout(TIME, ask_over_udp(server)).await {
            open.push(server.to_string());
        }
    }
    open
}

/// Asks for the address of a public name, and waits for any answer.
async fn ask_over_udp(server: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query(PUBLIC_NAME)).await?;
    let mut answer = [0; 512];
    socket.recv(&mut answer).await.map(|_| ())
}

/// A query for the IPv4 address of a name (RFC 1035, 4.1), recursion desired.
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0x5a, 0x5a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

async fn resolver() -> Finding {
    match lookup(PUBLIC_NAME.to_owned(), 443).await {
        Some(found) if !found.is_empty() => {
            let open = vec![format!(
                "{PUBLIC_NAME} is {}",
                found
                    .iter()
                    .map(|at| at.ip().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            )];
            told("resolver", open)
        }
        _ => told("resolver", Vec::new()),
    }
}

/// Asks the system's resolver. It cannot be interrupted, so it has a thread that nobody waits for after a while.
async fn lookup(name: String, port: u16) -> Option<Vec<SocketAddr>> {
    let asked = tasks::detached(move || {
        std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port))
            .map(Iterator::collect)
            .unwrap_or_default()
    });
    tokio::time::timeout(TIME, asked).await.ok()?.ok()
}

#[cfg(test)]
mod tests;
