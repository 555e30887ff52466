//! `sortie doctor`: why an agent's traffic does not go through Sortie, and how to make it.
//!
//! It works in two places. Inside, as a command behind Sortie, it has nothing but the environment that it is started
//! with. Outside, with a key, it looks at control first and then starts itself inside with `run`, so that what it
//! examines is what a command of `sortie run` gets, and not a copy of it.
//!
//! Invariants: nothing is changed, and every wait has an end. What is told has no token, password or key in it.
//! Deliberately not here: repairing. A fix is a command that a person reads before it is run.

mod bundle;
mod clock;
mod control;
mod environment;
mod files;
mod finding;
mod gateway;
mod runtimes;
mod sandbox;
mod variables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use sortie_proto::host::HostPattern;

use self::bundle::Bundle;
use self::control::Handed;
use self::environment::{Environment, Named, Times};
use self::finding::Finding;
use crate::args::{self, Connection};
use crate::certificate;
use crate::config;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::run;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie doctor                                  with a session of its own, as `sortie run` would mint it
  sortie run -- sortie doctor                    as a command behind Sortie sees it; no key is needed
  sortie doctor --session token.txt              with a session that is there; no key is needed
  sortie doctor --url https://api.github.com     with a request to this URL
  sortie run -- sortie doctor --sandbox          what is closed from there, and what is not
  sortie doctor --output json

Exit codes: 0 all is well (or warnings only), 1 there is a fault.";

/// The gateway answers this one itself. It is no page, so that the answer is a refusal: they all carry the mark.
const OWN_URL: &str = "https://sortie.internal/doctor/";
/// What the gateway says that a session can reach.
const SERVICES_URL: &str = "https://sortie.internal/services";
/// Whose address nothing but the gateway knows.
const OWN_HOST: &str = "sortie.internal";

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Make the requests to this URL; any answer counts [default: a page of the gateway's own]
    #[arg(long, value_name = "URL", value_parser = web_url)]
    url: Option<Url>,
    /// Take the environment as it is, as a command behind Sortie has it [default: found out]
    #[arg(long)]
    inside: bool,
    /// Prove what is closed from here, instead: direct TCP, UDP, DNS, IPv6, metadata, SSH, other ports
    #[arg(long, conflicts_with = "url")]
    sandbox: bool,
    /// Another address that must be closed, e.g. the machine around the sandbox; may be repeated
    #[arg(long, requires = "sandbox", value_name = "ADDRESS:PORT")]
    also: Vec<SocketAddr>,
    /// How long each runtime may take, compiling included
    #[arg(long, default_value = "2m", value_parser = args::seconds, value_name = "TIME")]
    timeout: u32,
    /// A vault that the session may use; may be repeated [default: as `sortie run`]
    #[arg(long)]
    vault: Vec<String>,
    /// Use the session whose token stands in this file, as `sortie run` does; no key is needed then
    #[arg(long, value_name = "TOKEN-FILE", conflicts_with = "vault")]
    session: Option<PathBuf>,
    /// The folder in which one that started us left what it knows, and looks for what we found
    #[arg(long, hide = true)]
    handed: Option<PathBuf>,
}

fn web_url(text: &str) -> std::result::Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("write https://HOST/PATH".to_owned()),
    }
}

/// Looks, tells, and answers with the exit code.
///
/// # Errors
/// What keeps it from looking at all, e.g. a profile that cannot be read.
pub(crate) async fn run(options: Options, connection: Connection, out: Output) -> Result<ExitCode> {
    let environment = Environment::new(config::variables());
    let named = environment::proxy(&environment).map(|(_, named)| named);
    if options.handed.is_none() {
        out.progress("looking: what is asked in vain, or compiles, takes a while");
    }
    let findings = if options.sandbox {
        sandbox::check(&environment, named.as_ref(), &options.also).await
    } else if let Some(folder) = &options.handed {
        let handed = Handed::read(folder)?;
        let found = examine(&environment, &options, &handed.brokered).await?;
        handed.answer(folder, &found)?;
        found
    } else if options.inside || looks_inside(&environment, named.as_ref()) {
        examine(&environment, &options, &[]).await?
    } else {
        match config::connect_for(has_session(&options), connection, out) {
            Ok(context) => Box::pin(control::check(&context, &options)).await?,
            Err(error) => without_key(&error, &environment, &options).await?,
        }
    };
    if options.handed.is_none() {
        finding::print(&findings, out)?;
    }
    Ok(match finding::faults(&findings) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Whether there is a session to try, so that no key is needed.
fn has_session(options: &Options) -> bool {
    let in_environment = run::session::of_environment().is_some();
    options.session.is_some() || (options.vault.is_empty() && in_environment)
}

/// Whether this is a command behind Sortie: a proxy is set, with a session in it or beside a bundle of Sortie's.
fn looks_inside(environment: &Environment, named: Option<&Named>) -> bool {
    named.is_some_and(|named| {
        named.token().is_some()
            || variables::bundle(environment, &holds).is_some_and(|(_, file)| holds(file))
    })
}

fn holds(file: &str) -> bool {
    certificate::holds_authority(Path::new(file))
}

/// There is nobody to ask for a session, so what is here must do.
async fn without_key(
    error: &Error,
    environment: &Environment,
    options: &Options,
) -> Result<Vec<Finding>> {
    let mut found = vec![control::failed("key", error)];
    found.extend(examine(environment, options, &[]).await?);
    Ok(found)
}

/// Everything that can be seen from inside.
async fn examine(
    environment: &Environment,
    options: &Options,
    brokered: &[HostPattern],
) -> Result<Vec<Finding>> {
    let is_own = options.url.is_none();
    let url = match &options.url {
        Some(url) => url.clone(),
        None => own_url(OWN_URL)?,
    };
    let (bundle, told) = read_bundle(environment);
    let named = environment::proxy(environment).map(|(_, named)| named);
    let mut probe = match &named {
        Some(named) => Box::pin(gateway::probe(named, &bundle, &url, is_own)).await,
        None => gateway::Probe::default(),
    };
    let mut brokered = brokered.to_vec();
    if let Some(named) = named
        .as_ref()
        .filter(|_| brokered.is_empty() && probe.is_open)
    {
        let page = own_url(SERVICES_URL)?;
        brokered = Box::pin(gateway::brokered(named, &bundle, &page)).await;
    }
    let targets = [OWN_HOST, url.host_str().unwrap_or(OWN_HOST)];
    let targets = targets.iter();
    brokered.extend(targets.filter_map(|host| HostPattern::parse(host).ok()));

    let known = variables::Known {
        trusts: &holds,
        brokered: &brokered,
    };
    let mut found = variables::check(environment, &known);
    found.extend(told);
    let meant = files::Meant {
        proxy: named.as_ref(),
        trusts: certificate::holds_authority,
    };
    found.extend(files::check(environment, &meant).await);
    found.extend(named.iter().flat_map(|named| clocks(named, &probe)));
    found.append(&mut probe.findings);
    if !probe.is_open {
        let why = match named {
            Some(_) => "no way through the gateway, see above",
            None => "there is no proxy to go through",
        };
        found.extend(runtimes::skipped(environment, why));
        return Ok(found);
    }
    let request = runtimes::Request {
        url: &url,
        is_own,
        time: Duration::from_secs(u64::from(options.timeout)),
        bundle: variables::bundle(environment, &holds)
            .filter(|_| !bundle.authorities.is_empty())
            .map(|(name, _)| name),
    };
    found.extend(Box::pin(runtimes::check(environment, &request)).await?);
    Ok(found)
}

fn own_url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Error::Usage(error.to_string()))
}

/// The bundle that the variables name; where they name none, another check tells.
fn read_bundle(environment: &Environment) -> (Bundle, Option<Finding>) {
    let Some((_, file)) = variables::bundle(environment, &holds) else {
        return (Bundle::default(), None);
    };
    let (bundle, finding) = bundle::check(Path::new(file), clock::now());
    (bundle, Some(finding))
}

fn clocks(named: &Named, probe: &gateway::Probe) -> Vec<Finding> {
    let now = clock::now();
    let by_date = probe
        .date
        .as_ref()
        .map(|date| clock::against_date(now, date, "the answer"));
    let by_token = named
        .token()
        .and_then(Times::read)
        .and_then(|times| clock::against_token(now, times, probe.is_accepted));
    by_token.or(by_date).into_iter().collect()
}

#[cfg(test)]
mod tests;
