//! Where the PostgreSQL server programs are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// The programs of one installation.
#[derive(Debug, Clone)]
pub struct Binaries {
    initdb: PathBuf,
    postgres: PathBuf,
}

impl Binaries {
    /// Looks in the given folders first (`PG_BIN`, `PATH`), then where Debian, Red Hat, Homebrew and Postgres.app put
    /// them, newest version first.
    ///
    /// # Errors
    /// [`Error::NoBinaries`], which says how to install them.
    pub fn find(first: &[PathBuf]) -> Result<Self, Error> {
        first
            .iter()
            .cloned()
            .chain(usual_places())
            .find_map(|folder| Self::in_folder(&folder))
            .ok_or(Error::NoBinaries)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let found = Self {
            initdb: folder.join("initdb"),
            postgres: folder.join("postgres"),
        };
        (found.initdb.is_file() && found.postgres.is_file()).then_some(found)
    }

    pub(super) fn initdb(&self) -> &Path {
        &self.initdb
    }

    pub(super) fn postgres(&self) -> &Path {
        &self.postgres
    }

    /// What `PG_VERSION` says in a folder that this installation made: `15`.
    pub(super) fn major_version(&self) -> Result<String, Error> {
        let output = Command::new(&self.postgres)
            .arg("--version")
            .output()
            .map_err(Error::io(&self.postgres))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let major: String = version
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        if major.is_empty() {
            return Err(Error::Program {
                program: "postgres --version",
                output: text.trim().to_owned(),
            });
        }
        Ok(major)
    }
}

fn usual_places() -> Vec<PathBuf> {
    // The folder, and what stands before the version in the names of its folders. Some hold much else besides.
    [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/Applications/Postgres.app/Contents/Versions", ""),
    ]
    .into_iter()
    .flat_map(|(parent, prefix)| versions(Path::new(parent), prefix))
    .collect()
}

/// The programs' folders of each version in a folder, newest first.
fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            Some((version.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests;
