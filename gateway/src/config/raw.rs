//! The file's shape, with its defaults, and the way from it to a [`Config`].

mod overlay;
mod redis;
mod tls;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sortie_proto::secret::Secret;
use toml::{Table, Value};

use self::overlay::overlay;
use self::redis::RawRedis;
use self::tls::RawTls;
use self::upstream::RawUpstream;
use super::limits::Limits;
use super::{Config, Log, PREFIX};
use crate::client;
use crate::exchange::credential;
use crate::journal;
use crate::snapshot::follow;
use crate::snapshot::identity::host;
use crate::supervisor::Supervisor;

/// The file's top level. Each section is read apart, so that one that is wrong does not hide another.
#[derive(Debug)]
pub(super) struct Raw {
    node: Node,
    proxy: Proxy,
    admin: Admin,
    upstream: RawUpstream,
    feed: Feed,
    journal: Journal,
    limits: Limits,
    redis: RawRedis,
    log: RawLog,
}

/// What stands outside sections.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Node {
    /// Folder for the node's key, certificate and journal.
    data_dir: PathBuf,
    /// The join string; usually given by the environment.
    join: Option<String>,
    /// A file with the join string.
    join_file: Option<PathBuf>,
    /// What operators call this node; the host's name by default.
    name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Proxy {
    /// Addresses, 1 to 32.
    listen: Vec<SocketAddr>,
    /// Whether requests in the base-URL form are taken in the clear from other machines: their token travels with them.
    cleartext_base_url: bool,
    /// Worker threads, 1 to 1,024; as many as the machine has by default.
    workers: usize,
    /// Seconds for requests under way when the process stops; then they are cut.
    drain_seconds: u64,
    /// The port's own certificate.
    tls: RawTls,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Admin {
    /// The address.
    listen: SocketAddr,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Feed {
    /// Control's replicas, `host:port` each, at most 16; empty is the address in the join string. A node follows one of
    /// them, and turns to the next when it does not answer.
    control: Vec<String>,
    /// How long a request waits for a vault that is not in memory, in milliseconds; then `vault_unavailable`.
    request_timeout_ms: u64,
    /// Requests that wait to be handed to the stream; beyond it `overloaded`.
    requests_max: usize,
    /// Messages that wait to be sent to control; beyond it the stream waits, and after ten seconds starts again.
    outgoing_max: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Journal {
    /// The folder; `journal` in the data folder by default.
    path: Option<PathBuf>,
    /// The size of a segment, 1 MiB to 1 GiB.
    segment_bytes: u64,
    /// The most bytes of all segments; past nine tenths of it requests are refused with `journal_full`: the last tenth
    /// is for the ends of those under way.
    bytes_max: u64,
    /// How often segments are synced, in milliseconds: what power loss may take.
    sync_interval_ms: u64,
    /// The most completions that wait; beyond it they are appended at once.
    completions_max: usize,
    /// Whether tunnels that are passed on untouched (`intercept: never`) go on while nothing can be recorded. No credential
    /// of ours leaves in them. A durable vault's never do.
    tunnels_unrecorded: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    /// `text` or `json`.
    format: Format,
    /// A level, or a filter such as `info,sortie_gateway=debug`. Pingora's own lines stay at WARN whatever stands here.
    level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Text,
    Json,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./sortie-data/gateway"),
            join: None,
            join_file: None,
            name: None,
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 7380))],
            cleartext_base_url: false,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            drain_seconds: 30,
            tls: RawTls::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7381)),
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            control: Vec::new(),
            request_timeout_ms: 5_000,
            requests_max: 1_024,
            outgoing_max: 1_024,
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            path: None,
            segment_bytes: 16 * 1024 * 1024,
            bytes_max: 4 * 1024 * 1024 * 1024,
            sync_interval_ms: 50,
            completions_max: 65_536,
            tunnels_unrecorded: true,
        }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            format: Format::Text,
            level: "info".to_owned(),
        }
    }
}

const SECTIONS: [&str; 8] = [
    "proxy", "admin", "upstream", "feed", "journal", "limits", "redis", "log",
];

impl Raw {
    /// Reads the text and lays the environment over it.
    pub(super) fn read(
        text: &str,
        environment: Vec<(String, String)>,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut table = text.parse::<Table>().unwrap_or_else(|error| {
            problems.push(error.message().to_owned());
            Table::new()
        });
        for (name, value) in environment {
            overlay(&mut table, &name, value, problems);
        }
        let mut section = |name: &str| table.remove(name).unwrap_or_else(|| Table::new().into());
        let sections = SECTIONS.map(&mut section);
        let [proxy, admin, upstream, feed, journal, limits, redis, log] = sections;
        Self {
            node: part("the top level", table.into(), problems),
            proxy: part("[proxy]", proxy, problems),
            admin: part("[admin]", admin, problems),
            upstream: part("[upstream]", upstream, problems),
            feed: part("[feed]", feed, problems),
            journal: part("[journal]", journal, problems),
            limits: part("[limits]", limits, problems),
            redis: part("[redis]", redis, problems),
            log: part("[log]", log, problems),
        }
    }

    /// Checks every value; what is wrong is named in `problems`, and the result is not to be used then.
    pub(super) fn check(self, problems: &mut Vec<String>) -> Config {
        let text = self.text();
        let data_dir = self.node.data_dir.clone();
        between(
            "proxy.workers",
            self.proxy.workers as u64,
            1..=1024,
            problems,
        );
        let addresses = self.proxy.listen.len() as u64;
        between("proxy.listen, addresses", addresses, 1..=32, problems);
        let join = join(&self.node, problems);
        let name = self.node.name.clone().unwrap_or_else(host_name);
        let mut own = self.proxy.listen.clone();
        own.push(self.admin.listen);
        Config {
            join,
            name,
            listen: self.proxy.listen,
            tls: self.proxy.tls.check(problems),
            cleartext_base_url: self.proxy.cleartext_base_url,
            workers: self.proxy.workers,
            admin: self.admin.listen,
            upstream: self.upstream.check(own, problems),
            authenticate: client::authenticate::Config {
                tokens_max: self.limits.tokens_max,
                sources_max: self.limits.failing_sources_max,
                failures_per_minute: self.limits.failures_per_minute,
            },
            leaf: client::leaf::Config {
                leaves_max: self.limits.leaves_max,
                tenants_max: self.limits.tenants_max,
                renew_after: Duration::from_secs(24 * 60 * 60),
            },
            credentials: credential::Config {
                open_max: self.limits.open_credentials_max,
                idle: Duration::from_secs(self.limits.open_credential_idle_seconds),
            },
            requests: self.limits.requests(),
            pressure: self.limits.pressure(),
            redis: self.redis.check(problems),
            limits: self.limits.check(problems),
            controls: self.feed.controls(problems),
            feed: self.feed.check(problems),
            journal: self.journal.check(data_dir.join("journal"), problems),
            drain: Duration::from_secs(self.proxy.drain_seconds),
            supervisor: Supervisor::default(),
            log: Log {
                json: self.log.format == Format::Json,
                level: self.log.level,
            },
            data_dir,
            text,
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new();
        let mut put = |name: &str, value: Result<Table, toml::ser::Error>| {
            // Everything here came out of TOML, so that it goes back into it.
            if let Ok(section) = value {
                if name.is_empty() {
                    table.extend(section);
                } else {
                    let _absent = table.insert(name.to_owned(), section.into());
                }
            }
        };
        put("", Table::try_from(&self.node));
        put("proxy", Table::try_from(&self.proxy));
        put("admin", Table::try_from(&self.admin));
        put("upstream", Table::try_from(&self.upstream));
        put("feed", Table::try_from(&self.feed));
        put("journal", Table::try_from(&self.journal));
        put("limits", Table::try_from(&self.limits));
        put("redis", Table::try_from(&self.redis));
        put("log", Table::try_from(&self.log));
        if let Some(join) = table.get_mut("join") {
            *join = Value::from("…");
        }
        let redis = table.get_mut("redis").and_then(Value::as_table_mut);
        if let Some(url) = redis.and_then(|redis| redis.get_mut("url")) {
            *url = Value::from("…");
        }
        table.to_string()
    }
}

impl Feed {
    /// The most replicas that a node is told of: all their addresses have to be remembered.
    const CONTROLS_MAX: usize = 16;

    fn controls(&self, problems: &mut Vec<String>) -> Vec<String> {
        let wrong = self
            .control
            .iter()
            .filter(|control| host(control).is_none());
        problems.extend(wrong.map(|control| format!("feed.control: {control:?} is not host:port")));
        if self.control.len() > Self::CONTROLS_MAX {
            let most = Self::CONTROLS_MAX;
            problems.push(format!("feed.control may name {most} replicas at most"));
        }
        self.control.clone()
    }

    fn check(self, problems: &mut Vec<String>) -> follow::Config {
        for (name, value) in [
            ("request_timeout_ms", self.request_timeout_ms),
            ("requests_max", self.requests_max as u64),
            ("outgoing_max", self.outgoing_max as u64),
        ] {
            between(&format!("feed.{name}"), value, 1..=1_000_000, problems);
        }
        follow::Config {
            requests_max: self.requests_max,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            outgoing_max: self.outgoing_max,
        }
    }
}

impl Journal {
    fn check(self, folder: PathBuf, problems: &mut Vec<String>) -> journal::Config {
        between(
            "journal.segment_bytes",
            self.segment_bytes,
            1024 * 1024..=1024 * 1024 * 1024,
            problems,
        );
        between(
            "journal.bytes_max",
            self.bytes_max,
            2 * self.segment_bytes..=u64::MAX,
            problems,
        );
        between(
            "journal.sync_interval_ms",
            self.sync_interval_ms,
            1..=10_000,
            problems,
        );
        between(
            "journal.completions_max",
            self.completions_max as u64,
            1..=10_000_000,
            problems,
        );
        journal::Config {
            path: self.path.unwrap_or(folder),
            segment_bytes: self.segment_bytes,
            bytes_max: self.bytes_max,
            sync_interval: Duration::from_millis(self.sync_interval_ms),
            completions_max: self.completions_max,
            tunnels_unrecorded: self.tunnels_unrecorded,
        }
    }
}

fn part<T: DeserializeOwned + Default>(name: &str, value: Value, problems: &mut Vec<String>) -> T {
    value.try_into().unwrap_or_else(|error: toml::de::Error| {
        problems.push(format!("{name}: {}", error.message()));
        T::default()
    })
}

fn join(node: &Node, problems: &mut Vec<String>) -> Option<Secret> {
    match (&node.join, &node.join_file) {
        (Some(_), Some(_)) => {
            problems.push("join and join_file are both set".to_owned());
            None
        }
        (Some(text), None) => Some(Secret::new(text.trim().as_bytes().to_vec())),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) => Some(Secret::new(text.trim().as_bytes().to_vec())),
            Err(error) => {
                problems.push(format!("join_file {}: {error}", path.display()));
                None
            }
        },
        (None, None) => None,
    }
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "gateway".to_owned())
}

pub(super) fn between(
    name: &str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
    problems: &mut Vec<String>,
) {
    if !range.contains(&value) {
        problems.push(format!(
            "{name} is {value}; it may be {} to {}",
            range.start(),
            range.end()
        ));
    }
}
