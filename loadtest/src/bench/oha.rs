//! One run of the load generator, and what it says.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use tokio::process::Command;

use super::stand::HOST;

/// What is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Connections that stay, HTTP/1.1.
    KeepAlive1,
    /// Connections that stay, HTTP/2 with 16 streams each.
    KeepAlive2,
    /// A connection (a tunnel, for the gateway) and a full handshake for each request. oha shows one session for all
    /// of them: where each is to be new, [`cold`](super::cold) drives.
    NewTunnel,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KeepAlive1, Self::KeepAlive2, Self::NewTunnel];

    /// What people read.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::KeepAlive1 => "HTTP/1.1 keep-alive",
            Self::KeepAlive2 => "HTTP/2 keep-alive",
            Self::NewTunnel => "new tunnel a request",
        }
    }

    /// What files are called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeepAlive1 => "http1",
            Self::KeepAlive2 => "http2",
            Self::NewTunnel => "tunnels",
        }
    }

    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::KeepAlive1 => &["-c", "32", "--http-version", "1.1"],
            Self::KeepAlive2 => &["-c", "4", "-p", "16", "--http-version", "2"],
            Self::NewTunnel => &["-c", "8", "--http-version", "1.1", "--disable-keepalive"],
        }
    }
}

/// How a proxy is reached.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// As the server itself.
    Reverse {
        /// Where it listens.
        address: SocketAddr,
        /// The root of its certificate.
        root: &'a Path,
    },
    /// By CONNECT, with a token.
    Forward {
        /// Where it listens.
        address: SocketAddr,
        /// The root of its leaves.
        root: &'a Path,
        /// A session token, if it wants one.
        token: Option<&'a str>,
    },
}

/// A run.
#[derive(Debug)]
pub struct Load<'a> {
    /// The program.
    pub oha: &'a Path,
    /// What is driven.
    pub scenario: Scenario,
    /// For how long.
    pub seconds: u64,
    /// The program's own threads.
    pub threads: usize,
    /// The upstream's port.
    pub port: u16,
    /// How the proxy is reached.
    pub way: Way<'a>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Requests that were answered.
    pub requests: u64,
    /// As the program counts them.
    pub requests_per_second: f64,
    /// The median latency.
    pub p50_ms: f64,
    /// The latency that one in a hundred exceeds.
    pub p99_ms: f64,
}

impl Load<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// When the program cannot be run, or any answer was not 200.
    pub async fn run(&self) -> Result<Outcome> {
        let output = self.command().kill_on_drop(true).output().await;
        let output = output.context("cannot run oha: cargo install oha --locked")?;
        ensure!(
            output.status.success(),
            "oha failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        outcome(&serde_json::from_slice(&output.stdout)?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.oha);
        command
            .args([
                "--no-tui",
                "--output-format",
                "json",
                "--no-pre-lookup",
                "--worker-threads",
            ])
            .arg(self.threads.to_string())
            .arg("-z")
            .arg(format!("{}s", self.seconds))
            .args(self.scenario.flags());
        match self.way {
            Way::Reverse { address, root } => command
                .arg("--cacert")
                .arg(root)
                .arg("--connect-to")
                .arg(format!("{HOST}:{}:{address}", self.port)),
            Way::Forward {
                address,
                root,
                token,
            } => command
                .arg("--cacert")
                .arg(root)
                .arg("-x")
                .arg(format!("http://{address}"))
                .args(token.iter().flat_map(|token| proxy_header(token))),
        };
        command.arg(format!("https://{HOST}:{}/", self.port));
        command
    }
}

fn proxy_header(token: &str) -> [String; 2] {
    let basic = STANDARD.encode(format!("{token}:"));
    [
        "--proxy-header".to_owned(),
        format!("Proxy-Authorization: Basic {basic}"),
    ]
}

fn outcome(said: &Value) -> Result<Outcome> {
    let statuses = said
        .get("statusCodeDistribution")
        .and_then(Value::as_object);
    let statuses = statuses.context("oha gave no statuses")?;
    let requests = statuses.get("200").and_then(Value::as_u64).unwrap_or(0);
    ensure!(
        requests > 0 && statuses.len() == 1,
        "answers other than 200: {statuses:?}, errors: {:?}",
        said.get("errorDistribution")
    );
    // Requests that the end of the run cuts off are in the errors; any other error spoils the run.
    let errors = said.get("errorDistribution").and_then(Value::as_object);
    let spoilt = errors
        .into_iter()
        .flatten()
        .find(|(what, _)| !what.contains("deadline"));
    ensure!(spoilt.is_none(), "requests failed: {spoilt:?}");
    let number = |pointer: &str| {
        said.pointer(pointer)
            .and_then(Value::as_f64)
            .context("oha left a number out")
    };
    Ok(Outcome {
        requests,
        requests_per_second: number("/summary/requestsPerSec")?,
        p50_ms: number("/latencyPercentiles/p50")? * 1e3,
        p99_ms: number("/latencyPercentiles/p99")? * 1e3,
    })
}

#[cfg(test)]
mod tests;
