//! Each runtime that is here, really used: one request through the gateway with its own HTTP client, and what its
//! failure means.
//!
//! Invariants: at most [`AT_ONCE`] run at a time, each in a process group of its own that is killed when its time is up
//! or when nobody waits for it any more. What they print is told with tokens and passwords taken out.

mod process;
mod reading;
mod table;

use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Url;

use self::process::Ended;
use self::reading::{Outcome, Why};
use self::table::{Runtime, Speaks};
use super::environment::Environment;
use super::finding::{Finding, conceal};
use super::variables::RUN;
use crate::error::{Error, Result};

/// How many run side by side: some of them compile.
const AT_ONCE: usize = 4;

/// What they are asked to do.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// The URL that they ask for.
    pub(super) url: &'a Url,
    /// Whether only an answer of Sortie's own counts.
    pub(super) is_own: bool,
    /// How long each may take, compiling included.
    pub(super) time: Duration,
    /// The variable that names a file with the tenant's authority.
    pub(super) bundle: Option<&'a str>,
}

/// One row for each runtime that is here.
///
/// # Errors
/// If there is no room for their programs.
pub(super) async fn check(
    environment: &Environment,
    request: &Request<'_>,
) -> Result<Vec<Finding>> {
    let folder = tempfile::Builder::new()
        .prefix("sortie-doctor-")
        .tempdir()
        .map_err(|source| Error::system("make a folder", source))?;
    table::write_programs(folder.path())?;
    let here = table::RUNTIMES
        .iter()
        .filter(|runtime| environment.find(runtime.program).is_some());
    let checks = here.map(|runtime| one(runtime, folder.path(), request));
    let found: Vec<_> = stream::iter(checks).buffered(AT_ONCE).collect().await;
    Ok(found)
}

/// The row of those that cannot be expected to work.
pub(super) fn skipped(environment: &Environment, why: &str) -> Vec<Finding> {
    table::RUNTIMES
        .iter()
        .filter(|runtime| environment.find(runtime.program).is_some())
        .map(|runtime| Finding::skipped(runtime.name, why))
        .collect()
}

async fn one(runtime: &Runtime, folder: &Path, request: &Request<'_>) -> Finding {
    let arguments = runtime.arguments(request.url);
    let ended = process::run(runtime, &arguments, folder, request.time).await;
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            return Finding::fault(
                runtime.name,
                format!("does not start: {error}"),
                "check its installation",
            );
        }
    };
    let outcome = match runtime.speaks {
        Speaks::Line => reading::line(&ended),
        Speaks::Headers => reading::headers(&ended),
        Speaks::Words => reading::words_of_its_own(&ended),
    };
    let finding = judge(runtime, outcome, &ended, request);
    if finding.state == super::finding::State::Fault && runtime.program == "node" {
        return old_node(folder, request.time).await.unwrap_or(finding);
    }
    if finding.state == super::finding::State::Fault && runtime.program == "wget" {
        return gnu_wget(folder, request).await.unwrap_or(finding);
    }
    finding
}

fn judge(runtime: &Runtime, outcome: Outcome, ended: &Ended, request: &Request<'_>) -> Finding {
    match outcome {
        Outcome::Absent => Finding::skipped(runtime.name, "not installed"),
        Outcome::Reached { status, is_marked } if request.is_own && !is_marked => Finding::fault(
            runtime.name,
            format!("HTTP {status} without the mark of Sortie: it went past the gateway"),
            RUN,
        ),
        Outcome::Reached { .. } if ended.stdout.lines().any(|line| line == "authenticator") => {
            Finding::warning(
                runtime.name,
                "got through with an Authenticator: a JVM sends a proxy no password for programs that set none",
                "sortie run --isolate -- CMD   # whose relay asks for no password; or give the program an Authenticator",
            )
        }
        Outcome::Reached { .. } if request.is_own => {
            Finding::ok(runtime.name, "its request reached the gateway")
        }
        Outcome::Reached { status, .. } => {
            Finding::ok(runtime.name, format!("HTTP {status} through the proxy"))
        }
        Outcome::Failed(why) => failed(runtime, why, ended, request),
    }
}

fn failed(runtime: &Runtime, why: Why, ended: &Ended, request: &Request<'_>) -> Finding {
    let told = conceal(&reading::last_words(ended));
    let (seen, fix) = match why {
        Why::Late => (
            format!("no answer in {} s; it was killed", request.time.as_secs()),
            "sortie doctor --timeout 5m".to_owned(),
        ),
        // Nothing that Sortie sets can reach it.
        Why::Trust if runtime.program == "php" => {
            return Finding::warning(
                runtime.name,
                "its curl extension reads no variable for what to trust",
                runtime.trust_fix(request.bundle),
            );
        }
        Why::Trust => (
            format!("does not trust the gateway: {told}"),
            runtime.trust_fix(request.bundle),
        ),
        Why::Credentials => (
            format!("the proxy wants credentials, and it sent none: {told}"),
            RUN.to_owned(),
        ),
        Why::Past => (
            format!("went past the proxy: {told}"),
            format!("{RUN}   # or set {} for it", runtime.proxy),
        ),
        Why::Connect => (
            format!("found no way to the proxy: {told}"),
            format!("echo ${}   # does it name the gateway?", runtime.proxy),
        ),
        Why::Other => (
            format!("failed: {told}"),
            format!("{} --version   # does it run at all?", runtime.program),
        ),
    };
    Finding::fault(runtime.name, seen, fix)
}

/// A Node.js that reads no variables of a proxy, whatever is set.
async fn old_node(folder: &Path, time: Duration) -> Option<Finding> {
    let runtime = Runtime::asked_for_its_version("node", "--version");
    let ended = process::run(&runtime, &["--version".to_owned()], folder, time)
        .await
        .ok()?;
    let version = ended.stdout.trim();
    reading::node_is_too_old(version).then(|| {
        Finding::fault(
            "node",
            format!("{version} reads no proxy variables: fetch does from 22.21 and 24.5"),
            "install Node.js 22.21 or newer (or set undici's EnvHttpProxyAgent in the program)",
        )
    })
}

/// A wget that reads no variable for what it trusts: a warning, since no setting of ours can reach it.
async fn gnu_wget(folder: &Path, request: &Request<'_>) -> Option<Finding> {
    let runtime = Runtime::asked_for_its_version("wget", "--version");
    let ended = process::run(&runtime, &["--version".to_owned()], folder, request.time)
        .await
        .ok()?;
    ended.stdout.contains("ssl/gnutls").then(|| {
        let bundle = request.bundle.unwrap_or("SSL_CERT_FILE");
        Finding::warning(
            "wget",
            "is built with GnuTLS, which reads no variable for what to trust",
            format!(
                "wget --ca-certificate=\"${bundle}\" …   # or: sortie trust install --store system"
            ),
        )
    })
}

#[cfg(test)]
mod tests;
