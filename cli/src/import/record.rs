//! The record of an import: what `--undo` puts back and `--continue` goes on from.
//!
//! Invariants: it is on disk, name and all, before anything else changes. Its folder has mode 0700 and its file 0600; it
//! is not encrypted, since what it holds stood in the open before, and a key for it would lie beside it. It is written
//! once, so that overwriting it leaves no other copy of ours; how far the import is stands in a file beside it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_proto::secret::Secret;

use super::known::Candidate;
use super::place::File;
use crate::config::{self, Context};
use crate::error::{Error, Result};

/// The longest record that is read, in bytes: all that a vault can take, and the files around it.
const RECORD_MAX: u64 = 256 * 1024 * 1024;

/// The extension of the file beside a record that says how far it is. Without one it is under way.
const STATE: &str = "state";

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// Something may be in the vault, and some files may have changed.
    #[default]
    Started,
    /// All is in the vault, and all files have changed.
    Done,
    /// The files are as they were.
    Undone,
}

impl State {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Started => "broken off",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }
}

/// An import.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// When it started, and some letters.
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) state: State,
    /// Where control was.
    api_url: String,
    pub(crate) tenant: String,
    pub(crate) vault: String,
    pub(crate) credentials: Vec<Moved>,
    pub(crate) files: Vec<Changed>,
    /// Where the record itself is.
    #[serde(skip)]
    path: PathBuf,
}

/// A credential that is moved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moved {
    pub(crate) name: String,
    pub(crate) placeholder: String,
    pub(crate) destinations: Vec<Value>,
    #[serde(with = "bytes")]
    pub(crate) value: Secret,
}

/// A file that changes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    pub(crate) path: PathBuf,
    #[serde(with = "bytes")]
    pub(crate) before: Secret,
    #[serde(with = "bytes")]
    pub(crate) after: Secret,
}

/// Secrets in base64: files need not be text.
mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use sortie_proto::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(secret.expose()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
        Ok(Secret::new(bytes))
    }
}

impl Record {
    /// The record of an import that is about to start.
    ///
    /// # Errors
    /// [`Error::Failed`] if two secrets stand in one place, which no parser finds.
    pub(crate) fn new(
        vault: &str,
        context: &Context,
        files: &[File],
        moved: &[&Candidate],
    ) -> Result<Self> {
        let credentials = moved.iter().map(|candidate| Moved {
            name: candidate.name.clone(),
            placeholder: candidate.placeholder.clone(),
            destinations: candidate.to.clone(),
            value: Secret::new(candidate.value.expose().to_vec()),
        });
        let mut changed = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let spots = moved.iter().flat_map(|candidate| {
                let here = candidate
                    .spots
                    .iter()
                    .filter(|spot| spot.file == Some(index));
                here.map(|spot| (spot.at.clone(), spot.encoding.write(&candidate.placeholder)))
            });
            let spots: Vec<_> = spots.collect();
            if spots.is_empty() {
                continue;
            }
            let after = splice(file.content.expose(), spots).ok_or_else(|| {
                let what = format!("two secrets of {} overlap", file.path.display());
                Error::failed(what, "Nothing was changed; please report this.")
            })?;
            changed.push(Changed {
                path: file.path.clone(),
                before: Secret::new(file.content.expose().to_vec()),
                after: Secret::new(after),
            });
        }
        let letters = rand::rng()
            .sample_iter(Alphanumeric)
            .take(4)
            .map(char::from);
        let letters = letters.collect::<String>().to_lowercase();
        let id = format!("{}-{letters}", Timestamp::now().strftime("%Y%m%d-%H%M%S"));
        Ok(Self {
            id,
            state: State::Started,
            api_url: context.client.base().to_owned(),
            tenant: context.tenant.clone(),
            vault: vault.to_owned(),
            credentials: credentials.collect(),
            files: changed,
            path: PathBuf::new(),
        })
    }

    /// The names of its credentials.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.credentials.iter().map(|moved| moved.name.as_str())
    }

    /// Everything but the values.
    pub(crate) fn summary(&self) -> Value {
        let files = self
            .files
            .iter()
            .map(|file| file.path.display().to_string());
        json!({
            "id": self.id,
            "state": self.state.name(),
            "vault": self.vault,
            "credentials": self.names().collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
            "record": self.path_text(),
        })
    }

    /// Where the record is.
    pub(crate) fn path_text(&self) -> String {
        self.path.display().to_string()
    }

    /// Refuses to go on at another control than the one where it began.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub(crate) fn check_control(&self, context: &Context) -> Result<()> {
        if self.api_url == context.client.base() && self.tenant == context.tenant {
            return Ok(());
        }
        Err(Error::failed(
            format!(
                "import {} began at {}, tenant {}",
                self.id, self.api_url, self.tenant
            ),
            "Name them with --api-url and --tenant, or with the profile.",
        ))
    }
}

/// A text with parts replaced; none if parts overlap.
pub(crate) fn splice(
    text: &[u8],
    mut parts: Vec<(std::ops::Range<usize>, String)>,
) -> Option<Vec<u8>> {
    parts.sort_by_key(|(at, _)| at.start);
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for (at, new) in parts {
        out.extend_from_slice(text.get(from..at.start)?);
        out.extend_from_slice(new.as_bytes());
        from = at.end;
    }
    out.extend_from_slice(text.get(from..)?);
    Some(out)
}

/// The folder of all records.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// Held while an import is under way.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "the lock is given up when it is dropped")] Flock<fs::File>,
);

impl Folder {
    /// The folder at this place, which need not be there.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Keeps other imports of this user away.
    ///
    /// # Errors
    /// [`Error::Failed`] if one is under way, [`Error::File`].
    pub(crate) fn lock(&self) -> Result<Lock> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0);
        made.map_err(|source| Error::file("make", &self.0, source))?;
        let path = self.0.join("lock");
        let open = fs::File::options().create(true).append(true).open(&path);
        let file = open.map_err(|source| Error::file("open", &path, source))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).or(Err(Error::failed(
            "another import of yours is under way",
            "Wait until it has ended.",
        )))?;
        // What was killed while it wrote its record has changed nothing else, but the draft holds values.
        for path in self.of_kind("new")? {
            shred(&path)?;
        }
        Ok(Lock(lock))
    }

    /// The files of the folder with this extension, in order.
    fn of_kind(&self, kind: &str) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::file("read", &self.0, source)),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == kind))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// All records, the oldest first.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Failed`] for a record that cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<Record>> {
        self.of_kind("json")?
            .iter()
            .map(|path| read(path))
            .collect()
    }

    /// The record of this id; `last` is the newest of those that are meant.
    ///
    /// # Errors
    /// As [`all`](Self::all)'s, and [`Error::Failed`] if there is none.
    pub(crate) fn read(&self, id: &str, is_meant: impl Fn(State) -> bool) -> Result<Record> {
        let mut newest = self.all()?.into_iter().rev();
        let found = if id == "last" {
            newest.find(|record| is_meant(record.state))
        } else {
            newest.find(|record| record.id == id)
        };
        found.ok_or_else(|| {
            Error::failed(
                format!("there is no such import: {id}"),
                "`sortie import --list` shows those that there are.",
            )
        })
    }

    /// Puts a new record on disk.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec(record);
        let text = text.map_err(|source| Error::system("write JSON", source.into()))?;
        let text = Secret::new(text);
        config::write_private(&self.path_of(record), text.expose())?;
        sync_folder(&self.0)
    }

    fn path_of(&self, record: &Record) -> PathBuf {
        self.0.join(format!("{}.json", record.id))
    }

    /// Writes a new state down.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn mark(&self, mut record: Record, state: State) -> Result<Record> {
        record.path = self.path_of(&record);
        config::write_private(&record.path.with_extension(STATE), state.name().as_bytes())?;
        sync_folder(&self.0)?;
        record.state = state;
        Ok(record)
    }

    /// Overwrites a record and removes it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn shred(&self, record: &Record) -> Result<()> {
        shred(&record.path)?;
        let state = record.path.with_extension(STATE);
        match fs::remove_file(&state) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &state, source));
            }
            _ => {}
        }
        sync_folder(&self.0)
    }
}

/// Overwrites a file, and removes it.
fn shred(path: &Path) -> Result<()> {
    let failed = |source| Error::file("overwrite", path, source);
    let mut file = fs::File::options().write(true).open(path).map_err(failed)?;
    let mut left = file.metadata().map_err(failed)?.len();
    let zeros = vec![0; 64 * 1024];
    while left > 0 {
        let count = usize::try_from(left)
            .unwrap_or(zeros.len())
            .min(zeros.len());
        file.write_all(zeros.get(..count).unwrap_or_default())
            .map_err(failed)?;
        left = left.saturating_sub(u64::try_from(count).unwrap_or(left));
    }
    file.sync_all().map_err(failed)?;
    fs::remove_file(path).map_err(failed)
}

fn read(path: &Path) -> Result<Record> {
    let failed = |source| Error::file("read", path, source);
    if fs::metadata(path).map_err(failed)?.len() > RECORD_MAX {
        return Err(Error::failed(
            format!("{} is no record", path.display()),
            "Look at it.",
        ));
    }
    let text = Secret::new(fs::read(path).map_err(failed)?);
    // What serde says of a line may hold a part of a value.
    let mut record: Record = serde_json::from_slice(text.expose()).or(Err(Error::failed(
        format!(
            "{} cannot be read as the record of an import",
            path.display()
        ),
        "It may be of another version of sortie, or damaged; its values are base64.",
    )))?;
    let state = fs::read(path.with_extension(STATE)).unwrap_or_default();
    let mut known = [State::Done, State::Undone].into_iter();
    record.state = known
        .find(|known| known.name().as_bytes() == state)
        .unwrap_or_default();
    record.path = path.to_owned();
    Ok(record)
}

/// Makes a name in a folder outlive a crash.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    let sync = fs::File::open(folder).and_then(|folder| folder.sync_all());
    sync.map_err(|source| Error::file("sync", folder, source))
}

#[cfg(test)]
mod tests;
