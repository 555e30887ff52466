//! Docker or Podman: which one there is, whether it answers, and whether it has an image.
//!
//! Invariants: nothing is pulled: whoever names an image gets it first. An engine that does not answer is told from one
//! that is not there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{getegid, geteuid};
use tokio::process::Command;

use crate::config;
use crate::error::{Error, Result};

/// How long an engine may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// The engines, in the order in which they are looked for.
const KNOWN: [&str; 2] = ["docker", "podman"];

/// Whose options an engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Docker,
    Podman,
}

/// An engine that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Engine {
    /// Its program.
    pub(super) program: PathBuf,
    pub(super) kind: Kind,
    /// Whether its containers belong to the user who starts them, and root in them is that user.
    pub(super) rootless: bool,
}

impl Engine {
    /// Finds the one that is named, by name or path, or the first that answers.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is none, or if none answers.
    pub(super) async fn find(named: Option<&Path>) -> Result<Self> {
        let candidates: Vec<PathBuf> = match named {
            Some(named) if named.components().count() > 1 => vec![named.to_owned()],
            Some(named) => {
                let text = named.to_string_lossy();
                let found = config::program(&text);
                vec![found.ok_or_else(|| {
                    Error::failed(
                        format!("there is no program {text}"),
                        "Install it, or name another container engine with --engine.",
                    )
                })?]
            }
            None => KNOWN.into_iter().filter_map(config::program).collect(),
        };
        let mut silent = Vec::new();
        for program in candidates {
            match ask(&program).await {
                Ok(engine) => return Ok(engine),
                Err(why) => silent.push(format!("{}: {why}", program.display())),
            }
        }
        if silent.is_empty() {
            return Err(Error::failed(
                "there is no container engine on this machine",
                "Install Docker or Podman, or name one with --engine. --isolate=namespaces needs none.",
            ));
        }
        Err(Error::failed(
            format!("no container engine answers: {}", silent.join("; ")),
            "Start it, or name another one with --engine. --isolate=namespaces needs none.",
        ))
    }

    /// Makes sure that an image is there.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is not.
    pub(super) async fn has(&self, image: &str) -> Result<()> {
        let inspect = ["image", "inspect", "--format", "{{.Id}}", image];
        let said = match said(&self.program, inspect).await {
            Ok(_id) => return Ok(()),
            Err(said) => said,
        };
        let name = self.program.display();
        let lower = said.to_lowercase();
        let is_missing = ["no such image", "not known", "no such object"]
            .iter()
            .any(|words| lower.contains(words));
        Err(if is_missing {
            Error::failed(
                format!("{name} has no image {image}"),
                format!(
                    "Get it with `{name} pull {image}`, or make it with `{name} build --tag {image} .`: nothing is \
                     pulled here."
                ),
            )
        } else {
            Error::failed(
                format!("{name} cannot look at the image {image}: {said}"),
                "Is the name right? `image inspect` shows it where it is.",
            )
        })
    }

    /// The option that keeps this machine's proxy variables out of the container: Podman copies them in by itself.
    pub(super) fn own_proxies(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Podman => Some("--http-proxy=false"),
            // Its client has no option for it: they come from its own settings.
            Kind::Docker => None,
        }
    }

    /// The options that make the caller's user the one inside, so that files which are made there are the caller's.
    pub(super) fn user(&self) -> Vec<String> {
        let caller = format!("{}:{}", geteuid(), getegid());
        match (self.kind, self.rootless) {
            (Kind::Podman, true) => vec!["--userns=keep-id".to_owned(), format!("--user={caller}")],
            (Kind::Podman, false) => vec![format!("--user={caller}")],
            // Root inside is the user outside.
            (Kind::Docker, true) => vec!["--user=0:0".to_owned()],
            // Where the daemon maps users to others, they would be nobody here.
            (Kind::Docker, false) => vec!["--userns=host".to_owned(), format!("--user={caller}")],
        }
    }
}

/// Asks a program what it is and whether it works; what it says otherwise is the error.
async fn ask(program: &Path) -> std::result::Result<Engine, String> {
    // By what it says of itself: Podman is installed under Docker's name, too.
    let version = said(program, ["--version"]).await?;
    if version.to_lowercase().contains("podman") {
        let rootless = said(program, ["info", "--format", "{{.Host.Security.Rootless}}"]).await?;
        return Ok(Engine {
            program: program.to_owned(),
            kind: Kind::Podman,
            rootless: rootless.trim() == "true",
        });
    }
    let about = said(
        program,
        ["info", "--format", "{{.OSType}} {{.SecurityOptions}}"],
    )
    .await?;
    match about.split_whitespace().next() {
        Some("linux") => Ok(Engine {
            program: program.to_owned(),
            kind: Kind::Docker,
            rootless: about.contains("name=rootless"),
        }),
        Some(other) if !other.starts_with('[') && !other.starts_with('<') => {
            Err(format!("its containers are of {other}, not of Linux"))
        }
        // Older clients succeed without a daemon.
        _ => Err("its daemon does not answer".to_owned()),
    }
}

/// What a call prints, or the first thing that it says when it fails.
async fn said<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> std::result::Result<String, String> {
    let running = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(ANSWER_DEADLINE, running)
        .await
        .map_err(|_elapsed| format!("no answer in {} s", ANSWER_DEADLINE.as_secs()))?
        .map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    // Warnings come first, and the reason last.
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(last.unwrap_or("it failed without a word").to_owned())
}

#[cfg(test)]
mod tests;
