//! `sortie grant`.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::{InVault, in_vault};
use crate::config::Context;
use crate::error::Result;

pub(super) const EXAMPLE: &str = "\
Example:
  sortie grant set builder --vault payments --role user
  sortie grant delete builder --vault payments";

/// What an agent may do in a vault.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Use its services
    User,
    /// So far as `user`; meant for changing services and credentials too
    Editor,
    /// So far as `user`; meant for granting roles too
    Admin,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

/// What can be done with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// Give an agent a role on a vault, or change it
    #[command(after_help = "Example:\n  sortie grant set builder --vault payments --role user")]
    Set {
        /// The agent, by id or name
        agent: String,
        /// The role
        #[arg(long, value_enum, default_value = "user")]
        role: Role,
        /// When it ends (RFC 3339) [default: never]
        #[arg(long, value_name = "TIME")]
        until: Option<jiff::Timestamp>,
        #[command(flatten)]
        vault: InVault,
    },
    /// Take an agent's role on a vault away
    #[command(after_help = "Example:\n  sortie grant delete builder --vault payments")]
    Delete {
        /// The agent, by id or name
        agent: String,
        #[command(flatten)]
        vault: InVault,
    },
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    let (client, out) = (&context.client, context.out);
    match act {
        Act::Set {
            agent,
            role,
            until,
            vault,
        } => {
            let vault = vault.name(context);
            let mut body = json!({"role": role.name()});
            if let (Some(until), Some(fields)) = (until, body.as_object_mut()) {
                fields.insert("expires_at".to_owned(), until.to_string().into());
            }
            let set = client
                .put(&in_vault(context, vault, &["grants", &agent]), &body)
                .await?;
            out.done(
                &set,
                &format!("{agent} is {} of vault {vault}", role.name()),
            )
        }
        Act::Delete { agent, vault } => {
            let vault = vault.name(context);
            let gone = client
                .delete(&in_vault(context, vault, &["grants", &agent]))
                .await?;
            out.done(&gone, &format!("{agent} has no role on vault {vault}"))
        }
    }
}
