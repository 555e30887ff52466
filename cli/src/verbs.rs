//! The verbs of administration, one file a noun. Each is one call of REST and one way to print its answer.
//!
//! Deliberately thin: control decides what is right, so nothing is checked here that it checks.

mod tenant;
mod gateway;
mod vault;
mod credential;
mod service;
mod agent;
mod grant;
mod session;
mod audit;
mod limits;
mod wait;
mod watch;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use sortie_proto::catalog::Bundle;
use sortie_proto::secret::Secret;

use crate::config::Context;
use crate::error::{Error, Result};
use crate::output;

pub(crate) use self::service::suggest;

/// What can be administered.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Tenants (for operators)
    #[command(subcommand, after_help = tenant::EXAMPLE)]
    Tenant(tenant::Act),
    /// Gateways (for operators)
    #[command(subcommand, after_help = gateway::EXAMPLE)]
    Gateway(gateway::Act),
    /// Vaults: boundaries that hold credentials and services
    #[command(subcommand, after_help = vault::EXAMPLE)]
    Vault(vault::Act),
    /// Credentials: they go in and never come out
    #[command(subcommand, after_help = credential::EXAMPLE)]
    Credential(credential::Act),
    /// Services: where agents may go, and how they are authenticated there
    #[command(subcommand, after_help = service::EXAMPLE)]
    Service(service::Act),
    /// Agents: identities of machines
    #[command(subcommand, after_help = agent::EXAMPLE)]
    Agent(agent::Act),
    /// Grants: which agent may use which vault
    #[command(subcommand, after_help = grant::EXAMPLE)]
    Grant(grant::Act),
    /// Sessions: what one run of an agent gets
    #[command(subcommand, after_help = session::EXAMPLE)]
    Session(session::Act),
    /// The audit log: every use of a credential, and every act of an admin
    #[command(subcommand, after_help = audit::EXAMPLE)]
    Audit(audit::Act),
}

/// Does one.
///
/// # Errors
/// Whatever control or the arguments object to.
pub(crate) async fn run(verb: Verb, context: &Context) -> Result<()> {
    match verb {
        Verb::Tenant(act) => tenant::run(act, context).await,
        Verb::Gateway(act) => gateway::run(act, context).await,
        Verb::Vault(act) => vault::run(act, context).await,
        Verb::Credential(act) => credential::run(act, context).await,
        Verb::Service(act) => service::run(act, context).await,
        Verb::Agent(act) => agent::run(act, context).await,
        Verb::Grant(act) => grant::run(act, context).await,
        Verb::Session(act) => session::run(act, context).await,
        Verb::Audit(act) => audit::run(act, context).await,
    }
}

/// Which vault; every verb on what a vault holds takes it.
#[derive(Debug, Args)]
pub(crate) struct InVault {
    /// The vault, by id or name [default: `SORTIE_VAULT`, the profile's, or `default`]
    #[arg(long, value_name = "VAULT")]
    vault: Option<String>,
}

impl InVault {
    /// The vault that is meant.
    pub(crate) fn name<'a>(&'a self, context: &'a Context) -> &'a str {
        self.vault.as_deref().unwrap_or(&context.vault)
    }
}

/// The body of a change: what was named, of all that can be.
///
/// # Errors
/// [`Error::Usage`] if it is nothing.
fn settings<const N: usize>(fields: [(&str, Option<Value>); N]) -> Result<Value> {
    let named = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let body: Map<_, _> = named.collect();
    if body.is_empty() {
        return Err(Error::Usage("nothing to change was named".to_owned()));
    }
    Ok(Value::Object(body))
}

/// How much of a list is wanted.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// How many at most
    #[arg(long, default_value_t = 500, value_name = "COUNT")]
    limit: usize,
}

/// Whether to ask before something is lost.
#[derive(Debug, Args)]
pub(crate) struct Sure {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Sure {
    /// Of somebody who was asked already.
    #[cfg(test)]
    pub(crate) const fn yes() -> Self {
        Self { yes: true }
    }

    /// Asks, where there is somebody to ask.
    ///
    /// # Errors
    /// [`Error::Usage`] without a terminal and without `--yes`, and [`Error::Failed`] if the answer is no.
    pub(crate) fn ask(&self, what: &str) -> Result<()> {
        use std::io::IsTerminal as _;

        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::Usage(format!(
                "{what}: there is no terminal to ask; pass --yes"
            )));
        }
        let mut answer = String::new();
        output::prompt(&format!("{what}? [y/N] "));
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|source| Error::system("ask", source))?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Error::failed(
            "nothing was changed",
            "Answer `y`, or pass --yes.",
        ))
    }
}

/// Does it, if it needs no control: what the catalog says is known without.
pub(crate) fn run_alone(verb: &Verb, out: output::Output) -> Option<Result<()>> {
    match verb {
        Verb::Service(act) => service::run_alone(act, out),
        Verb::Tenant(_)
        | Verb::Gateway(_)
        | Verb::Vault(_)
        | Verb::Credential(_)
        | Verb::Agent(_)
        | Verb::Grant(_)
        | Verb::Session(_)
        | Verb::Audit(_) => None,
    }
}

/// The body that sets a credential to a value.
pub(crate) fn credential_body(
    value: &Secret,
    destinations: &[Value],
    placeholder: Option<&str>,
) -> Value {
    credential::body(value, destinations, placeholder)
}

/// Where a credential of a bundle may be sent.
pub(crate) fn bundle_destinations(bundle: &Bundle, credential: &str) -> Vec<Value> {
    service::destinations(bundle, credential)
}

/// Reads `HOST` or `HOST:PORT`.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn destination(text: &str) -> std::result::Result<Value, String> {
    credential::destination(text)
}

/// The path of what a vault holds.
pub(crate) fn in_vault<'a>(context: &'a Context, vault: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let mut path = vec!["tenants", context.tenant.as_str(), "vaults", vault];
    path.extend(rest);
    path
}

/// The path of what a tenant holds.
pub(crate) fn in_tenant<'a>(context: &'a Context, rest: &[&'a str]) -> Vec<&'a str> {
    let mut path = vec!["tenants", context.tenant.as_str()];
    path.extend(rest);
    path
}
