//! From text and environment to a checked [`Config`], and back to text.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sortie_proto::environment::Proxy;
use sortie_proto::secret::Secret;
use toml::{Table, Value};

use super::{Api, Config, DatabaseUrl, ENV_PREFIX, Feed, Invalid, Log, LogFormat};
use crate::database::Connector;

/// What may stand in the file, as it stands there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    data_dir: Option<PathBuf>,
    database_url: Option<String>,
    database_url_file: Option<PathBuf>,
    database_ca_file: Option<PathBuf>,
    database_connections: Option<usize>,
    proxy_url: Option<String>,
    #[serde(default)]
    api: RawApi,
    #[serde(default)]
    feed: RawFeed,
    #[serde(default)]
    admin: RawAdmin,
    #[serde(default)]
    log: RawLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApi {
    listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFeed {
    listen: Option<String>,
    advertise: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    recent_changes: Option<usize>,
    kept_changes: Option<i64>,
    queue: Option<usize>,
    vaults_per_gateway: Option<usize>,
    snapshot_bytes_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdmin {
    listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: Option<LogFormat>,
    level: Option<String>,
}

/// Lays the environment over the file. Other programs' variables are left alone; a misspelled one of ours is an error.
pub(super) fn merge(
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Raw, Invalid> {
    let mut table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Invalid(vec![error.to_string()]))?;
    for (name, value) in environment {
        if let Some(path) = name.strip_prefix(ENV_PREFIX) {
            let path = path.to_ascii_lowercase();
            let keys: Vec<&str> = path.split("__").collect();
            let value = match path.as_str() {
                "feed__names" => list(&value),
                _ => scalar(value),
            };
            set(&mut table, &keys, value)
                .map_err(|()| Invalid(vec![format!("{name}: no such setting")]))?;
        }
    }
    table
        .try_into()
        .map_err(|error: toml::de::Error| Invalid(vec![error.to_string()]))
}

/// Numbers and truth values as such, everything else as text.
fn scalar(text: String) -> Value {
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    match text.as_str() {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => Value::String(text),
    }
}

/// Commas separate the parts of a list.
fn list(text: &str) -> Value {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .into()
}

fn set(table: &mut Table, keys: &[&str], value: Value) -> Result<(), ()> {
    match keys {
        [] => Err(()),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => match table
            .entry(*key)
            .or_insert_with(|| Value::Table(Table::new()))
        {
            Value::Table(inner) => set(inner, rest, value),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => Err(()),
        },
    }
}

pub(super) fn check(mut raw: Raw) -> Result<Config, Invalid> {
    let mut problems: Vec<String> = read_url(&mut raw).into_iter().collect();
    let connections = check_database(&raw, &mut problems);
    let mut address = |name: &str, text: Option<String>, default: SocketAddr| match text {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_not_an_address| {
            problems.push(format!("{name}: not an address and port such as {default}"));
            default
        }),
    };
    let api_listen = address(
        "api.listen",
        raw.api.listen,
        SocketAddr::from(([127, 0, 0, 1], 7300)),
    );
    let feed_listen = address(
        "feed.listen",
        raw.feed.listen.clone(),
        SocketAddr::from(([127, 0, 0, 1], 7301)),
    );
    let admin_listen = address(
        "admin.listen",
        raw.admin.listen,
        SocketAddr::from(([127, 0, 0, 1], 7302)),
    );
    let proxy = check_proxy(raw.proxy_url.as_deref(), &mut problems);
    let feed = check_feed(&raw.feed, feed_listen, &mut problems);
    if !problems.is_empty() {
        return Err(Invalid(problems));
    }
    let ca_file = raw.database_ca_file;
    Ok(Config {
        data_dir: raw
            .data_dir
            .unwrap_or_else(|| PathBuf::from("sortie-data/control")),
        database: raw.database_url.map(|url| DatabaseUrl {
            url: Secret::new(url.into_bytes()),
            ca_file,
        }),
        database_connections: connections,
        proxy,
        api: Api { listen: api_listen },
        feed,
        admin_listen,
        log: Log {
            format: raw.log.format.unwrap_or(LogFormat::Text),
            level: raw.log.level.unwrap_or_else(|| "info".to_owned()),
        },
        postgres_path: Vec::new(),
    })
}

/// Answers how many connections there may be.
fn check_database(raw: &Raw, problems: &mut Vec<String>) -> usize {
    let connections = raw.database_connections.unwrap_or(32);
    if !(4..=500).contains(&connections) {
        problems.push("database_connections: must be 4 to 500".to_owned());
    }
    if raw.database_ca_file.is_some() && raw.database_url.is_none() {
        problems.push("database_ca_file: has no meaning without database_url".to_owned());
    }
    if let Some(url) = &raw.database_url
        && let Err(error) = Connector::new(url, raw.database_ca_file.as_deref())
    {
        problems.push(error.to_string());
    }
    connections
}

fn check_proxy(url: Option<&str>, problems: &mut Vec<String>) -> Option<Proxy> {
    match Proxy::parse(url?) {
        Ok(proxy) => Some(proxy),
        Err(error) => {
            problems.push(format!("proxy_url: {error}"));
            None
        }
    }
}

/// Takes the database's address out of its file, where a password is not seen by who may see the environment. Answers
/// with what is wrong.
fn read_url(raw: &mut Raw) -> Option<String> {
    let path = raw.database_url_file.as_ref()?;
    if raw.database_url.is_some() {
        return Some("database_url and database_url_file are both set".to_owned());
    }
    match std::fs::read_to_string(path) {
        Ok(text) => {
            raw.database_url = Some(text.trim().to_owned());
            None
        }
        Err(error) => Some(format!("database_url_file {}: {error}", path.display())),
    }
}

fn read_feed(raw: &RawFeed, listen: SocketAddr) -> Feed {
    Feed {
        listen,
        advertise: raw
            .advertise
            .clone()
            .unwrap_or_else(|| "127.0.0.1:7301".to_owned()),
        names: raw.names.clone(),
        recent_changes: raw.recent_changes.unwrap_or(16_384),
        kept_changes: raw.kept_changes.unwrap_or(200_000),
        queue: raw.queue.unwrap_or(64),
        vaults_per_gateway: raw.vaults_per_gateway.unwrap_or(20_000),
        snapshot_bytes_max: raw.snapshot_bytes_max.unwrap_or(256 * 1024 * 1024),
    }
}

fn check_feed(raw: &RawFeed, listen: SocketAddr, problems: &mut Vec<String>) -> Feed {
    let feed = read_feed(raw, listen);
    let dialled = feed
        .advertise
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let checks = [
        (
            "feed.advertise",
            matches!(dialled, Some((host, port)) if !host.is_empty() && port != 0),
            "host:port",
        ),
        (
            "feed.names",
            feed.names.len() <= 16 && feed.names.iter().all(|name| is_host(name)),
            "names or addresses without a port, 16 at most",
        ),
        (
            "feed.recent_changes",
            (64..=1_000_000).contains(&feed.recent_changes),
            "64 to 1,000,000",
        ),
        (
            "feed.kept_changes",
            (1_000..=100_000_000).contains(&feed.kept_changes),
            "1,000 to 100,000,000",
        ),
        (
            "feed.queue",
            (1..=4_096).contains(&feed.queue),
            "1 to 4,096",
        ),
        (
            "feed.vaults_per_gateway",
            (1..=1_000_000).contains(&feed.vaults_per_gateway),
            "1 to 1,000,000",
        ),
        (
            "feed.snapshot_bytes_max",
            feed.snapshot_bytes_max <= 64 * 1024 * 1024 * 1024,
            "0 to 68,719,476,736",
        ),
    ];
    for (name, fits, wanted) in checks {
        if !fits {
            problems.push(format!("{name}: must be {wanted}"));
        }
    }
    feed
}

/// A name, or an address without a port.
fn is_host(name: &str) -> bool {
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address.is_ok() || (!name.is_empty() && !name.contains([':', '/', ' ', '*']))
}

#[derive(Serialize)]
struct Shown<'a> {
    data_dir: &'a PathBuf,
    database_url: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_ca_file: Option<&'a PathBuf>,
    database_connections: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_url: Option<String>,
    api: &'a Api,
    feed: &'a Feed,
    admin: ShownAdmin,
    log: &'a Log,
}

#[derive(Serialize)]
struct ShownAdmin {
    listen: SocketAddr,
}

pub(super) fn show(config: &Config) -> String {
    let shown = Shown {
        data_dir: &config.data_dir,
        database_url: if config.database.is_some() {
            "…"
        } else {
            "(private)"
        },
        database_ca_file: config
            .database
            .as_ref()
            .and_then(|database| database.ca_file.as_ref()),
        database_connections: config.database_connections,
        proxy_url: config.proxy.as_ref().map(ToString::to_string),
        api: &config.api,
        feed: &config.feed,
        admin: ShownAdmin {
            listen: config.admin_listen,
        },
        log: &config.log,
    };
    toml::to_string(&shown).unwrap_or_default()
}
