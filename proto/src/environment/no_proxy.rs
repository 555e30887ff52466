//! Hosts that go past the gateway. No brokered host is among them: it would be reached without its credential.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::host::{Host, HostPattern};

/// Hosts that are the agent's own machine: traffic to them has no credential to get and nowhere to be brokered to.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The value of `NO_PROXY`: what somebody left out of proxying, and the agent's own machine, without what is brokered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoProxy {
    hosts: Vec<String>,
    dropped: Vec<String>,
}

impl NoProxy {
    /// Merges values of `NO_PROXY`, and leaves out every entry that covers a brokered host in some program's reading:
    /// programs differ about leading dots, ports and `*`. `*` alone covers everything.
    #[must_use]
    pub fn merge<'a>(theirs: impl IntoIterator<Item = &'a str>, brokered: &[HostPattern]) -> Self {
        let mut merged = Self {
            hosts: Vec::new(),
            dropped: Vec::new(),
        };
        let entries = theirs
            .into_iter()
            .flat_map(|value| value.split([',', ' ']))
            .map(str::trim);
        for entry in entries.chain(LOCAL).filter(|entry| !entry.is_empty()) {
            let covers = entry == "*" || brokered.iter().any(|pattern| covers(entry, pattern));
            let list = if covers {
                &mut merged.dropped
            } else {
                &mut merged.hosts
            };
            if !list.iter().any(|other| other == entry) {
                list.push(entry.to_owned());
            }
        }
        merged
    }

    /// The entries that were left out because they cover a brokered host.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The entries as a JVM writes them: `*` at the start or the end of a host, no ports, no networks.
    pub(super) fn java_patterns(&self) -> Vec<String> {
        self.hosts.iter().flat_map(|text| java(text)).collect()
    }
}

fn java(text: &str) -> Vec<String> {
    match Entry::read(text) {
        Entry::Address(IpAddr::V6(address)) => vec![format!("[{address}]")],
        Entry::Address(address) if address.is_loopback() => vec!["127.*".to_owned()],
        Entry::Address(address) => vec![address.to_string()],
        Entry::Name(name) if name == "localhost" => vec![name],
        // `|` would start another pattern.
        Entry::Name(name) if name.contains('|') => Vec::new(),
        Entry::Name(name) => vec![format!("*.{name}"), name],
        Entry::Network(_) => Vec::new(),
    }
}

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hosts.join(","))
    }
}

/// An entry, in its widest reading.
enum Entry {
    /// A name with all names below it.
    Name(String),
    Address(IpAddr),
    Network(IpNet),
}

impl Entry {
    fn read(text: &str) -> Self {
        if let Ok(network) = text.parse() {
            return Self::Network(network);
        }
        let host = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                if port.bytes().all(|byte| byte.is_ascii_digit()) {
                    host
                } else {
                    text
                }
            }
            _ => text,
        };
        if let Ok(Host::Address(address)) = Host::parse(host) {
            return Self::Address(address);
        }
        let name = host.trim_start_matches(['*', '.']).trim_end_matches('.');
        Self::Name(name.to_ascii_lowercase())
    }
}

fn covers(entry: &str, pattern: &HostPattern) -> bool {
    match (Entry::read(entry), pattern) {
        (Entry::Name(name), HostPattern::Exact(Host::Name(host))) => is_at_or_below(host, &name),
        // Some name under the wildcard is the entry, or every one is below it.
        (Entry::Name(name), HostPattern::Wildcard(base)) => {
            is_at_or_below(base, &name) || is_at_or_below(&name, base)
        }
        (Entry::Address(address), HostPattern::Exact(Host::Address(host))) => address == *host,
        (Entry::Network(network), HostPattern::Exact(Host::Address(host))) => {
            network.contains(host)
        }
        _ => false,
    }
}

/// Whether it is this domain or a name in it. An empty domain holds every name.
fn is_at_or_below(name: &str, domain: &str) -> bool {
    domain.is_empty()
        || name
            .strip_suffix(domain)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
}
