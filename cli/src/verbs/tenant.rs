//! `sortie tenant`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::limits::{self, Limits};
use super::wait::{Again, Wait};
use super::{Limit, Sure, in_tenant, settings};
use crate::config::{self, Context};
use crate::error::Result;
use crate::output::{Column, cell};

pub(super) const EXAMPLE: &str = "\
Example:
  sortie tenant create acme --key-file acme-owner.key
  sortie tenant list";

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("ID", "/id"),
    ("ENABLED", "/enabled"),
    ("PRIVATE", "/private_allow"),
    ("LIMITS", "/limited"),
    ("WEIGHT", "/weight"),
    ("CREATED", "/created_at"),
];

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List tenants
    #[command(after_help = "Example:\n  sortie tenant list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Change a tenant: switch it, say how much it may use and how much of an overloaded gateway is its part
    #[command(
        after_help = "Examples:\n  sortie tenant update acme --limit requests=500/second:1000 --limit bytes=500GiB/day\n  \
                            sortie tenant update acme --weight 4\n  sortie tenant update acme --limit none"
    )]
    Update {
        /// Its id or name
        tenant: String,
        /// Switch it on or off
        #[arg(long, value_name = "BOOL")]
        enabled: Option<bool>,
        #[command(flatten)]
        limits: Limits,
        /// Its part of an overloaded gateway, relative to other tenants': 1 to 1000
        #[arg(long)]
        weight: Option<u32>,
    },
    /// Make a tenant; its owner's key is given once
    #[command(after_help = "Example:\n  sortie tenant create acme --key-file acme-owner.key")]
    Create {
        /// Its name
        name: String,
        /// A private range that its agents may reach
        #[arg(long, value_name = "CIDR")]
        private_allow: Vec<String>,
        /// Write the owner's key to this file (mode 0600), not to standard output
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// End all sessions of the tenant, on all gateways; keys stay good
    #[command(after_help = "Example:\n  sortie tenant revoke --wait --yes")]
    Revoke {
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        sure: Sure,
    },
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    match act {
        Act::Revoke { wait, sure } => {
            let tenant = &context.tenant;
            sure.ask(&format!("end all sessions of tenant `{tenant}`"))?;
            let path = in_tenant(context, &[]);
            let revoked = context.client.post(&path, ":revoke", &wait.body()).await?;
            let sentence = "revoked all sessions of the tenant";
            wait.done(context.out, &revoked, (sentence, Again::Sessions))
        }
        Act::List { limit } => {
            let mut tenants = context
                .client
                .list(&["tenants"], "tenants", &[], limit.limit)
                .await?;
            tenants
                .iter_mut()
                .for_each(|tenant| limits::shown(tenant, context));
            context.out.list(&tenants, &COLUMNS)
        }
        Act::Update {
            tenant,
            enabled,
            limits,
            weight,
        } => {
            let body = settings([
                ("enabled", enabled.map(Value::from)),
                ("limits", limits.field()),
                ("weight", weight.map(Value::from)),
            ])?;
            let mut changed = context.client.patch(&["tenants", &tenant], &body).await?;
            limits::shown(&mut changed, context);
            context.out.object(&changed, &COLUMNS)
        }
        Act::Create {
            name,
            private_allow,
            key_file,
        } => {
            let body = json!({"name": name, "private_allow": private_allow});
            let made = context.client.post(&["tenants"], "", &body).await?;
            created(made, key_file, context)
        }
    }
}

/// Shows a tenant that was made, and hands its owner's key over.
fn created(mut made: Value, key_file: Option<PathBuf>, context: &Context) -> Result<()> {
    let key = cell(&made, "/owner_key");
    if let Some(path) = &key_file {
        config::write_private(path, key.as_bytes())?;
        if let Some(fields) = made.as_object_mut() {
            fields.remove("owner_key");
        }
    }
    let tenant = made.get("tenant").cloned().unwrap_or_default();
    if context.out.is_json() {
        return context.out.done(&made, "");
    }
    context.out.object(&tenant, &COLUMNS)?;
    match key_file {
        Some(path) => context
            .out
            .note(&format!("the owner's key is in {}", path.display())),
        None => context
            .out
            .line(&format!("owner's key (shown this once)  {key}")),
    }
    Ok(())
}
