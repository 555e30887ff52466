//! Runs a command with a cluster around it: for load generators that are not ours.
//!
//! The command finds the cluster in its environment:
//!
//! | variable | what |
//! |---|---|
//! | `HTTPS_PROXY`, `https_proxy` | the first gateway, with a session |
//! | `SSL_CERT_FILE` | the root that agents trust |
//! | `TARGET_URL` | the upstream, as agents ask for it |
//! | `PROXY_ADDRESS`, `PROXY_AUTHORIZATION` | the gateway, and what to show it, for tools that do not read the above |
//! | `SORTIE_API_URL`, `SORTIE_API_KEY` | control, with the key of a tenant's owner |
//! | `SESSIONS_FILE` | tokens of a thousand sessions, a line each |

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;

use crate::cluster::{Cluster, Programs, Shape, write_tokens};

/// How many sessions the file has.
const SESSIONS: usize = 1000;

/// What is run, and within what.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// How many gateways.
    #[arg(long, default_value_t = 1)]
    gateways: usize,
    /// Worker threads of each.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Starts a cluster, runs the command, ends the cluster.
///
/// # Errors
/// When something does not start, or the command fails.
pub fn run(options: &Options) -> Result<()> {
    let shape = Shape {
        gateways: options.gateways,
        workers: options.workers,
        ..Shape::default()
    };
    options
        .programs
        .within((1, &shape), async |cluster| command(options, cluster).await)
}

async fn command(options: &Options, cluster: &Cluster) -> Result<()> {
    let (program, arguments) = options.command.split_first().context("no command")?;
    let tenant = cluster.tenant(0)?;
    let sessions = tenant.mint(SESSIONS).await?;
    let session = sessions.first().context("no session")?;
    let file = cluster.folder().join("sessions");
    write_tokens(&file, &sessions)?;
    let gateway = cluster.gateway(0)?.proxy();
    let url = format!("http://{}:@{gateway}", session.token());
    let shown = STANDARD.encode(format!("{}:", session.token()));
    let owner = tenant.owner();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("HTTPS_PROXY", &url)
        .env("https_proxy", &url)
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("SSL_CERT_FILE", tenant.root())
        .env("TARGET_URL", format!("https://{}", cluster.authority()))
        .env("PROXY_ADDRESS", gateway.to_string())
        .env("PROXY_AUTHORIZATION", format!("Basic {shown}"))
        .env("SORTIE_API_URL", format!("http://{}", owner.address))
        .env("SORTIE_API_KEY", &owner.key)
        .env("SESSIONS_FILE", file)
        .kill_on_drop(true);
    let status = command
        .status()
        .await
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}
