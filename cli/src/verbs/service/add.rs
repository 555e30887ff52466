//! `sortie service add`: a bundle or a pack of the catalog goes into a vault, whole, and again without harm.
//!
//! Invariants: nothing of a bundle is written before all that it needs has been asked for. A service that differs from
//! the catalog's was meant so by somebody and is replaced only on demand. A pack never takes requests from a service
//! that injects, or from one that is switched off: what it would take is left out, and said.

mod files;
mod plan;

use clap::Args;
use serde_json::{Value, json};
use sortie_proto::catalog::{self, Needed};

use self::files::Files;
pub(in crate::verbs) use self::plan::destinations;
use self::plan::{Held, Step, bundle_steps, pack_steps, text};
use super::shelf;
use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::Column;
use crate::verbs::{InVault, credential, in_vault};

pub(super) const EXAMPLE: &str = "\
Examples:
  sortie service add github
  sortie service add openai --credential-file openai.key --vault payments
  sortie service add pack:npm pack:github-read

`sortie service catalog` lists what there is. A credential that the vault has is kept; one that it lacks
is asked for, or read from standard input where there is no terminal. Several files need names:
`--credential-file DD_API_KEY=api.key --credential-file DD_APP_KEY=app.key`.";

const COLUMNS: [Column; 4] = [
    ("KIND", "/kind"),
    ("NAME", "/name"),
    ("HOST", "/hosts"),
    ("RESULT", "/result"),
];

/// The most objects of a kind that a vault holds.
const PER_VAULT_MAX: usize = 1000;

/// What to add.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bundles, and packs as `pack:NAME`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Read a credential from a file; with several, say which: NAME=FILE
    #[arg(long, value_name = "[NAME=]FILE")]
    credential_file: Vec<String>,
    /// Give credentials that the vault has already a new value
    #[arg(long)]
    renew: bool,
    /// Replace services of the same name that differ
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    vault: InVault,
}

pub(super) async fn run(options: &Options, context: &Context) -> Result<()> {
    let mut rows = Vec::new();
    let files = Files::read(&options.credential_file)?;
    for name in &options.names {
        let held = held(options, context).await?;
        let steps = if name.starts_with("pack:") {
            let pack = catalog::find_pack(name).ok_or_else(|| shelf::unknown(name))?;
            pack_steps(&pack.name, &pack.services, &held, options.replace)?
        } else {
            let bundle = catalog::find(name).ok_or_else(|| unknown(name))?;
            bundle_steps(bundle, &held, options, &files)?
        };
        for step in steps {
            rows.push(take(step, options, context).await?);
        }
    }
    files.all_used()?;
    context.out.list(&rows, &COLUMNS)?;
    tell(options, context);
    Ok(())
}

/// A pack's name without `pack:` is a likely slip.
fn unknown(name: &str) -> Error {
    match catalog::find_pack(name) {
        Some(pack) => Error::failed(
            format!("the catalog has no bundle `{name}`"),
            format!(
                "There is a pack of that name: `sortie service add pack:{}`.",
                pack.name
            ),
        ),
        None => shelf::unknown(name),
    }
}

async fn held(options: &Options, context: &Context) -> Result<Held> {
    let vault = options.vault.name(context);
    let list = async |kind: &str| {
        let path = in_vault(context, vault, &[kind]);
        context.client.list(&path, kind, &[], PER_VAULT_MAX).await
    };
    Ok(Held {
        services: list("services").await?,
        credentials: list("credentials").await?,
    })
}

// === Doing it ===

async fn take(step: Step, options: &Options, context: &Context) -> Result<Value> {
    let (client, vault) = (&context.client, options.vault.name(context));
    let row = |kind: &str, name: &str, hosts: Vec<String>, result: &str| json!({"kind": kind, "name": name, "hosts": hosts, "result": result});
    Ok(match step {
        Step::Keep {
            kind,
            name,
            hosts,
            why,
        } => row(kind, &name, hosts, &why),
        Step::Remove { name, why } => {
            match client
                .delete(&in_vault(context, vault, &["services", &name]))
                .await
            {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => row("service", &name, Vec::new(), &why),
            }
        }
        Step::Service { entry, is_new } => {
            let path = in_vault(context, vault, &["services", &entry.name]);
            client.put(&path, &entry.body()).await?;
            let result = if is_new { "added" } else { "replaced" };
            row("service", &entry.name, vec![entry.host.to_string()], result)
        }
        Step::Credential { needed, to, value } => {
            let path = in_vault(context, vault, &["credentials", &needed.name]);
            let body = credential::body(&value, &to, Some(&needed.placeholder));
            let set = client.put(&path, &body).await?;
            let version = set.get("version").and_then(Value::as_u64).unwrap_or(1);
            let hosts = to.iter().map(|place| text(place, "/host")).collect();
            let result = if version > 1 { "renewed" } else { "added" };
            row("credential", &needed.name, hosts, result)
        }
    })
}

/// What the agent finds, and what the vendor asks: no part of the answer.
fn tell(options: &Options, context: &Context) {
    let out = context.out;
    for bundle in options.names.iter().filter_map(|name| catalog::find(name)) {
        let variables = bundle.credentials.iter().flat_map(Needed::all_variables);
        let variables: Vec<_> = variables.collect();
        if !variables.is_empty() {
            out.note(&format!(
                "{}: `sortie run` puts a placeholder into {}",
                bundle.name,
                variables.first().copied().unwrap_or_default()
            ));
        }
        if let Some(terms) = &bundle.terms {
            out.note(&format!("{}: {terms}", bundle.name));
        }
    }
}
