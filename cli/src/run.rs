//! `sortie run -- CMD`: a command behind the gateway, with a session of its own that ends with it.
//!
//! Invariants: the command holds placeholders and the password of a relay in this process, no credential and no key of
//! Sortie. The folder with the certificates is private and goes when the command has ended; the session is revoked then.
//! Standard input and output are the command's alone: what is said here goes to standard error. A command that ignores
//! the proxy reaches what the machine reaches, without credentials, unless it is isolated.
//!
//! Suggested reading order: [`plan`], [`session`], [`environment`], [`child`], [`summary`]; then `isolate`.

pub(crate) mod plan;
pub(crate) mod session;
mod origin;
pub(crate) mod trust;
pub(crate) mod environment;
mod vault;
pub(crate) mod tools;
pub(crate) mod shape;
mod git;
mod child;
#[cfg(target_os = "linux")]
pub(crate) mod isolate;
mod summary;

use std::ffi::OsString;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use sortie_proto::environment::Proxy;
use sortie_proto::secret::Secret;

use self::environment::{Composed, Way};
use self::plan::{Place, Plan};
use self::session::{Session, Terms, Wanted};
use self::tools::Tools;
use self::trust::Folder;
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::relay;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie run -- curl https://api.github.com/user
  sortie run --vault payments --ttl 8h --label run=42 -- python3 agent.py
  sortie run --print -- claude
  sortie run --quiet -- npx -y @modelcontextprotocol/server-github
  sortie run --isolate -- python3 agent.py
  sortie run --isolate --redirect -- python3 agent.py
  sortie run --session token.txt --proxy https://gateway.example.com:7380 -- python3 agent.py
  sortie run --isolate=container --image python:3.13-slim -- python3 agent.py

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
    #[command(flatten)]
    reach: Reach,
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

/// How the command gets to the gateway, and what else it reaches.
#[derive(Debug, Args)]
struct Reach {
    /// Give the command the token itself, which ends after `--ttl`, and no relay that renews it
    #[arg(long)]
    no_relay: bool,
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    isolation: isolate::Options,
}

impl Reach {
    /// The command's proxy, with words in the place of what is made later.
    fn shown(&self, plan: &Plan) -> Result<(Proxy, Option<Secret>)> {
        let word = |text: &str| Some(Secret::new(text.as_bytes().to_vec()));
        #[cfg(target_os = "linux")]
        if self.isolation.is_wanted() {
            return Ok((isolate::proxy()?, None));
        }
        if self.no_relay {
            return Ok((plan.proxy().clone(), word("TOKEN")));
        }
        Ok((parse("127.0.0.1:0")?, word("PASSWORD")))
    }
}

impl Options {
    /// Whether there is a session already, so that no key is needed.
    pub(crate) fn has_session(&self) -> bool {
        self.session.is_given()
    }
}

/// Runs the command and answers with its exit code.
///
/// # Errors
/// Whatever keeps the command from being started.
pub(crate) async fn run(options: Options, context: &Context) -> Result<ExitCode> {
    let wanted = Wanted::read(&options.session, context)?;
    // Before there is a session: what cannot be isolated needs none.
    #[cfg(target_os = "linux")]
    let isolation = options
        .reach
        .isolation
        .prepare(options.session.file())
        .await?;
    let plan = Plan::make(&wanted, options.place, context).await?;
    #[cfg(target_os = "linux")]
    let plan = match &isolation {
        Some(isolation) if isolation.is_container() => plan.for_container(),
        _ => plan,
    };
    if options.print {
        let (proxy, password) = options.reach.shown(&plan)?;
        let way = Way {
            proxy: &proxy,
            password: password.as_ref(),
        };
        let command = options.command.clone();
        #[cfg(target_os = "linux")]
        let command = match &isolation {
            Some(isolation) => isolation.shown(plan::FOLDER, command)?,
            None => command,
        };
        plan.print(&wanted, &command, way, context)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = Folder::temporary()?;
    let path = folder.path()?.to_owned();
    let tools = plan.tools(&path);
    folder.write(&plan.trust)?;
    tools::write(&tools, &folder)?;

    let session = wanted.obtain(context).await?;
    let command = Prepared {
        plan: &plan,
        files: (&path, &tools),
        command: &options.command,
        #[cfg(target_os = "linux")]
        isolation: isolation.as_ref(),
    };
    let started = Timestamp::now();
    let ended = Box::pin(command.run(&session, &options.reach, context)).await;
    session.revoke(context).await;
    folder.close();
    if !options.quiet && ended.is_ok() && context.client.has_key() {
        summarise(&session, started, context).await;
    }
    ended
}

/// A command with all that it needs but its way to the gateway.
struct Prepared<'a> {
    plan: &'a Plan,
    /// Where the certificates are, and what stands beside them.
    files: (&'a str, &'a Tools),
    command: &'a [OsString],
    #[cfg(target_os = "linux")]
    isolation: Option<&'a isolate::Isolation>,
}

impl Prepared<'_> {
    /// Runs it alone with a relay, beside one, or with the token itself.
    async fn run(&self, session: &Session, reach: &Reach, context: &Context) -> Result<ExitCode> {
        let proxy = self.plan.proxy();
        let way = relay::Run {
            token: &session.token,
            source: session.source(context),
            proxy: proxy.to_string(),
            gateway_ca: self.plan.gateway_ca(),
        };
        #[cfg(target_os = "linux")]
        if let Some(isolation) = self.isolation {
            let composed = self.compose(&isolate::proxy()?, None, context);
            let command = (self.command, composed.all());
            let folder = Path::new(self.files.0);
            let inside = (folder, self.plan.ports());
            return Box::pin(isolation.run(command, way, inside, context)).await;
        }
        if reach.no_relay {
            let composed = self.compose(proxy, Some(&session.token), context);
            return child::run(self.command, composed.all()).await;
        }
        let (_relay, address, password) = Box::pin(way.beside(context)).await?;
        let composed = self.compose(&parse(&address)?, Some(&password), context);
        child::run(self.command, composed.all()).await
    }

    fn compose(&self, proxy: &Proxy, password: Option<&Secret>, context: &Context) -> Composed {
        let way = Way { proxy, password };
        let composed = self.plan.compose(config::variables(), way, self.files);
        for note in self.plan.notes(&composed) {
            context.out.note(&format!("sortie: {note}"));
        }
        composed
    }
}

/// The URL of a relay.
fn parse(address: &str) -> Result<Proxy> {
    Proxy::parse(&format!("http://{address}")).map_err(|error| Error::Config(error.to_string()))
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
