//! `sortie relay`: a small proxy beside the agent that holds the agent's session, renews it, and speaks to the gateway
//! for it. `sortie run` starts one in its own process.
//!
//! Invariants: the token is in no argument and nothing that is printed, and the agent never sees it. The relay listens
//! on this machine alone, but for what the firewall redirects to it. A session that it minted is revoked at its end. It decides nothing: what may be reached is the
//! gateway's to say, inside the tunnel, which is not read here.

mod token;
mod session;
mod folder;
mod gateway;
mod answer;
mod serve;
mod listen;
mod page;
#[cfg(target_os = "linux")]
mod dns;
#[cfg(target_os = "linux")]
mod redirected;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use sortie_proto::secret::Secret;
#[cfg(target_os = "linux")]
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::gateway::{Gateway, Trust};
use self::listen::{Listener, Place, password};
pub(crate) use self::page::Guide;
#[cfg(target_os = "linux")]
pub(crate) use self::redirected::Entrances;
use self::serve::Door;
use self::session::Session;
pub(crate) use self::session::Source;
use self::token::Token;
use crate::args::Connection;
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::run;
use crate::run::plan;
use crate::run::session::{Terms, Wanted};
use crate::tasks::Crew;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie relay --password-file /run/agent/relay.password
  sortie relay --listen unix:/run/agent/relay.sock --vault payments --ttl 15m
  sortie relay --session-file /var/run/sortie/session --no-password
  sortie relay --no-password --redirected 127.0.0.1:7382 --dns 127.0.0.1:7353
  sortie relay --no-password --folder /run/sortie

The agent's HTTPS_PROXY is the relay: http://x:PASSWORD@127.0.0.1:7381. The relay renews the session at half of its
life, and revokes it when it is stopped. `GET /healthz` answers 200 while the session is live, 503 afterwards.";

/// How to listen, and with which session.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    session: Terms,
    /// The gateway, http:// or https:// [default: the profile's, or port 7380 of this machine]
    #[arg(long, env = "SORTIE_PROXY", value_name = "URL")]
    proxy: Option<String>,
    /// The authority of the gateway's certificate, for https:// [default: the system's roots]
    #[arg(long, env = "SORTIE_GATEWAY_CA", value_name = "FILE")]
    gateway_ca: Option<PathBuf>,
    /// Where to listen: 127.0.0.1:PORT (0 is any), or `unix:/PATH` (mode 0600)
    #[arg(long, default_value = "127.0.0.1:7381", value_name = "ADDRESS")]
    listen: Place,
    /// The file of the password that agents show; made if it is not there
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Ask for no password: only where nobody else shares the loopback (a pod, a network namespace)
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    redirected: redirected::Asked,
    /// Write into this folder what an agent beside the relay reads: ca.pem, bundle.pem, trust.p12, environment.sh
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Leave the session as it is at the end
    #[arg(long)]
    keep: bool,
}

/// What a relay is made of.
#[derive(Debug)]
struct Plan {
    /// Where it listens.
    listener: Listener,
    /// Where clients come in that know no proxy.
    #[cfg(target_os = "linux")]
    entrances: Entrances,
    /// What the agent must show.
    password: Option<Secret>,
    /// What it starts with.
    token: Token,
    /// Where newer tokens come from.
    source: Source,
    /// Where requests go.
    gateway: Gateway,
    /// What does it.
    crew: Crew,
}

/// A relay that runs. It ends, with all of its tunnels, when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    crew: Crew,
}

impl Plan {
    /// Starts it.
    fn start(self, out: Output) -> Relay {
        let crew = self.crew;
        let session = Arc::new(Session::new(self.token));
        let gateway = Arc::new(self.gateway);
        let door = Door {
            session: session.clone(),
            gateway: gateway.clone(),
            password: self.password,
            crew: crew.clone(),
            out,
        };
        let holder = session.clone();
        crew.start(session.keep(self.source, async move || {
            if let Ok(authorization) = holder.authorization() {
                gateway.announce(&authorization).await;
            }
        }));
        let door = Arc::new(door);
        #[cfg(target_os = "linux")]
        self.entrances.start(&door, out);
        crew.start(self.listener.serve(door));
        Relay { crew }
    }
}

/// The session of a `sortie run`, and the gateway that it is for.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// The session's first token.
    pub(crate) token: &'a Secret,
    /// Where newer ones come from.
    pub(crate) source: Source,
    /// The gateway's URL.
    pub(crate) proxy: String,
    /// The authority of the gateway's certificate.
    pub(crate) gateway_ca: Option<&'a Path>,
}

impl Run<'_> {
    /// Starts a relay on a port of its own, and says which, and what its password is.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub(crate) async fn beside(self, context: &Context) -> Result<(Relay, String, Secret)> {
        let listener = Listener::open(&Place::any_port()).await?;
        let address = listener.address();
        let (password, same) = listen::passwords();
        let relay = self.plan(listener, Some(password))?.start(context.out);
        Ok((relay, address, same))
    }

    /// Starts a relay that asks nobody for a password: its listener is one that only the command can reach.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    #[cfg(target_os = "linux")]
    pub(crate) fn behind(
        self,
        listener: TcpListener,
        entrances: Entrances,
        context: &Context,
    ) -> Result<Relay> {
        let listener = Listener::Port(listener);
        let mut plan = self.plan(listener, None)?;
        plan.entrances = entrances;
        Ok(plan.start(context.out))
    }

    fn plan(self, listener: Listener, password: Option<Secret>) -> Result<Plan> {
        let crew = Crew::default();
        let trust = || Trust::new(self.gateway_ca);
        Ok(Plan {
            listener,
            #[cfg(target_os = "linux")]
            entrances: Entrances::default(),
            password,
            token: Token::read(self.token)?,
            source: self.source,
            gateway: Gateway::new(&self.proxy, trust, crew.clone())?,
            crew,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.crew.end();
    }
}

/// Runs a relay until it is asked to stop.
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn run(options: Options, connection: Connection, out: Output) -> Result<()> {
    // Before there is a session: a signal in between would leave it.
    let mut stop = Stop::catch()?;
    let password = password_of(&options)?;
    // A file needs no key: where there is one, and no folder to write, only the gateway's address is asked for.
    let context = match options.session.file() {
        Some(_) if options.folder.is_none() => None,
        Some(_) | None => Some(config::connect_for(
            options.session.is_given(),
            connection,
            out,
        )?),
    };
    let wanted = wanted(&options, context.as_ref())?;
    // Before the port is open: whoever waits for that finds the files.
    if let (Some(path), Some(context)) = (&options.folder, &context) {
        let way = (&options.listen, password.as_ref());
        let gateway = plan::Place::of_gateway(options.proxy.clone(), options.gateway_ca.clone());
        Box::pin(folder::write(path, &wanted, (way, gateway), context)).await?;
    }
    let listener = Listener::open(&options.listen).await?;
    let address = listener.address();
    #[cfg(target_os = "linux")]
    let entrances = options.redirected.open().await?;
    let crew = Crew::default();
    let default = context
        .as_ref()
        .map_or(config::PROXY, |context| context.proxy.as_str());
    let url = options.proxy.as_deref().unwrap_or(default);
    let trust = || Trust::new(options.gateway_ca.as_deref());
    let gateway = Gateway::new(url, trust, crew.clone())?;
    let (held, source) = obtain(wanted, context.as_ref(), out).await?;
    announce(out, &held.id, &address, password.as_ref(), &options)?;
    let plan = Plan {
        listener,
        #[cfg(target_os = "linux")]
        entrances,
        password,
        token: Token::read(&held.token)?,
        source,
        gateway,
        crew,
    };
    let relay = plan.start(out);
    stop.wait().await;
    drop(relay);
    if let Some(context) = context.filter(|_| !options.keep) {
        held.revoke(&context).await;
    }
    Ok(())
}

/// The password is printed only where a person reads it.
fn password_of(options: &Options) -> Result<Option<Secret>> {
    use std::io::IsTerminal as _;

    match (&options.listen, &options.password_file) {
        (_, Some(file)) => listen::password_in(file).map(Some),
        (Place::Socket(_), None) => Ok(None),
        (Place::Port(_), None) if options.no_password => Ok(None),
        (Place::Port(_), None) if std::io::stdout().is_terminal() => Ok(Some(password())),
        // It stands in the environment that is written there.
        (Place::Port(_), None) if options.folder.is_some() => Ok(Some(password())),
        (Place::Port(_), None) => Err(Error::Usage(
            "nobody would read the relay's password: name its file with --password-file, or listen at a Unix socket, \
             or pass --no-password where nobody else shares the loopback"
                .to_owned(),
        )),
    }
}

/// Reads what is asked for, once: standard input has no second time.
fn wanted(options: &Options, context: Option<&Context>) -> Result<Wanted> {
    match (options.session.file(), context) {
        (_, Some(context)) => Wanted::read(&options.session, context),
        (Some(path), None) => run::session::Session::of_file(path).map(Wanted::Given),
        (None, None) => Err(Error::Usage("there is no session to hold".to_owned())),
    }
}

async fn obtain(
    wanted: Wanted,
    context: Option<&Context>,
    out: Output,
) -> Result<(run::session::Session, Source)> {
    let held = match (wanted, context) {
        (Wanted::Given(held), _) => held,
        (wanted @ Wanted::Minted { .. }, Some(context)) => wanted.obtain(context).await?,
        (Wanted::Minted { .. }, None) => {
            return Err(Error::Usage("there is no session to hold".to_owned()));
        }
    };
    let source = match (&held.file, context) {
        (Some(path), _) => Source::file(path, out),
        (None, Some(context)) => held.source(context),
        (None, None) => Source::Nobody,
    };
    Ok((held, source))
}

fn announce(
    out: Output,
    session: &str,
    address: &str,
    password: Option<&Secret>,
    options: &Options,
) -> Result<()> {
    let file = options.password_file.as_deref().map(Path::display);
    let told = json!({
        "session": session,
        "listen": address,
        "password_file": file.map(|file| file.to_string()),
    });
    let sentence = match (&options.listen, password, &options.password_file) {
        (Place::Port(_), Some(password), None) => listen::url(address, password),
        (Place::Port(_), Some(_), Some(file)) => {
            format!(
                "http://x:PASSWORD@{address}, the password is in {}",
                file.display()
            )
        }
        (Place::Port(_), None, _) => format!("http://{address}"),
        (Place::Socket(_), ..) => address.to_owned(),
    };
    out.done(&told, &format!("relay of session {session}: {sentence}"))
}

/// The signals that ask a relay to stop.
struct Stop([tokio::signal::unix::Signal; 3]);

impl Stop {
    fn catch() -> Result<Self> {
        let caught = || -> std::io::Result<_> {
            Ok([
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ])
        };
        caught()
            .map(Self)
            .map_err(|source| Error::system("catch signals", source))
    }

    async fn wait(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
