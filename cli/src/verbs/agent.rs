//! `sortie agent`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::limits::{self, Limits, SessionLimits};
use super::wait::{Again, Wait};
use super::{Limit, Sure, in_tenant, settings};
use crate::config::{self, Context};
use crate::error::Result;
use crate::output::{Column, cell};

pub(super) const EXAMPLE: &str = "\
Example:
  sortie agent create builder --key-file builder.key
  sortie agent list";

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("ID", "/id"),
    ("DELEGATE", "/delegate"),
    ("GENERATION", "/generation"),
    ("LIMITS", "/limited"),
    ("EACH SESSION", "/sessions_limited"),
    ("CREATED", "/created_at"),
];

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List agents
    #[command(after_help = "Example:\n  sortie agent list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Make an agent; its key is given once
    #[command(after_help = "Example:\n  sortie agent create builder --key-file builder.key")]
    Create {
        /// Its name
        name: String,
        /// Let it mint sessions for a person
        #[arg(long)]
        delegate: bool,
        /// Write its key to this file (mode 0600), not to standard output
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Say how much an agent, and each of its sessions, may use
    #[command(
        after_help = "Examples:\n  sortie agent update builder --limit requests=100/second\n  \
                            sortie agent update builder --session-limit requests=60/minute:20 --session-limit bytes=1GiB/hour\n  \
                            sortie agent update builder --limit none --session-limit none"
    )]
    Update {
        /// Its id or name
        agent: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        session_limits: SessionLimits,
    },
    /// Delete an agent
    #[command(after_help = "Example:\n  sortie agent delete builder --yes")]
    Delete {
        /// Its id or name
        agent: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// End all of an agent's sessions, on all gateways
    #[command(after_help = "Example:\n  sortie agent revoke builder --wait --yes")]
    Revoke {
        /// Its id or name
        agent: String,
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
            let path = in_tenant(context, &["agents"]);
            let mut agents = client.list(&path, "agents", &[], limit.limit).await?;
            agents
                .iter_mut()
                .for_each(|agent| limits::shown(agent, context));
            out.list(&agents, &COLUMNS)
        }
        Act::Create {
            name,
            delegate,
            key_file,
        } => {
            let body = json!({"name": name, "delegate": delegate});
            create(&body, key_file, context).await
        }
        Act::Update {
            agent,
            limits,
            session_limits,
        } => {
            let body = settings([
                ("limits", limits.field()),
                ("session_limits", session_limits.field()),
            ])?;
            let path = in_tenant(context, &["agents", &agent]);
            let mut changed = client.patch(&path, &body).await?;
            limits::shown(&mut changed, context);
            out.object(&changed, &COLUMNS)
        }
        Act::Delete { agent, sure } => {
            sure.ask(&format!("delete agent `{agent}`"))?;
            let gone = client
                .delete(&in_tenant(context, &["agents", &agent]))
                .await?;
            out.done(&gone, &format!("deleted agent {agent}"))
        }
        Act::Revoke { agent, wait, sure } => {
            sure.ask(&format!("end all sessions of agent `{agent}`"))?;
            let path = in_tenant(context, &["agents", &agent]);
            let revoked = client.post(&path, ":revoke", &wait.body()).await?;
            let sentence = format!("revoked all sessions of {agent}");
            wait.done(out, &revoked, (&sentence, Again::Sessions))
        }
    }
}

async fn create(body: &Value, key_file: Option<PathBuf>, context: &Context) -> Result<()> {
    let path = in_tenant(context, &["agents"]);
    let mut made = context.client.post(&path, "", body).await?;
    let key = cell(&made, "/key");
    if let Some(path) = &key_file {
        config::write_private(path, key.as_bytes())?;
        if let Some(fields) = made.as_object_mut() {
            fields.remove("key");
        }
    }
    if context.out.is_json() {
        return context.out.done(&made, "");
    }
    let agent = made.get("agent").cloned().unwrap_or_default();
    context.out.object(&agent, &COLUMNS)?;
    match key_file {
        Some(path) => context
            .out
            .note(&format!("its key is in {}", path.display())),
        None => context.out.line(&format!("key (shown this once)  {key}")),
    }
    Ok(())
}
