//! `sortie gateway`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::watch::{self, Watch};
use super::{Limit, Sure};
use crate::args;
use crate::config::{self, Context};
use crate::error::Result;
use crate::output::{Column, cell};

pub(super) const EXAMPLE: &str = "\
Example:
  sortie gateway join edge-1 --valid 15m
  sortie gateway list
  sortie gateway alarms edge-1";

const COLUMNS: [Column; 10] = [
    ("NAME", "/name"),
    ("ID", "/id"),
    ("HEALTH", "/health"),
    ("REVISION", "/acknowledged"),
    ("BEHIND", "/behind"),
    ("LAG MS", "/lag_millis"),
    ("SESSIONS", "/sessions"),
    ("OPEN", "/connections"),
    ("VERSION", "/version"),
    ("SEEN", "/last_seen_at"),
];

const ALARM_COLUMNS: [Column; 6] = [
    ("RAISED", "/raised_at"),
    ("GATEWAY", "/gateway"),
    ("KIND", "/kind"),
    ("LANE", "/lane"),
    ("FIRST", "/first_sequence"),
    ("LAST", "/last_sequence"),
];

/// What can be done with gateways.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List gateways
    #[command(after_help = "Examples:\n  sortie gateway list\n  sortie gateway list --watch")]
    List {
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        limit: Limit,
    },
    /// Shut a gateway out: it gets nothing more, drops what it holds, and its certificate is not renewed
    #[command(after_help = "Example:\n  sortie gateway lock edge-1 --yes")]
    Lock {
        /// Its id, or a name that only one has
        gateway: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Let a gateway in again that was locked
    #[command(after_help = "Example:\n  sortie gateway unlock edge-1")]
    Unlock {
        /// Its id, or a name that only one has
        gateway: String,
    },
    /// List records that are missing from the audit log, or are not those that a gateway wrote
    #[command(
        after_help = "Examples:\n  sortie gateway alarms\n  sortie gateway alarms edge-1 --watch"
    )]
    Alarms {
        /// Of this gateway only: its name or id
        gateway: Option<String>,
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        limit: Limit,
    },
    /// Print a join string: a gateway enrols with it, once
    #[command(after_help = "Examples:\n  sortie gateway join edge-1 --valid 15m\n  \
                            sortie gateway join edge-2 --join-file edge-2.join")]
    Join {
        /// What the gateway will be called
        name: String,
        /// How long the string may be used
        #[arg(long, default_value = "1h", value_parser = args::seconds, value_name = "TIME")]
        valid: u32,
        /// Write it to this file (mode 0600), not to standard output
        #[arg(long, value_name = "FILE")]
        join_file: Option<PathBuf>,
    },
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    match act {
        Act::List { watch, limit } => {
            let client = &context.client;
            let ask = async || {
                client
                    .list(&["gateways"], "gateways", &[], limit.limit)
                    .await
            };
            watch::list(&watch, &COLUMNS, context, ask).await
        }
        Act::Lock { gateway, sure } => {
            sure.ask(&format!("shut gateway `{gateway}` out"))?;
            verb(&gateway, ":lock", context).await
        }
        Act::Unlock { gateway } => verb(&gateway, ":unlock", context).await,
        Act::Alarms {
            gateway,
            watch,
            limit,
        } => {
            let client = &context.client;
            let query: Vec<_> = gateway.map(|name| ("gateway", name)).into_iter().collect();
            let ask = async || {
                client
                    .list(&["alarms"], "alarms", &query, limit.limit)
                    .await
            };
            watch::list(&watch, &ALARM_COLUMNS, context, ask).await
        }
        Act::Join {
            name,
            valid,
            join_file,
        } => {
            let body = json!({"name": name, "valid_seconds": valid});
            let mut made = context.client.post(&["gateways"], ":join", &body).await?;
            let join = cell(&made, "/join");
            let Some(path) = join_file else {
                context
                    .out
                    .note("Give it to the gateway as SORTIE_GATEWAY__JOIN, once:");
                return context.out.done(&made, &join);
            };
            config::write_private(&path, join.as_bytes())?;
            if let Some(fields) = made.as_object_mut() {
                fields.remove("join");
            }
            context
                .out
                .done(&made, &format!("the join string is in {}", path.display()))
        }
    }
}

async fn verb(gateway: &str, verb: &str, context: &Context) -> Result<()> {
    let client = &context.client;
    let found = client
        .post(&["gateways", gateway], verb, &json!({}))
        .await?;
    let sentence = format!("{gateway} is {}", cell(&found, "/health"));
    context.out.done(&found, &sentence)
}
