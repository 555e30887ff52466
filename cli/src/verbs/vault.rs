//! `sortie vault`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::limits::{self, Limits, SessionLimits};
use super::wait::{Again, Wait};
use super::{Limit, Sure, in_tenant, in_vault, settings};
use crate::args;
use crate::config::Context;
use crate::error::Result;
use crate::output::Column;

pub(super) const EXAMPLE: &str = "\
Example:
  sortie vault create payments --staleness 30s
  sortie vault list";

const COLUMNS: [Column; 9] = [
    ("NAME", "/name"),
    ("ID", "/id"),
    ("ENABLED", "/enabled"),
    ("MODE", "/mode"),
    ("STALENESS", "/staleness_seconds"),
    ("DURABLE", "/durable"),
    ("LIMITS", "/limited"),
    ("EACH SESSION", "/sessions_limited"),
    ("CREATED", "/created_at"),
];

/// What becomes of requests that no service covers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Mode {
    /// They are refused.
    Deny,
    /// They pass without credentials, and are recorded.
    Observe,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Observe => "observe",
        }
    }
}

/// What can be done with vaults.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List vaults
    #[command(after_help = "Example:\n  sortie vault list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a vault
    #[command(after_help = "Example:\n  sortie vault create payments --staleness 30s")]
    Create {
        /// Its name
        name: String,
        /// What becomes of requests that no service covers
        #[arg(long, value_enum, default_value = "deny")]
        mode: Mode,
        /// How long gateways may serve it without hearing from control, 30s to 24h
        #[arg(long, default_value = "15m", value_parser = args::seconds, value_name = "TIME")]
        staleness: u32,
    },
    /// Show a vault
    #[command(after_help = "Example:\n  sortie vault get payments")]
    Get {
        /// Its id or name
        vault: String,
    },
    /// Change a vault's settings
    #[command(
        after_help = "Example:\n  sortie vault update payments --mode observe\n  \
                            sortie vault update payments --enabled false\n  \
                            sortie vault update payments --limit requests=600/minute --session-limit concurrency=16"
    )]
    Update {
        /// Its id or name
        vault: String,
        /// Switch it on or off
        #[arg(long, value_name = "BOOL")]
        enabled: Option<bool>,
        /// What becomes of requests that no service covers
        #[arg(long, value_enum)]
        mode: Option<Mode>,
        /// How long gateways may serve it without hearing from control
        #[arg(long, value_parser = args::seconds, value_name = "TIME")]
        staleness: Option<u32>,
        /// Let requests wait until their record is on disk
        #[arg(long, value_name = "BOOL")]
        durable: Option<bool>,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        session_limits: SessionLimits,
    },
    /// Delete a vault with its credentials and services
    #[command(after_help = "Example:\n  sortie vault delete payments --yes")]
    Delete {
        /// Its id or name
        vault: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// End every session's right to a vault, on all gateways
    #[command(after_help = "Example:\n  sortie vault revoke payments --wait --yes")]
    Revoke {
        /// Its id or name
        vault: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        sure: Sure,
    },
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    let (client, out) = (&context.client, context.out);
    match act {
        Act::List { limit } => {
            let path = in_tenant(context, &["vaults"]);
            let mut vaults = client.list(&path, "vaults", &[], limit.limit).await?;
            vaults
                .iter_mut()
                .for_each(|vault| limits::shown(vault, context));
            out.list(&vaults, &COLUMNS)
        }
        Act::Create {
            name,
            mode,
            staleness,
        } => {
            let body = json!({"name": name, "mode": mode.name(), "staleness_seconds": staleness});
            let path = in_tenant(context, &["vaults"]);
            let made = client.post(&path, "", &body).await?;
            out.object(&made, &COLUMNS)
        }
        Act::Get { vault } => print(client.get(&in_vault(context, &vault, &[])).await?, context),
        Act::Update {
            vault,
            enabled,
            mode,
            staleness,
            durable,
            limits,
            session_limits,
        } => {
            let body = settings([
                ("enabled", enabled.map(Value::from)),
                ("mode", mode.map(|mode| Value::from(mode.name()))),
                ("staleness_seconds", staleness.map(Value::from)),
                ("durable", durable.map(Value::from)),
                ("limits", limits.field()),
                ("session_limits", session_limits.field()),
            ])?;
            let path = in_vault(context, &vault, &[]);
            print(client.patch(&path, &body).await?, context)
        }
        Act::Delete { vault, sure } => {
            sure.ask(&format!("delete vault `{vault}` with all that it holds"))?;
            let gone = client.delete(&in_vault(context, &vault, &[])).await?;
            out.done(&gone, &format!("deleted vault {vault}"))
        }
        Act::Revoke { vault, wait, sure } => {
            sure.ask(&format!("end every session's right to vault `{vault}`"))?;
            let revoked = client
                .post(&in_vault(context, &vault, &[]), ":revoke", &wait.body())
                .await?;
            let sentence = format!("revoked: no token of before opens vault {vault}");
            wait.done(out, &revoked, (&sentence, Again::Sessions))
        }
    }
}

fn print(mut vault: Value, context: &Context) -> Result<()> {
    limits::shown(&mut vault, context);
    context.out.object(&vault, &COLUMNS)
}
