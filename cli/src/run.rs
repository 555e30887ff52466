//! `sortie run -- CMD`: a command behind the gateway, with a session of its own that ends with it.
//!
//! Invariants: the command holds a session token and placeholders, no credential and no key of Sortie. The folder with
//! the certificates is private and goes when the command has ended; the session is revoked then. Standard input and
//! output are the command's alone: what is said here goes to standard error.
//! Deliberately not here: renewing (a process cannot be given a new environment), and confinement: a command that
//! ignores the proxy reaches what the machine reaches, without credentials.
//!
//! Suggested reading order: [`plan`], [`session`], [`environment`], [`child`], [`summary`].

pub(crate) mod plan;
pub(crate) mod session;
pub(crate) mod trust;
pub(crate) mod environment;
mod vault;
pub(crate) mod tools;
pub(crate) mod shape;
mod git;
mod child;
mod summary;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use self::plan::{Place, Plan};
use self::session::{Session, Terms, Wanted};
use self::trust::Folder;
use crate::config::{self, Context};
use crate::error::Result;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie run -- curl https://api.github.com/user
  sortie run --vault payments --ttl 8h --label run=42 -- python3 agent.py
  sortie run --print -- claude
  sortie run --quiet -- npx -y @modelcontextprotocol/server-github

The command finds the gateway in HTTPS_PROXY, what to trust in SSL_CERT_FILE and the like, and a placeholder for each \
credential of the vault in a variable of the credential's name. Other secrets that stand in the environment are left \
out. Standard input and output are the command's alone, so an MCP server can be started so. When it has ended, what \
was brokered, passed and refused is listed on standard error. Its exit code is that of `sortie run`.

docs/run.md has the whole of it.";

/// How long control may take to say what happened.
const SUMMARY_TIMEOUT: Duration = Duration::from_secs(5);

/// What to run, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    session: Terms,
    #[command(flatten)]
    place: Place,
    /// Show what would be done, and do nothing
    #[arg(long)]
    print: bool,
    /// Do not list what happened
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command and answers with its exit code.
///
/// # Errors
/// Whatever keeps the command from being started.
pub(crate) async fn run(options: Options, context: &Context) -> Result<ExitCode> {
    let wanted = Wanted::read(&options.session, context)?;
    let plan = Plan::make(&wanted, options.place, context).await?;
    if options.print {
        plan.print(&wanted, &options.command, context)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = Folder::temporary()?;
    let path = folder.path()?.to_owned();
    let tools = plan.tools(&path);
    folder.write(&plan.trust)?;
    tools.write(&folder)?;

    let session = wanted.obtain(context).await?;
    let composed = plan.compose(
        config::variables(),
        plan.direct(&session.token),
        (&path, &tools),
    );
    for note in plan.notes(&composed) {
        context.out.note(&format!("sortie: {note}"));
    }
    let started = Timestamp::now();
    let ended = child::run(&options.command, composed.all()).await;
    session.revoke(context).await;
    folder.close();
    if !options.quiet && ended.is_ok() {
        summarise(&session, started, context).await;
    }
    ended
}

/// Says what happened. That it cannot be said is no failure of the command.
async fn summarise(session: &Session, started: Timestamp, context: &Context) {
    let vault = match session.vaults.first() {
        Some(vault) if *vault != context.vault => vault.as_str(),
        _ => "",
    };
    // A session of somebody else's may have been used before, and is used by others now.
    let since = (!session.is_ours).then_some(started);
    let reading = summary::read(&session.id, since, vault, context);
    match tokio::time::timeout(SUMMARY_TIMEOUT, reading).await {
        Ok(Ok(summary)) => summary.print(context),
        Ok(Err(error)) if error.is_denied() => context.out.note(
            "sortie: this key may not read the audit log, so what happened is not listed (--quiet leaves this out)",
        ),
        Ok(Err(error)) => {
            context.out.note("sortie: what happened cannot be listed");
            context.out.error(&error);
        }
        Err(_elapsed) => context.out.note(&format!(
            "sortie: control does not say what happened; later: sortie audit list --session {}",
            session.id
        )),
    }
}
