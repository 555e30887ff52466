//! `sortie tenant`.

use clap::Subcommand;
use serde_json::json;

use super::wait::Wait;
use super::{Limit, Sure, in_tenant};
use crate::config::{self, Context};
use crate::error::Result;
use crate::output::{Column, cell};

pub(super) const EXAMPLE: &str = "\
Example:
  sortie tenant create acme --key-file acme-owner.key
  sortie tenant list";

const COLUMNS: [Column; 5] = [
    ("NAME", "/name"),
    ("ID", "/id"),
    ("ENABLED", "/enabled"),
    ("PRIVATE", "/private_allow"),
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
        key_file: Option<std::path::PathBuf>,
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
            wait.done(context.out, &revoked, "revoked all sessions of the tenant")
        }
        Act::List { limit } => {
            let tenants = context
                .client
                .list(&["tenants"], "tenants", &[], limit.limit)
                .await?;
            context.out.list(&tenants, &COLUMNS)
        }
        Act::Create {
            name,
            private_allow,
            key_file,
        } => {
            let body = json!({"name": name, "private_allow": private_allow});
            let mut made = context.client.post(&["tenants"], "", &body).await?;
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
    }
}
