//! Static configuration: a TOML file, then the environment. The only reader of the environment.
//!
//! `SORTIE_CONTROL__API__LISTEN=…` sets `listen` in `[api]`. Unknown keys are errors. All problems are reported at
//! once, before any port is bound.

mod layers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_proto::environment::Proxy;
use sortie_proto::secret::Secret;

/// What the environment's names start with.
pub const ENV_PREFIX: &str = "SORTIE_CONTROL__";

/// What is wrong with the configuration, all of it.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct Invalid(pub Vec<String>);

/// The configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// Where `root.key`, `operator.key` and a private database are. Default `./sortie-data/control`.
    pub data_dir: PathBuf,
    /// The database; without it a private one is started in `data_dir`.
    pub database: Option<DatabaseUrl>,
    /// How many connections each of the two pools may hold; callers beyond it wait. Default 32, 4 to 500.
    pub database_connections: usize,
    /// The gateways as agents reach them, for callers who ask for an agent's environment. No default: where agents run
    /// is not known here.
    pub proxy: Option<Proxy>,
    /// The administration API.
    pub api: Api,
    /// What gateways talk to.
    pub feed: Feed,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:7302`.
    pub admin_listen: SocketAddr,
    /// How it logs.
    pub log: Log,
    /// Where to look for PostgreSQL's programs first.
    pub postgres_path: Vec<PathBuf>,
}

/// The database's address. Its text may hold a password.
#[derive(Debug)]
pub struct DatabaseUrl {
    /// A `postgresql://` URL or `key=value` pairs.
    pub url: Secret,
    /// PEM certificates that replace the platform's roots.
    pub ca_file: Option<PathBuf>,
}

/// The administration API.
#[derive(Debug, Clone, Serialize)]
pub struct Api {
    /// Default `127.0.0.1:7300`.
    pub listen: SocketAddr,
}

/// What gateways talk to.
#[derive(Debug, Clone, Serialize)]
pub struct Feed {
    /// Default `127.0.0.1:7301`.
    pub listen: SocketAddr,
    /// What gateways dial, `host:port`; in join strings and in the server's certificate. Default `127.0.0.1:7301`.
    pub advertise: String,
    /// More names and addresses for the server's certificate, at most 16: what gateways dial whose own configuration
    /// names this replica.
    pub names: Vec<String>,
    /// How many changes a replica keeps in memory for its streams; a stream that is further behind reads them from
    /// the database. Default 16,384, 64 to 1,000,000.
    pub recent_changes: usize,
    /// How many changes the database keeps; a gateway that was away for more of them gets the whole state. Default
    /// 200,000, 1,000 to 100,000,000.
    pub kept_changes: i64,
    /// How many events may wait for one gateway; one that does not take them for 30 s is cut off. Default 64, 1 to
    /// 4,096.
    pub queue: usize,
    /// How many vaults one gateway may hold at once; a subscription beyond it is refused. Default 20,000, 1 to
    /// 1,000,000.
    pub vaults_per_gateway: usize,
    /// How many bytes of vaults and tenants a replica keeps, encoded, for gateways that ask for them; what was used
    /// least goes first and is read again. Default 268,435,456, 0 to 68,719,476,736.
    pub snapshot_bytes_max: u64,
}

/// How it logs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A filter as `tracing_subscriber::EnvFilter` reads it. Default `info`.
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads the file, if there is one, and the environment over it.
    ///
    /// # Errors
    /// [`Invalid`] lists every problem.
    pub fn load(file: Option<&Path>) -> Result<Self, Invalid> {
        let mut config = Self::from_layers(
            file,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        )?;
        config.postgres_path = postgres_path();
        Ok(config)
    }

    /// As [`Config::load`], with the environment given.
    ///
    /// # Errors
    /// [`Invalid`] lists every problem.
    pub fn from_layers(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Invalid> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Invalid(vec![format!("{}: {error}", path.display())]))?,
        };
        layers::merge(&text, environment).and_then(layers::check)
    }

    /// The effective configuration as TOML, without secrets.
    #[must_use]
    pub fn to_text(&self) -> String {
        layers::show(self)
    }
}

/// `PG_BIN`, then every folder of `PATH`.
fn postgres_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::var_os("PG_BIN")
        .map(PathBuf::from)
        .into_iter()
        .chain(std::env::split_paths(&path))
        .collect()
}

/// How long the process waits for streams and requests to end when it stops.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
