//! `sortie env`: a session and what goes with it, for what is not started by `sortie run`: a shell, a container, a pod.
//!
//! Invariants: a token is in what is printed on standard output, and nowhere else; what that means is said on standard
//! error. The session is not revoked here: it ends by itself, or by `sortie session revoke`. Files stand in a folder
//! that stays, and that nobody else may write to.

mod format;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use self::format::Format;
use crate::config::{self, Context};
use crate::error::Result;
use crate::run::environment::{Composed, exposed};
use crate::run::plan::{Place, Plan};
use crate::run::session::{Session, Terms, Wanted};
use crate::run::tools::{self, Tools};
use crate::run::trust::Folder;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie env --format fish --ttl 8h
  sortie env --format docker --folder /srv/agent/sortie
  sortie env --session token.txt
  sortie env --format kubernetes --name agent-7 --ttl 1d

What it prints holds a session's token. In a shell: eval \"$(sortie env)\".
A container needs the folder at the same path:
docker run --env-file FILE -v FOLDER:FOLDER:ro IMAGE.

docs/run.md has the whole of it.";

/// Where pods find the certificates.
const MOUNT: &str = "/etc/sortie";

/// Which session, for whom, in which form.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    session: Terms,
    #[command(flatten)]
    place: Place,
    /// Who reads it
    #[arg(long, value_enum, default_value = "sh")]
    format: Format,
    /// Where the files go, and stay [default: a folder below ~/.local/state/sortie/env]
    #[arg(long, conflicts_with = "name", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// What the Secret and the `ConfigMap` of a manifest are called
    #[arg(long, default_value = "sortie-agent", value_name = "NAME")]
    name: String,
}

impl Options {
    /// Whether there is a session already, so that no key is needed.
    pub(crate) fn has_session(&self) -> bool {
        self.session.is_given()
    }
}

/// Mints a session, writes the files, prints the environment.
///
/// # Errors
/// As calls of control, of files, and what a format cannot hold.
pub(crate) async fn run(options: Options, context: &Context) -> Result<()> {
    let wanted = Wanted::read(&options.session, context)?;
    let plan = Plan::make(&wanted, options.place, context).await?;
    if options.format == Format::Kubernetes {
        return manifest(&plan, wanted, &options.name, context).await;
    }
    let folder = Folder::lasting(&match options.folder {
        Some(path) => path,
        None => default_folder(&plan, wanted.vaults())?,
    })?;
    let path = folder.path()?.to_owned();
    let tools = plan.tools(&path);
    folder.write(&plan.trust)?;
    tools::write(&tools, &folder)?;
    // A shell has an environment already; what is read from a file starts from nothing.
    let mut ours: Vec<_> = match options.format.is_shell() {
        true => config::variables().collect(),
        false => Vec::new(),
    };
    let control = context.client.host().filter(|_| context.client.has_key());
    if let Some(host) = control.filter(|_| options.format.is_shell()) {
        // The next `sortie` in that shell goes to control, not to the gateway.
        ours.push(("NO_PROXY".into(), host.into()));
    }
    let session = wanted.obtain(context).await?;
    let composed = plan.compose(ours, plan.direct(&session.token), (&path, &tools));
    let variables = texts(&composed);
    let removed: Vec<_> = composed
        .removed
        .iter()
        .map(|gone| gone.name.clone())
        .collect();
    let text = if options.format == Format::Json {
        json(&session, &path, &variables)
    } else {
        format::lines(options.format, &variables, &removed)?
    };
    context.out.line(text.trim_end());
    for note in plan.notes(&composed) {
        context.out.note(&format!("sortie: {note}"));
    }
    tell(&session, context);
    context
        .out
        .note(&format!("sortie: the files that it names are in {path}"));
    Ok(())
}

/// A Secret with the environment, and a `ConfigMap` with the certificates.
async fn manifest(plan: &Plan, wanted: Wanted, name: &str, context: &Context) -> Result<()> {
    let session = wanted.obtain(context).await?;
    // The tools' own files are left out: a ConfigMap has no folders.
    let composed = plan.compose([], plan.direct(&session.token), (MOUNT, &Tools::default()));
    let manifest = format::Manifest {
        name,
        mount: MOUNT,
        ends: &session.ends,
        trust: &plan.trust,
    };
    context
        .out
        .line(manifest.render(&texts(&composed))?.trim_end());
    tell(&session, context);
    Ok(())
}

/// What a shell reads of an environment that starts from nothing.
///
/// # Errors
/// What the format cannot hold.
pub(crate) fn shell(composed: &Composed) -> Result<String> {
    format::lines(Format::Sh, &texts(composed), &[])
}

/// The variables that are set, the token among them.
fn texts(composed: &Composed) -> Vec<(String, String)> {
    let set = composed.set.iter();
    set.map(|(name, value)| (name.clone(), exposed(value)))
        .collect()
}

fn json(session: &Session, folder: &str, variables: &[(String, String)]) -> String {
    let environment: Map<_, _> = variables
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let answer = json!({
        "session": session.id,
        "expires_at": session.ends,
        "folder": folder,
        "environment": environment,
    });
    format!("{answer:#}")
}

fn tell(session: &Session, context: &Context) {
    context.out.note(&format!(
        "sortie: whoever reads this output is session {} until {}; `sortie session revoke {}` ends it",
        session.id, session.ends, session.id
    ));
}

/// A folder for each authority and choice of vaults: two environments that differ do not write over each other.
fn default_folder(plan: &Plan, vaults: &[String]) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(plan.trust.authority.as_bytes());
    for vault in vaults {
        hash.update([0]);
        hash.update(vault.as_bytes());
    }
    let start: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(config::state_folder()?.join("env").join(start))
}
