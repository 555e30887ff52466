//! `sortie profile`: several clusters, each by a name.
//!
//! Invariants: a key comes from a prompt without echo or from standard input, goes to a file of its own (mode 0600), and
//! is never an argument, nor in the file of profiles; only key files that were written here are deleted here.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sortie_proto::secret::Secret;

use crate::args::Connection;
use crate::ask;
use crate::client::Client;
use crate::config::{self, Profile};
use crate::error::{Error, Result};
use crate::output::{Column, Output};
use crate::verbs::Sure;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie profile add prod --api-url https://sortie.example.com --vault payments
  sortie profile use prod
  sortie profile list

A profile is used by --profile NAME or SORTIE_PROFILE; without either, the current one is.";

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("CURRENT", "/current"),
    ("API", "/api_url"),
    ("TENANT", "/tenant"),
    ("VAULT", "/vault"),
    ("AGENT", "/agent"),
    ("KEY", "/key_file"),
];

/// The longest key, in bytes.
const KEY_MAX: usize = 1024;

/// What can be done with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List profiles; keys are never shown
    #[command(after_help = "Examples:\n  sortie profile list")]
    List,
    /// Make a profile current: commands that name none use it
    #[command(after_help = "Examples:\n  sortie profile use prod")]
    Use {
        /// Its name
        name: String,
    },
    /// Add a profile, or replace it; asks for the API key
    #[command(after_help = ADD_EXAMPLE)]
    Add(Add),
    /// Remove a profile, with its key if that was given to `profile add`
    #[command(after_help = "Examples:\n  sortie profile remove prod --yes")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
}

const ADD_EXAMPLE: &str = "\
Examples:
  sortie profile add prod --api-url https://sortie.example.com --vault payments
  sortie profile add ci --api-url https://sortie.example.com --stdin < api.key
  sortie profile add edge --api-url https://edge.example.com --key-file edge.key

The key is kept beside the profiles in a file of its own, mode 0600. With --key-file it stays where it is.";

/// A new profile. The API and the tenant are those of the connection.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name: letters, digits, `-`, `_` and `.`
    name: String,
    /// The vault of commands that name none
    #[arg(long, value_name = "VAULT")]
    vault: Option<String>,
    /// The agent of sessions that name none
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// The gateway
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Read the key from standard input
    #[arg(long, conflicts_with = "key_file")]
    stdin: bool,
    /// A file that holds the key already
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Make it current
    #[arg(long = "use")]
    current: bool,
}

/// Does one.
///
/// # Errors
/// Whatever the file of profiles or the arguments object to.
pub(crate) fn run(act: Act, connection: Connection, out: Output) -> Result<()> {
    let path = config::profiles_path()?;
    match act {
        Act::List => list(&path, out),
        Act::Use { name } => {
            config::use_profile(&path, &name)?;
            let said = json!({"name": name, "current": true});
            out.done(&said, &format!("commands use profile {name}"))
        }
        Act::Add(options) => add(options, connection, &path, out),
        Act::Remove { name, sure } => {
            config::named_profile(&path, &name)?;
            sure.ask(&format!("remove profile `{name}`"))?;
            let removed = config::remove_profile(&path, &name)?;
            let ours = key_path(&path, &name);
            if removed.key_file.as_deref() == Some(&ours) {
                forget(&ours)?;
            }
            let said = json!({"name": name, "removed": true});
            out.done(&said, &format!("removed profile {name}"))
        }
    }
}

fn list(path: &Path, out: Output) -> Result<()> {
    let (current, profiles) = config::profiles(path)?;
    let rows = profiles
        .into_iter()
        .map(|(name, profile)| {
            let mut row = serde_json::to_value(profile)
                .map_err(|error| Error::system("write JSON", error.into()))?;
            if let Value::Object(fields) = &mut row {
                fields.insert(
                    "current".to_owned(),
                    (current.as_ref() == Some(&name)).into(),
                );
                fields.insert("name".to_owned(), name.into());
            }
            Ok(row)
        })
        .collect::<Result<Vec<_>>>()?;
    out.list(&rows, &COLUMNS)
}

fn add(options: Add, connection: Connection, path: &Path, out: Output) -> Result<()> {
    let name = options.name;
    check_name(&name)?;
    let Some(api_url) = connection.api_url else {
        return Err(Error::Usage("a profile needs --api-url".to_owned()));
    };
    let key_file = if let Some(file) = options.key_file {
        let file =
            std::path::absolute(&file).map_err(|source| Error::file("find", &file, source))?;
        Client::new(&api_url, &config::read_key(&file)?, connection.allow_http)?;
        file
    } else {
        let key = read_key(&name, options.stdin)?;
        // What cannot be used is not kept.
        Client::new(&api_url, &key, connection.allow_http)?;
        let file = key_path(path, &name);
        config::write_key(&file, &key)?;
        file
    };
    let profile = Profile {
        api_url: Some(api_url),
        key_file: Some(key_file),
        tenant: connection.tenant,
        vault: options.vault,
        agent: options.agent,
        proxy: options.proxy,
    };
    config::write_profile(path, &name, profile)?;
    if options.current {
        config::use_profile(path, &name)?;
    }
    let said = json!({"name": name, "added": true});
    out.done(&said, &format!("added profile {name}"))
}

/// It becomes the name of a file.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() <= 64 && !name.is_empty() && !name.starts_with('.') && name.chars().all(fits) {
        return Ok(());
    }
    Err(Error::Usage(
        "a profile's name has letters, digits, `-`, `_` and `.`, at most 64".to_owned(),
    ))
}

/// Where a key that was given here is kept.
fn key_path(profiles: &Path, name: &str) -> PathBuf {
    profiles.with_file_name("keys").join(format!("{name}.key"))
}

fn forget(key: &Path) -> Result<()> {
    match fs::remove_file(key) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", key, source))
        }
        _ => Ok(()),
    }
}

fn read_key(name: &str, stdin: bool) -> Result<Secret> {
    let key = ask::secret(&format!("API key of {name}"), stdin, KEY_MAX)?;
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Error::failed("that is no API key", "Nothing was changed."));
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
