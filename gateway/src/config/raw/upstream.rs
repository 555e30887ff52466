//! `[upstream]`: how upstreams are found, trusted and spoken to.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sortie_proto::host::Host;

use super::between;
use crate::config::Upstream;
use crate::exchange::peer::{self, Place};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpstream {
    /// PEM files of roots to trust beside the system's.
    extra_roots: Vec<PathBuf>,
    /// Like /etc/hosts, with a port where another one than the request's is dialled. Classification still applies.
    hosts: BTreeMap<String, Vec<String>>,
    /// Ranges that are never dialled, public ones too; no tenant can open them.
    deny: Vec<String>,
    /// The most idle connections that each proxy instance keeps. The least used are closed first.
    idle_max: usize,
    /// How long an unused connection is kept, in seconds.
    idle_seconds: u64,
    /// How long one try of one name server may take, in milliseconds; there are two.
    dns_timeout_ms: u64,
    /// The most names whose addresses are remembered; the least used are dropped.
    dns_cache_max: u64,
    /// How long TCP may take to connect, in milliseconds; then `upstream_connect`.
    connect_timeout_ms: u64,
    /// How long TCP and TLS together may take, in milliseconds; then `upstream_timeout`.
    handshake_timeout_ms: u64,
    /// How long an upstream may be silent, in milliseconds; then `upstream_timeout`. A model that thinks before its
    /// first byte needs minutes.
    read_timeout_ms: u64,
    /// How long an upstream may not read, in milliseconds; then `upstream_timeout`.
    write_timeout_ms: u64,
    /// The most bytes of an answer over HTTP/2 that wait here for an agent that does not read: 65,535 to 16 MiB.
    h2_window_bytes: u32,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self {
            extra_roots: Vec::new(),
            hosts: BTreeMap::new(),
            deny: Vec::new(),
            idle_max: 256,
            idle_seconds: 60,
            dns_timeout_ms: 2_000,
            dns_cache_max: 8_192,
            connect_timeout_ms: 3_000,
            handshake_timeout_ms: 10_000,
            read_timeout_ms: 600_000,
            write_timeout_ms: 60_000,
            h2_window_bytes: 65_535,
        }
    }
}

impl RawUpstream {
    /// `own` are this node's ports, which are never dialled.
    pub(super) fn check(self, own: Vec<SocketAddr>, problems: &mut Vec<String>) -> Upstream {
        for (name, value) in [
            ("idle_seconds", self.idle_seconds.saturating_mul(1000)),
            ("dns_timeout_ms", self.dns_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("handshake_timeout_ms", self.handshake_timeout_ms),
            ("read_timeout_ms", self.read_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
        ] {
            between(
                &format!("upstream.{name}"),
                value,
                100..=86_400_000,
                problems,
            );
        }
        between(
            "upstream.h2_window_bytes",
            self.h2_window_bytes.into(),
            65_535..=16 * 1024 * 1024,
            problems,
        );
        for path in &self.extra_roots {
            if let Err(error) = std::fs::metadata(path) {
                problems.push(format!("upstream.extra_roots {}: {error}", path.display()));
            }
        }
        Upstream {
            extra_roots: self.extra_roots,
            idle_max: self.idle_max,
            peers: peer::Config {
                hosts: hosts(self.hosts, problems),
                own,
                deny: deny(&self.deny, problems),
                dns_timeout: Duration::from_millis(self.dns_timeout_ms),
                dns_cache_max: self.dns_cache_max,
                connect_timeout: Duration::from_millis(self.connect_timeout_ms),
                handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
                read_timeout: Duration::from_millis(self.read_timeout_ms),
                write_timeout: Duration::from_millis(self.write_timeout_ms),
                idle_timeout: Duration::from_secs(self.idle_seconds),
                h2_window: self.h2_window_bytes,
            },
        }
    }
}

fn deny(ranges: &[String], problems: &mut Vec<String>) -> Vec<IpNet> {
    let read = |text: &String| {
        let range = text
            .parse::<IpNet>()
            .or_else(|error| text.parse::<IpAddr>().map(IpNet::from).or(Err(error)))
            .map_err(|error| error.to_string())?;
        // Addresses are compared as IPv4 where they are that: such a range would cover nothing.
        if range.addr().to_canonical() != range.addr() {
            return Err("write an IPv4 range as one".to_owned());
        }
        Ok(range)
    };
    ranges
        .iter()
        .filter_map(|text| {
            read(text)
                .map_err(|error| problems.push(format!("upstream.deny \"{text}\": {error}")))
                .ok()
        })
        .collect()
}

fn hosts(
    named: BTreeMap<String, Vec<String>>,
    problems: &mut Vec<String>,
) -> HashMap<Host, Vec<Place>> {
    let mut hosts = HashMap::new();
    for (name, places) in named {
        let read: Vec<_> = places
            .iter()
            .map(|text| (text, Place::parse(text)))
            .collect();
        for (text, _) in read.iter().filter(|(_, place)| place.is_none()) {
            problems.push(format!(
                "upstream.hosts.\"{name}\": \"{text}\" is no address, nor one with a port behind it"
            ));
        }
        match Host::parse(&name) {
            Ok(host) if !places.is_empty() => {
                let places = read.into_iter().filter_map(|(_, place)| place).collect();
                drop(hosts.insert(host, places));
            }
            Ok(_) => problems.push(format!("upstream.hosts.\"{name}\" has no address")),
            Err(error) => problems.push(format!("upstream.hosts.\"{name}\" is {error}")),
        }
    }
    hosts
}
