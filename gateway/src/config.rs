//! The static configuration: a TOML file, then the environment. The only reader of the environment.
//!
//! `SORTIE_GATEWAY__PROXY__LISTEN=127.0.0.1:7380,127.0.0.1:7390` sets `[proxy] listen`: two underscores stand between
//! levels. Every problem is reported at once, before any port is bound. What agents may do is never here: it comes from
//! control.

mod limits;
mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sortie_proto::secret::Secret;

use crate::client;
use crate::client::accept::secure::Secure;
use crate::decision::limit;
use crate::exchange::{credential, peer};
use crate::journal;
use crate::pressure;
use crate::snapshot::follow;
use crate::supervisor::Supervisor;

/// What the environment's names start with.
pub const PREFIX: &str = "SORTIE_GATEWAY__";

/// The configuration, with every value right.
#[derive(Debug)]
pub struct Config {
    /// Where the node's key, certificate and journal are.
    pub data_dir: PathBuf,
    /// The join string; needed until the node is enrolled.
    pub join: Option<Secret>,
    /// What operators call this node.
    pub name: String,
    /// The proxy's addresses.
    pub listen: Vec<SocketAddr>,
    /// The proxy's own certificate, if it speaks TLS too.
    pub tls: Option<Arc<Secure>>,
    /// Whether the base-URL form is taken in the clear from other machines.
    pub cleartext_base_url: bool,
    /// Worker threads, and proxy instances.
    pub workers: usize,
    /// The address of `/livez`, `/readyz`, `/metrics` and `/state`.
    pub admin: SocketAddr,
    /// How upstreams are reached.
    pub upstream: Upstream,
    /// The client side's limits.
    pub limits: client::Limits,
    /// Tokens that are remembered, failures that are borne.
    pub authenticate: client::authenticate::Config,
    /// Certificates that are kept.
    pub leaf: client::leaf::Config,
    /// Credentials that are kept open.
    pub credentials: credential::Config,
    /// How many requests may be open at once.
    pub requests: limit::Config,
    /// What memory and worker threads are measured against.
    pub pressure: pressure::Config,
    /// Where gateways share limits.
    pub redis: Option<limit::lease::redis::Config>,
    /// Where control's replicas are; empty is where the join string says.
    pub controls: Vec<String>,
    /// What may wait for control.
    pub feed: follow::Config,
    /// Where requests are recorded.
    pub journal: journal::Config,
    /// How long requests that are under way may take to end when the process stops.
    pub drain: Duration,
    /// Who is told when the process serves and when it stops.
    pub supervisor: Supervisor,
    /// How to log.
    pub log: Log,
    /// All of it as TOML, with secrets as `…`.
    pub text: String,
}

/// How upstreams are reached.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// PEM files of roots to trust beside the system's.
    pub extra_roots: Vec<PathBuf>,
    /// How they are found, and how long they may take.
    pub peers: peer::Config,
    /// The most idle upstream connections that each proxy instance keeps.
    pub idle_max: usize,
}

/// How to log.
#[derive(Debug, Clone)]
pub struct Log {
    /// As JSON lines.
    pub json: bool,
    /// A filter as `tracing` reads it.
    pub level: String,
}

/// What is wrong with the configuration: all of it.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} problem(s):\n{}", .0.len(), .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct Invalid(pub Vec<String>);

impl Config {
    /// Reads the file, if there is one, and the environment.
    ///
    /// # Errors
    /// [`Invalid`] names every problem.
    pub fn load(file: Option<&Path>) -> Result<Self, Invalid> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Invalid(vec![format!("{}: {error}", path.display())]))?,
        };
        let mut environment = Vec::new();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => environment.push((name.to_owned(), value)),
                Err(_not_text) => problems.push(format!("{PREFIX}{name} is not UTF-8")),
            }
        }
        let config = Self::read(&text, environment, problems)?;
        Ok(Self {
            supervisor: Supervisor::at(std::env::var_os("NOTIFY_SOCKET")),
            ..config
        })
    }

    fn read(
        text: &str,
        environment: Vec<(String, String)>,
        mut problems: Vec<String>,
    ) -> Result<Self, Invalid> {
        let raw = raw::Raw::read(text, environment, &mut problems);
        let config = raw.check(&mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(Invalid(problems))
        }
    }
}

#[cfg(test)]
mod tests;
