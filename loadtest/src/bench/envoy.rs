//! Envoy as a plain TLS-to-TLS reverse proxy: one worker, keep-alive to the upstream, no log, no session resumption.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::process::{Process, start_listening};
use super::stand::HOST;
use crate::cpus::Apart;
use crate::upstream::certificate;

const TEMPLATE: &str = include_str!("envoy.yaml");

/// Starts it in a folder that holds the upstream's authority.
///
/// # Errors
/// When it cannot be started or does not listen.
pub async fn start(
    program: &Path,
    folder: &Path,
    (listen, upstream): (SocketAddr, u16),
    apart: &Apart,
) -> Result<Process> {
    certificate::write_pem(folder, &[HOST.to_owned()], "envoy")?;
    let config = folder.join("envoy.yaml");
    std::fs::write(&config, configuration(folder, listen, upstream))?;
    let mut command = Command::new(program);
    command
        .args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
            "--config-path",
        ])
        .arg(&config);
    start_listening(("envoy", folder), &mut command, (listen, apart)).await
}

/// The upstream is spoken to in what the client speaks, as the gateway does.
fn configuration(folder: &Path, listen: SocketAddr, upstream: u16) -> String {
    TEMPLATE
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@ADDRESS@", &listen.ip().to_string())
        .replace("@PORT@", &listen.port().to_string())
        .replace("@HOST@", HOST)
        .replace("@UPSTREAM@", &upstream.to_string())
}
