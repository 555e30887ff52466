//! From outside: control, the key, the clock, and then everything else as a command of `sortie run` sees it.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser as _;
use serde::{Deserialize, Serialize};
use sortie_proto::host::HostPattern;

use super::finding::Finding;
use super::{Options, clock};
use crate::args::{Args, Command};
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::output::cell;
use crate::run;

/// How long the session lasts that is minted for this, if it is not revoked before.
const SESSION_SECONDS: u32 = 600;
/// How many services of a vault are looked at.
const SERVICES_MAX: usize = 1000;

/// What is handed to the one inside, and what comes back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    /// Patterns of brokered hosts.
    brokered: Vec<String>,
    /// What was found; `None` as long as nobody has looked.
    findings: Option<Vec<Finding>>,
}

/// What was handed to us.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) brokered: Vec<HostPattern>,
}

const NOTE: &str = "note.json";

impl Handed {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Usage`] if it is something else.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let note = read(folder)?;
        let brokered = note.brokered.iter();
        Ok(Self {
            brokered: brokered
                .filter_map(|host| HostPattern::parse(host).ok())
                .collect(),
        })
    }

    /// Hands back what was found.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn answer(&self, folder: &Path, findings: &[Finding]) -> Result<()> {
        let note = Note {
            brokered: Vec::new(),
            findings: Some(findings.to_vec()),
        };
        write(folder, &note)
    }
}

fn read(folder: &Path) -> Result<Note> {
    let path = folder.join(NOTE);
    let text =
        std::fs::read_to_string(&path).map_err(|source| Error::file("read", &path, source))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

fn write(folder: &Path, note: &Note) -> Result<()> {
    let text =
        serde_json::to_string(note).map_err(|source| Error::system("write JSON", source.into()))?;
    config::write_private(&folder.join(NOTE), text.as_bytes())
}

/// Looks at control, then starts this program again behind `sortie run`.
///
/// # Errors
/// What has nothing to do with Sortie: no room for a folder, no way to start this program again.
pub(super) async fn check(context: &Context, options: &Options) -> Result<Vec<Finding>> {
    if !context.client.has_key() {
        let mut found = vec![Finding::ok("key", "none is needed: there is a session")];
        found.extend(inside(context, options, &[]).await?);
        return Ok(found);
    }
    let mut found = Vec::new();
    let path = ["tenants", &context.tenant, "authority"];
    match context.client.date(&path).await {
        Ok(date) => {
            found.push(Finding::ok(
                "control",
                format!("{} answers", context.client.base()),
            ));
            found.extend(date.map(|date| clock::against_date(clock::now(), &date, "control")));
        }
        Err(error) => {
            found.push(failed("control", &error));
            return Ok(found);
        }
    }
    match context.client.text(&path, "application/x-pem-file").await {
        Ok(_) => found.push(Finding::ok("key", "control accepts it")),
        Err(error) => {
            found.push(failed("key", &error));
            return Ok(found);
        }
    }
    let vaults = match options.vault.as_slice() {
        [] => vec![context.vault.clone()],
        named => named.to_vec(),
    };
    found.extend(inside(context, options, &vaults).await?);
    Ok(found)
}

/// What the one inside finds.
async fn inside(context: &Context, options: &Options, vaults: &[String]) -> Result<Vec<Finding>> {
    let folder = tempfile::Builder::new()
        .prefix("sortie-doctor-")
        .tempdir()
        .map_err(|source| Error::system("make a folder", source))?;
    let note = Note {
        brokered: brokered(context, vaults).await,
        findings: None,
    };
    write(folder.path(), &note)?;
    let run = words(folder.path(), options)?;
    if let Err(error) = Box::pin(run::run(run, context)).await {
        return Ok(vec![failed("session", &error)]);
    }
    match read(folder.path())?.findings {
        Some(findings) => Ok(findings),
        None => Err(Error::failed(
            "the check of the environment broke off",
            "Run `sortie run -- sortie doctor`: it says why.",
        )),
    }
}

/// `sortie run` with this program behind it, in the words that a person would use.
fn words(folder: &Path, options: &Options) -> Result<run::Options> {
    let program =
        std::env::current_exe().map_err(|source| Error::system("find this program", source))?;
    let mut words: Vec<OsString> = vec!["sortie".into(), "run".into(), "--quiet".into()];
    words.push(format!("--ttl={SESSION_SECONDS}").into());
    let vaults = options.vault.iter();
    words.extend(vaults.map(|vault| format!("--vault={vault}").into()));
    if let Some(file) = &options.session {
        words.extend(["--session".into(), file.into()]);
    }
    words.extend(["--".into(), program.into_os_string()]);
    words.extend(["doctor", "--handed"].map(Into::into));
    words.push(folder.into());
    words.push(format!("--timeout={}", options.timeout).into());
    words.extend(
        options
            .url
            .as_ref()
            .map(|url| format!("--url={url}").into()),
    );
    match Args::try_parse_from(words).map(|args| args.command) {
        Ok(Command::Run(options)) => Ok(options),
        Ok(_) => Err(Error::Usage("`sortie run` is not what it was".to_owned())),
        Err(error) => Err(Error::Usage(error.to_string())),
    }
}

/// Hosts of the vaults' services. A key that may not list them knows of none.
async fn brokered(context: &Context, vaults: &[String]) -> Vec<String> {
    let mut hosts = Vec::new();
    for vault in vaults {
        let path = ["tenants", &context.tenant, "vaults", vault, "services"];
        let listed = context.client.list(&path, "services", &[], SERVICES_MAX);
        let services = listed.await.unwrap_or_default();
        hosts.extend(services.iter().map(|service| cell(service, "/spec/host")));
    }
    hosts
}

/// An error as a row: with its causes, since they say what is wrong with an address or a certificate.
pub(super) fn failed(check: &str, error: &Error) -> Finding {
    use std::error::Error as _;

    let mut seen = error.to_string().replace('\n', "; ");
    let mut cause = error.source();
    while let Some(inner) = cause {
        seen.push_str(": ");
        seen.push_str(&inner.to_string());
        cause = inner.source();
    }
    if check == "key" {
        return Finding::fault(
            check,
            seen,
            "export SORTIE_API_KEY_FILE=FILE   # or a profile that works: sortie profile list",
        );
    }
    let fix = error.next();
    Finding::fault(
        check,
        seen,
        fix.unwrap_or_else(|| "sortie doctor --help".to_owned()),
    )
}
