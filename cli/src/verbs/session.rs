//! `sortie session`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::wait::{Again, Wait};
use super::watch::{self, Watch};
use super::{Limit, Sure, in_tenant};
use crate::args;
use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::{Column, cell};

pub(super) const EXAMPLE: &str = "\
Example:
  sortie session mint --agent builder --ttl 15m --label run=42
  sortie session list";

const COLUMNS: [Column; 7] = [
    ("ID", "/id"),
    ("AGENT", "/agent"),
    ("VAULTS", "/vaults"),
    ("LABELS", "/labels"),
    ("CREATED", "/created_at"),
    ("ENDS", "/expires_at"),
    ("REVOKED", "/revoked_at"),
];

/// How many vaults' names are asked for.
const VAULTS_MAX: usize = 1000;

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// Mint a session and print its token, and nothing else
    #[command(
        after_help = "Example:\n  sortie session mint --agent builder --ttl 15m --label run=42"
    )]
    Mint(Box<Wanted>),
    /// List sessions
    #[command(
        after_help = "Examples:\n  sortie session list --agent builder\n  sortie session list --watch"
    )]
    List {
        /// Only this agent's
        #[arg(long)]
        agent: Option<String>,
        /// Those that have ended as well
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        limit: Limit,
    },
    /// Sign a session again, with a later end; prints the new token
    #[command(after_help = "Example:\n  sortie session renew ses_01 --ttl 1h")]
    Renew {
        /// Its id
        session: String,
        /// How long it lasts from now
        #[arg(long, default_value = "1h", value_parser = args::seconds, value_name = "TIME")]
        ttl: u32,
    },
    /// End a session, or many, on all gateways
    #[command(after_help = "Examples:\n  sortie session revoke ses_01 --wait\n  \
                            sortie session revoke --user ada@example.com --yes\n  \
                            sortie session revoke --parent ses_01 --yes")]
    Revoke {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What is revoked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Its id
    session: Option<String>,
    /// All sessions for this person
    #[arg(long)]
    user: Option<String>,
    /// All sessions that came from this one, and from those; not this one itself
    #[arg(long, value_name = "SESSION")]
    parent: Option<String>,
}

/// The session that is wanted.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// The agent; leave it out with an agent's own key
    #[arg(long)]
    agent: Option<String>,
    /// A vault that it may use; may be repeated [default: `SORTIE_VAULT`, the profile's, or `default`]
    #[arg(long)]
    vault: Vec<String>,
    /// How long it lasts, 1m to 7d
    #[arg(long, default_value = "1h", value_parser = args::seconds, value_name = "TIME")]
    ttl: u32,
    /// The person that it is for
    #[arg(long)]
    user: Option<String>,
    /// A label of the run; may be repeated
    #[arg(long, value_parser = args::pair, value_name = "KEY=VALUE")]
    label: Vec<(String, String)>,
    /// Only this service; may be repeated [default: all of its vaults]
    #[arg(long)]
    service: Vec<String>,
    /// Mint nothing if this service cannot be used now; may be repeated
    #[arg(long, value_name = "SERVICE")]
    require: Vec<String>,
    /// Only from this network
    #[arg(long, value_name = "CIDR")]
    source: Option<String>,
    /// The session that it comes from: it has that one's user, and is revoked with what came from it
    #[arg(long, value_name = "SESSION")]
    parent: Option<String>,
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    let client = &context.client;
    match act {
        Act::Mint(wanted) => {
            let path = in_tenant(context, &["sessions"]);
            let minted = client.post(&path, "", &wanted.body(context)).await?;
            print_token(&minted, context)
        }
        Act::List {
            agent,
            all,
            watch,
            limit,
        } => {
            let filter = [
                ("agent", agent.unwrap_or_default()),
                ("include_ended", if all { "true" } else { "" }.to_owned()),
            ];
            let path = in_tenant(context, &["sessions"]);
            let names = vault_names(context).await;
            let ask = async || {
                let mut sessions = client.list(&path, "sessions", &filter, limit.limit).await?;
                sessions.iter_mut().for_each(|it| name_vaults(it, &names));
                Ok(sessions)
            };
            watch::list(&watch, &COLUMNS, context, ask).await
        }
        Act::Renew { session, ttl } => {
            let path = in_tenant(context, &["sessions", &session]);
            let minted = client
                .post(&path, ":renew", &json!({"ttl_seconds": ttl}))
                .await?;
            print_token(&minted, context)
        }
        Act::Revoke { which, wait, sure } => revoke(&which, &wait, &sure, context).await,
    }
}

/// Ends one session without a question, and many behind one.
async fn revoke(which: &Which, wait: &Wait, sure: &Sure, context: &Context) -> Result<()> {
    let mut body = wait.body();
    let (named, said) = match (&which.user, &which.parent, &which.session) {
        (Some(user), ..) => (json!({"user": user}), format!("all sessions of {user}")),
        (None, Some(parent), _) => (
            json!({"parent": parent}),
            format!("all sessions that came from {parent}"),
        ),
        (None, None, session) => {
            let session = session.as_deref().unwrap_or_default();
            let path = in_tenant(context, &["sessions", session]);
            let revoked = context.client.post(&path, ":revoke", &body).await?;
            let sentence = format!("revoked {session}");
            return wait.done(context.out, &revoked, (&sentence, Again::Nothing));
        }
    };
    sure.ask(&format!("end {said}"))?;
    if let (Value::Object(body), Value::Object(named)) = (&mut body, named) {
        body.extend(named);
    }
    let path = in_tenant(context, &["sessions"]);
    let revoked = context.client.post(&path, ":revoke", &body).await?;
    let sentence = format!("revoked {said}");
    wait.done(context.out, &revoked, (&sentence, Again::Sessions))
}

impl Wanted {
    fn body(&self, context: &Context) -> Value {
        let vaults = if self.vault.is_empty() {
            vec![context.vault.clone()]
        } else {
            self.vault.clone()
        };
        let labels: BTreeMap<_, _> = self.label.iter().cloned().collect();
        let agent = self.agent.as_ref().or(context.agent.as_ref());
        json!({
            "agent": agent.cloned().unwrap_or_default(),
            "vaults": vaults,
            "ttl_seconds": self.ttl,
            "user": self.user.clone().unwrap_or_default(),
            "labels": labels,
            "services": self.service,
            "require": self.require,
            "source_cidr": self.source.clone().unwrap_or_default(),
            "parent": self.parent.clone().unwrap_or_default(),
        })
    }
}

/// The names of the tenant's vaults by their ids, for people; programs get ids. A key that may not see vaults sees ids.
async fn vault_names(context: &Context) -> BTreeMap<String, Value> {
    if context.out.is_json() {
        return BTreeMap::new();
    }
    let path = in_tenant(context, &["vaults"]);
    let vaults = context.client.list(&path, "vaults", &[], VAULTS_MAX).await;
    let vaults = vaults.unwrap_or_default().into_iter();
    vaults
        .filter_map(|mut vault| {
            let name = vault.get_mut("name").map(Value::take)?;
            Some((cell(&vault, "/id"), name))
        })
        .collect()
}

fn name_vaults(session: &mut Value, names: &BTreeMap<String, Value>) {
    let vaults = session.get_mut("vaults").and_then(Value::as_array_mut);
    for vault in vaults.into_iter().flatten() {
        if let Some(name) = vault.as_str().and_then(|id| names.get(id)) {
            *vault = name.clone();
        }
    }
}

/// The token alone goes to standard output, so that `$(sortie session mint)` is a token.
fn print_token(minted: &Value, context: &Context) -> Result<()> {
    let token = cell(minted, "/token");
    if token.is_empty() {
        return Err(Error::failed(
            "control's answer holds no token",
            "Is control of the same version?",
        ));
    }
    context.out.note(&format!(
        "session {} until {}",
        cell(minted, "/id"),
        cell(minted, "/expires_at")
    ));
    context.out.done(minted, &token)
}

#[cfg(test)]
mod tests;
