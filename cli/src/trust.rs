//! `sortie trust`: the tenant's authority in the stores that programs of this machine trust, and out of them.
//!
//! Invariants: nothing is changed before it was said and agreed to. What is put into a store carries a name with tenant
//! and fingerprint, and only what carries it is taken out. Doing either twice is as good as once.
//! Deliberately not here: becoming root. Where it takes root, the line to run is told.

mod authority;
mod java;
mod keychain;
mod nss;
mod program;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::authority::Named;
use crate::args::Connection;
use crate::config;
use crate::error::{Error, Result};
use crate::output::{Column, Output};
use crate::verbs::Sure;

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie trust status
  sortie trust install --store nss
  sortie trust remove --all

`sortie run` does not need this: it tells its command what to trust, and nobody else. It is for programs that read no
variable, e.g. browsers. It makes every program of this machine trust the tenant's authority.";

const COLUMNS: [Column; 4] = [
    ("STORE", "/store"),
    ("PLACE", "/place"),
    ("AUTHORITY", "/name"),
    ("STATE", "/state"),
];

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// Put the tenant's authority into the stores
    #[command(after_help = "Examples:\n  sortie trust install --store nss\n  \
                            sortie trust install --store system --authority ca.pem --yes")]
    Install {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        stores: Stores,
        #[command(flatten)]
        sure: Sure,
    },
    /// Take it out again
    #[command(
        after_help = "Examples:\n  sortie trust remove\n  sortie trust remove --all --store java --yes"
    )]
    Remove {
        #[command(flatten)]
        which: Which,
        /// All authorities that `sortie trust install` has put there, of whatever tenant
        #[arg(long, conflicts_with = "authority")]
        all: bool,
        #[command(flatten)]
        stores: Stores,
        #[command(flatten)]
        sure: Sure,
    },
    /// List the stores, and the authorities that were put there
    #[command(after_help = "Example:\n  sortie trust status --output json")]
    Status {
        #[command(flatten)]
        stores: Stores,
    },
}

/// Which authority.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The file of the tenant's authority [default: control is asked]
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
}

/// Which stores.
#[derive(Debug, Args)]
pub(crate) struct Stores {
    /// A kind of store; may be repeated [default: all]
    #[arg(long, value_enum)]
    store: Vec<Kind>,
    /// The folder of the system's own authorities; nothing is run after a change there [default: found out]
    #[arg(long, value_name = "DIR")]
    system_dir: Option<PathBuf>,
    /// A database of NSS; may be repeated [default: Chromium's, and all of Firefox's profiles]
    #[arg(long, value_name = "DIR")]
    nss_db: Vec<PathBuf>,
    /// A Java; may be repeated [default: `JAVA_HOME`, that of `java`, and those of the system]
    #[arg(long, value_name = "DIR")]
    java_home: Vec<PathBuf>,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The system's own, which most programs read
    System,
    /// NSS: Firefox and Chromium
    Nss,
    /// Java's `cacerts`
    Java,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Nss => "nss",
            Self::Java => "java",
        }
    }
}

/// One store.
trait Store {
    /// Of which kind it is.
    fn kind(&self) -> Kind;
    /// Where it is.
    fn place(&self) -> String;
    /// What putting something there does, in a few words.
    fn does(&self) -> String;
    /// Whether this user may change it.
    fn is_writable(&self) -> bool;
    /// The names of what [`Store::install`] has put there.
    ///
    /// # Errors
    /// If it cannot be read, e.g. for want of a program.
    fn names(&self) -> Result<Vec<String>>;
    /// Puts it there.
    ///
    /// # Errors
    /// If that fails.
    fn install(&self, named: &Named) -> Result<()>;
    /// Takes it out.
    ///
    /// # Errors
    /// If that fails.
    fn remove(&self, name: &str) -> Result<()>;
}

impl Stores {
    fn find(&self) -> Vec<Box<dyn Store>> {
        let wanted = |kind| self.store.is_empty() || self.store.contains(&kind);
        let mut found: Vec<Box<dyn Store>> = Vec::new();
        if wanted(Kind::System) {
            match self.system_dir.as_deref() {
                None if cfg!(target_os = "macos") => found.push(Box::new(keychain::Keychain)),
                folder => found.extend(system::System::find(folder).map(boxed)),
            }
        }
        if wanted(Kind::Nss) {
            found.extend(nss::find(&self.nss_db).into_iter().map(boxed));
        }
        if wanted(Kind::Java) {
            found.extend(java::find(&self.java_home).into_iter().map(boxed));
        }
        found
    }

    /// The arguments that name one of these stores again.
    fn arguments(&self, kind: Kind) -> String {
        let mut text = format!("--store {}", kind.name());
        let mut put = |name: &str, path: &Path| {
            text.push(' ');
            text.push_str(name);
            text.push_str(" '");
            text.push_str(&path.display().to_string());
            text.push('\'');
        };
        match kind {
            Kind::System => self
                .system_dir
                .iter()
                .for_each(|dir| put("--system-dir", dir)),
            Kind::Nss => self.nss_db.iter().for_each(|dir| put("--nss-db", dir)),
            Kind::Java => self
                .java_home
                .iter()
                .for_each(|dir| put("--java-home", dir)),
        }
        text
    }
}

fn boxed<S: Store + 'static>(store: S) -> Box<dyn Store> {
    Box::new(store)
}

/// Does it.
///
/// # Errors
/// [`Error::Failed`] if a store could not be changed; what was done is told first.
pub(crate) async fn run(act: Act, connection: Connection, out: Output) -> Result<ExitCode> {
    match act {
        Act::Install {
            which,
            stores,
            sure,
        } => {
            let named = load(which, connection, out).await?;
            install(&named, &stores, &sure, out)?;
        }
        Act::Remove {
            which,
            all,
            stores,
            sure,
        } => {
            let named = match all {
                true => None,
                false => Some(load(which, connection, out).await?),
            };
            remove(named.as_ref(), &stores, &sure, out)?;
        }
        Act::Status { stores } => status(&stores, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn load(which: Which, connection: Connection, out: Output) -> Result<Named> {
    if let Some(path) = which.authority {
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|source| Error::file("read", &path, source))?;
        return Named::read(&text, Some(path));
    }
    let context = config::connect(connection, out)?;
    let path = ["tenants", &context.tenant, "authority"];
    let text = context.client.text(&path, "application/x-pem-file").await?;
    Named::read(&text, None)
}

fn install(named: &Named, stores: &Stores, sure: &Sure, out: Output) -> Result<()> {
    let found = some(stores)?;
    out.note(&format!("This puts the authority {} into:", named.name));
    for store in &found {
        out.note(&format!("  {:6}  {}", store.kind().name(), store.does()));
    }
    out.note(
        "Every program that reads these stores will trust it: whoever holds the tenant's authority can then read and\n\
         change their TLS traffic. `sortie run` does not need it.",
    );
    sure.ask("Go on")?;
    let mut done = Done::new("install", stores, Some(named));
    for store in &found {
        let outcome = store.names().and_then(|names| {
            if names.contains(&named.name) {
                return Ok("was there already");
            }
            done.may_change(store.as_ref())?;
            store.install(named).map(|()| "installed")
        });
        done.note(store.as_ref(), &named.name, outcome);
    }
    done.tell(out)
}

fn remove(named: Option<&Named>, stores: &Stores, sure: &Sure, out: Output) -> Result<()> {
    let found = some(stores)?;
    let name = named.map(|named| named.name.as_str());
    let what = name.unwrap_or("all authorities of Sortie");
    sure.ask(&format!("Take {what} out of {} stores", found.len()))?;
    let mut done = Done::new("remove", stores, named);
    for store in &found {
        let mut names = match store.names() {
            Ok(names) => names,
            Err(error) => {
                done.note(store.as_ref(), what, Err(error));
                continue;
            }
        };
        names.retain(|other| name.is_none_or(|name| name == other));
        if names.is_empty() {
            done.note(
                store.as_ref(),
                name.unwrap_or_default(),
                Ok("was not there"),
            );
        }
        for name in names {
            let outcome = done
                .may_change(store.as_ref())
                .and_then(|()| store.remove(&name));
            done.note(store.as_ref(), &name, outcome.map(|()| "removed"));
        }
    }
    done.tell(out)
}

fn status(stores: &Stores, out: Output) -> Result<()> {
    let mut rows = Vec::new();
    for store in stores.find() {
        match store.names() {
            Ok(names) if names.is_empty() => rows.push(row(store.as_ref(), "", "none")),
            Ok(names) => rows.extend(
                names
                    .iter()
                    .map(|name| row(store.as_ref(), name, "installed")),
            ),
            Err(error) => rows.push(row(store.as_ref(), "", &told(&error))),
        }
    }
    out.list(&rows, &COLUMNS)
}

fn some(stores: &Stores) -> Result<Vec<Box<dyn Store>>> {
    let found = stores.find();
    if found.is_empty() {
        return Err(Error::failed(
            "there is no such store here",
            "Name one: --system-dir, --nss-db or --java-home.",
        ));
    }
    Ok(found)
}

fn row(store: &dyn Store, name: &str, state: &str) -> Value {
    json!({
        "store": store.kind().name(),
        "place": store.place(),
        "name": name,
        "state": state,
    })
}

fn told(error: &Error) -> String {
    match error.next() {
        Some(next) => format!("{error}. {next}"),
        None => error.to_string(),
    }
}

/// What was done so far.
struct Done<'a> {
    act: &'static str,
    stores: &'a Stores,
    named: Option<&'a Named>,
    rows: Vec<Value>,
    failed: Vec<Error>,
}

impl<'a> Done<'a> {
    const fn new(act: &'static str, stores: &'a Stores, named: Option<&'a Named>) -> Self {
        Self {
            act,
            stores,
            named,
            rows: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Says what to run where this user may not change the store.
    fn may_change(&self, store: &dyn Store) -> Result<()> {
        if store.is_writable() {
            return Ok(());
        }
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sortie"));
        let which = match self.named {
            Some(named) => format!("--authority '{}'", named.file()?.display()),
            None => "--all".to_owned(),
        };
        Err(Error::failed(
            format!("{} takes root to change", store.place()),
            format!(
                "sudo '{}' trust {} --yes {which} {}",
                program.display(),
                self.act,
                self.stores.arguments(store.kind())
            ),
        ))
    }

    fn note(&mut self, store: &dyn Store, name: &str, outcome: Result<&str>) {
        let state = match &outcome {
            Ok(state) => (*state).to_owned(),
            Err(_) => "failed".to_owned(),
        };
        self.rows.push(row(store, name, &state));
        self.failed.extend(outcome.err());
    }

    fn tell(self, out: Output) -> Result<()> {
        out.list(&self.rows, &COLUMNS)?;
        let count = self.failed.len();
        let mut failed = self.failed.into_iter();
        let Some(first) = failed.next() else {
            return Ok(());
        };
        // The last one is told as the error of the command.
        let last = failed.fold(first, |before, next| {
            out.error(&before);
            next
        });
        out.error(&last);
        Err(Error::failed(
            format!("{count} of {} stores were not changed", self.rows.len()),
            "See above.",
        ))
    }
}

#[cfg(test)]
mod tests;
