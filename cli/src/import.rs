//! `sortie import`: finds the secrets that lie around in files and in the environment, moves them into a vault, and
//! leaves placeholders in their place.
//!
//! Invariants: a value, or a part of one, is never printed. Every file keeps its mode and owner and changes whole or not
//! at all. The order is record (on disk), vault, files: whenever it is broken off, a value is in its file, or in the
//! record, which `--continue` goes on from and `--undo` puts back from. The record holds the values as the files did, in
//! a file of mode 0600; `--forget` overwrites it.

mod carry;
mod decide;
mod earlier;
mod format;
mod known;
mod place;
mod record;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use self::decide::{decide, place_text, would};
use self::known::Candidate;
use self::place::File;
use self::record::{Folder, Record, State};
use crate::args::Connection;
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::output::{self, Column, Output};
use crate::verbs::{self, InVault, in_vault};

pub(crate) const EXAMPLE: &str = "\
Examples:
  sortie import --dry-run
  sortie import --yes
  sortie import .env --yes --host INTERNAL_TOKEN=api.internal.example
  sortie import --list
  sortie import --undo
  sortie import --forget last

Without --yes each secret is asked for. Looked at: .env* and .npmrc here; .npmrc, .netrc, .pypirc,
.aws/credentials, gh's hosts.yml and git's credential store in your home; known variables of the
environment. Values are never shown. Until --forget, a record of mode 0600 holds them in
~/.local/state/sortie/imports, so that --undo can put the files back.";

const COLUMNS: [Column; 7] = [
    ("FILE", "/file"),
    ("LINE", "/line"),
    ("KEY", "/key"),
    ("BYTES", "/bytes"),
    ("CREDENTIAL", "/credential"),
    ("GOES TO", "/to"),
    ("RESULT", "/result"),
];

/// The most credentials that a vault holds.
const PER_VAULT_MAX: usize = 1000;

/// What to import, or what to do with an earlier import.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Files, and folders to look for files in [default: here, the home, and the environment]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Show what would be moved; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask: move everything whose destination is known
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    vault: InVault,
    #[command(flatten)]
    earlier: Earlier,
}

/// Which secrets, and what to do with them.
#[derive(Debug, Args)]
struct Choice {
    /// Only this credential; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where a credential may be sent that the catalog does not know; may be repeated
    #[arg(long, value_name = "NAME=HOST[:PORT]", value_parser = crate::args::pair)]
    host: Vec<(String, String)>,
    /// Give credentials that the vault has already the value that was found
    #[arg(long)]
    replace: bool,
    /// Leave the environment out
    #[arg(long)]
    no_environment: bool,
}

/// What to do with an earlier import.
#[derive(Debug, Args)]
#[group(multiple = false, conflicts_with = "paths")]
struct Earlier {
    /// List the imports that can be undone
    #[arg(long)]
    list: bool,
    /// Put the files of an import back [default: the last one]
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "last")]
    undo: Option<String>,
    /// Go on with an import that was broken off [default: the last one]
    #[arg(long = "continue", value_name = "ID", num_args = 0..=1, default_missing_value = "last")]
    go_on: Option<String>,
    /// Overwrite and remove the record of an import (`last` is the newest): it cannot be undone then
    #[arg(long, value_name = "ID")]
    forget: Option<String>,
}

/// Does it.
///
/// # Errors
/// Whatever files, control or the arguments object to.
pub(crate) async fn run(options: &Options, connection: Connection, out: Output) -> Result<()> {
    let folder = Folder::at(config::state_folder()?.join("imports"));
    let wish = &options.earlier;
    if wish.list {
        return earlier::list(&folder, out);
    }
    if options.dry_run {
        let (files, candidates) = look(options, out)?;
        return show(&rows(&files, &candidates, |it| would(it, options)), out);
    }
    // Two at once would each take the other's half-written files for the originals.
    let lock = folder.lock()?;
    let done = if let Some(id) = &wish.undo {
        earlier::undo(&folder, id, out)
    } else if let Some(id) = &wish.forget {
        earlier::forget(&folder, id, out)
    } else if let Some(id) = &wish.go_on {
        let record = folder.read(id, |state| state == State::Started)?;
        let context = config::connect(connection, out)?;
        earlier::go_on(&folder, record, &context).await
    } else {
        let context = config::connect(connection, out)?;
        import(&folder, options, &context).await
    };
    drop(lock);
    done
}

// === What there is ===

fn look(options: &Options, out: Output) -> Result<(Vec<File>, Vec<Candidate>)> {
    let files = if options.paths.is_empty() {
        place::usual(out)
    } else {
        place::named(&options.paths, out)?
    };
    let with_environment = options.paths.is_empty() && !options.choice.no_environment;
    let mut candidates = known::candidates(&files, with_environment);
    if !options.choice.only.is_empty() {
        candidates.retain(|candidate| options.choice.only.contains(&candidate.name));
    }
    for (name, host) in &options.choice.host {
        let place = verbs::destination(host).map_err(Error::Usage)?;
        for candidate in candidates
            .iter_mut()
            .filter(|candidate| candidate.name == *name)
        {
            candidate.to = vec![place.clone()];
        }
    }
    Ok((files, candidates))
}

fn rows(
    files: &[File],
    candidates: &[Candidate],
    result: impl Fn(&Candidate) -> String,
) -> Vec<Value> {
    let mut rows = Vec::new();
    for candidate in candidates {
        let to: Vec<_> = candidate.to.iter().map(place_text).collect();
        for spot in &candidate.spots {
            let file = spot.file.and_then(|at| files.get(at));
            rows.push(json!({
                "file": file.map_or_else(|| "(environment)".to_owned(), |file| file.path.display().to_string()),
                "line": file.map(|_| spot.line),
                "key": spot.key,
                "bytes": candidate.value.len(),
                "credential": candidate.name,
                "known_as": candidate.bundle.map(|bundle| bundle.name.clone()),
                "to": to,
                "result": result(candidate),
            }));
        }
    }
    rows
}

fn show(rows: &[Value], out: Output) -> Result<()> {
    if out.is_json() {
        return out.list(rows, &COLUMNS);
    }
    if rows.is_empty() {
        out.note("no secrets were found");
        return Ok(());
    }
    let mut rows = rows.to_vec();
    for row in &mut rows {
        if let Some(file) = row.pointer_mut("/file") {
            *file = place::short(file.as_str().unwrap_or_default()).into();
        }
    }
    out.list(&rows, &COLUMNS)
}

// === Moving ===

async fn import(folder: &Folder, options: &Options, context: &Context) -> Result<()> {
    let out = context.out;
    if let Some(open) = folder
        .all()?
        .into_iter()
        .find(|it| it.state == State::Started)
    {
        return Err(Error::failed(
            format!("import {} was broken off", open.id),
            format!(
                "`sortie import --continue {0}` goes on with it; `sortie import --undo {0}` puts its files back.",
                open.id
            ),
        ));
    }
    if !options.yes && !std::io::stdin().is_terminal() {
        return Err(Error::Usage(
            "there is no terminal to ask: pass --yes, or --dry-run to look only".to_owned(),
        ));
    }
    let (files, mut candidates) = look(options, out)?;
    if candidates.is_empty() {
        return show(&[], out);
    }
    let vault = options.vault.name(context);
    let held = held(vault, context).await?;
    if !options.yes {
        out.note(&format!(
            "{} found; each is asked for, values are not shown",
            candidates.len()
        ));
    }
    let mut decided = Vec::new();
    for candidate in &mut candidates {
        decided.push((
            candidate.name.clone(),
            decide(candidate, &files, options, &held)?,
        ));
    }
    let is_moved = |candidate: &Candidate| {
        decided
            .iter()
            .any(|(name, left)| *name == candidate.name && left.is_none())
    };
    let result = |candidate: &Candidate| {
        let found = decided.iter().find(|(name, _)| *name == candidate.name);
        let left = found.and_then(|(_, left)| left.as_deref());
        left.map_or_else(|| "moved".to_owned(), |why| format!("left: {why}"))
    };
    let moved: Vec<&Candidate> = candidates.iter().filter(|it| is_moved(it)).collect();
    if !moved.is_empty() {
        let record = Record::new(vault, context, &files, &moved)?;
        folder.write(&record)?;
        let done = carry::all(folder, record, context).await?;
        tell(&done, &moved, out);
    }
    show(&rows(&files, &candidates, result), out)
}

async fn held(vault: &str, context: &Context) -> Result<Vec<Value>> {
    let path = in_vault(context, vault, &["credentials"]);
    context
        .client
        .list(&path, "credentials", &[], PER_VAULT_MAX)
        .await
}

/// What to do next: no part of the answer.
fn tell(done: &Record, moved: &[&Candidate], out: Output) {
    let mut commands: Vec<String> = Vec::new();
    for candidate in moved {
        for command in services(candidate) {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        if candidate.spots.iter().any(|spot| spot.file.is_none()) {
            out.note(&format!(
                "{} stands in your environment still: remove it where it is set",
                candidate.name
            ));
        }
    }
    out.note("agents can use them once there are services:");
    for command in commands {
        out.note(&format!("  {command} --vault {}", done.vault));
    }
    out.note(&format!(
        "the values stand in {} until `sortie import --forget {}`; `sortie import --undo {1}` puts the files back",
        done.path_text(),
        done.id
    ));
}

/// The commands that make services for a credential: its bundle's, and one for each host that the bundle does not name.
fn services(candidate: &Candidate) -> Vec<String> {
    let main = candidate.bundle.filter(|_| candidate.is_main);
    let own = main.map(|bundle| verbs::bundle_destinations(bundle, &candidate.name));
    let own = own.unwrap_or_default();
    let mut places: Vec<_> = candidate.to.iter().filter(|it| !own.contains(it)).collect();
    if main.is_none() && candidate.bundle.is_some() {
        // A second account of a vendor: which of the hosts it is for, a person knows.
        places.truncate(1);
    }
    let added = main.map(|bundle| format!("sortie service add {}", bundle.name));
    let set = places.iter().zip(1..).map(|(place, count)| {
        let mut name = candidate.name.to_lowercase().replace('_', "-");
        if count > 1 {
            name = format!("{name}-{count}");
        }
        let port = match output::cell(place, "/port") {
            port if port.is_empty() => port,
            port => format!(" --port {port}"),
        };
        let host = output::cell(place, "/host");
        format!(
            "sortie service set {name} --host {host}{port} --placeholder {}",
            candidate.name
        )
    });
    added.into_iter().chain(set).collect()
}

#[cfg(test)]
mod tests;
