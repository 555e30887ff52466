//! `sortie run -- CMD`: a command behind the gateway, with a session of its own that ends with it.
//!
//! Invariants: the command holds a session token and placeholders, no credential and no key of Sortie. The folder with
//! the certificates is private and goes when the command has ended; the session is revoked then.
//! Deliberately not here: renewing (a process cannot be given a new environment), and confinement: a command that
//! ignores the proxy reaches what the machine reaches, without credentials.

mod child;
mod environment;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use sortie_proto::secret::Secret;

use self::environment::Surroundings;
use crate::args;
use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::cell;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie run -- curl https://api.github.com/user
  sortie run --vault payments --ttl 8h --label run=42 -- python3 agent.py

The command finds the gateway in HTTPS_PROXY, what to trust in SSL_CERT_FILE and the like, and a placeholder for each
credential of the vault in a variable of the credential's name. Its exit code is that of `sortie run`.";

/// How many credentials of a vault become variables; more would crowd the environment.
const PLACEHOLDERS_MAX: usize = 1000;

/// What to run, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A vault that it may use; may be repeated [default: `SORTIE_VAULT`, the profile's, or `default`]
    #[arg(long)]
    vault: Vec<String>,
    /// The agent [default: the profile's, or the one whose key it is]
    #[arg(long)]
    agent: Option<String>,
    /// How long the session lasts at most
    #[arg(long, default_value = "1h", value_parser = args::seconds, value_name = "TIME")]
    ttl: u32,
    /// A label of the run; may be repeated
    #[arg(long, value_parser = args::pair, value_name = "KEY=VALUE")]
    label: Vec<(String, String)>,
    /// The gateway [default: the profile's, or port 7380 of this machine]
    #[arg(long, env = "SORTIE_PROXY", value_name = "URL")]
    proxy: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command and answers with its exit code.
///
/// # Errors
/// Whatever keeps the command from being started.
pub(crate) async fn run(options: Options, context: &Context) -> Result<ExitCode> {
    let vaults = if options.vault.is_empty() {
        vec![context.vault.clone()]
    } else {
        options.vault.clone()
    };
    let path = ["tenants", &context.tenant, "authority"];
    let authority = context.client.text(&path, "application/x-pem-file").await?;
    let placeholders = placeholders(&vaults, context).await?;
    let folder = trust::Folder::make(&authority)?;
    let session = mint(&options, &vaults, context).await?;

    let proxy = options.proxy.as_deref().unwrap_or(&context.proxy);
    let ended = match environment::proxy_url(proxy, &session.token) {
        Ok(proxy) => {
            let surroundings = Surroundings {
                proxy,
                folder: &folder,
                placeholders,
            };
            child::run(&options.command, &surroundings).await
        }
        Err(error) => Err(error),
    };
    revoke(&session.id, context).await;
    drop(folder);
    ended
}

struct Session {
    id: String,
    token: Secret,
}

async fn mint(options: &Options, vaults: &[String], context: &Context) -> Result<Session> {
    let labels: std::collections::BTreeMap<_, _> = options.label.iter().cloned().collect();
    let agent = options.agent.as_ref().or(context.agent.as_ref());
    let body = json!({
        "agent": agent.cloned().unwrap_or_default(),
        "vaults": vaults,
        "ttl_seconds": options.ttl,
        "labels": labels,
    });
    let path = ["tenants", &context.tenant, "sessions"];
    let minted = context.client.post(&path, "", &body).await?;
    match minted.get("token").and_then(Value::as_str) {
        Some(token) if !token.is_empty() => Ok(Session {
            id: cell(&minted, "/id"),
            token: Secret::new(token.as_bytes().to_vec()),
        }),
        _ => Err(Error::failed(
            "control's answer holds no token",
            "Is control of the same version?",
        )),
    }
}

/// The vaults' credentials as (name, placeholder). A key that may not list them gets none: the command still runs, with
/// whatever services inject unasked.
async fn placeholders(vaults: &[String], context: &Context) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for vault in vaults {
        let path = ["tenants", &context.tenant, "vaults", vault, "credentials"];
        let listed = context
            .client
            .list(&path, "credentials", &[], PLACEHOLDERS_MAX)
            .await;
        let credentials = match listed {
            Ok(credentials) => credentials,
            Err(error) if error.is_denied() => continue,
            Err(error) => return Err(error),
        };
        for credential in &credentials {
            let name = cell(credential, "/name");
            // Vaults are searched in order, so the first one's credential is the one that is meant.
            if !found.iter().any(|(other, _)| *other == name) {
                found.push((name, cell(credential, "/placeholder")));
            }
        }
    }
    Ok(found)
}

async fn revoke(session: &str, context: &Context) {
    let path = ["tenants", &context.tenant, "sessions", session];
    if let Err(error) = context.client.post(&path, ":revoke", &json!({})).await
        && !error.is_not_found()
    {
        context.out.note(&format!(
            "sortie: session {session} was not revoked; it ends by itself"
        ));
        context.out.error(&error);
    }
}
