//! Databases of NSS, which Firefox and Chromium trust besides, or instead of, the system's store.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::authority::{Named, is_ours};
use super::{Kind, Store, program};
use crate::config;
use crate::error::{Error, Result};

/// Chromium's database, below the home.
const CHROMIUM: &str = ".pki/nssdb";
/// Where Firefox has its profiles, below the home.
const FIREFOX: [&str; 4] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];
/// The file that makes a folder a database.
const DATABASE: &str = "cert9.db";

/// One database.
#[derive(Debug)]
pub(super) struct Database(PathBuf);

/// Those that are named, or else those of this user.
pub(super) fn find(named: &[PathBuf]) -> Vec<Database> {
    if !named.is_empty() {
        return named.iter().cloned().map(Database).collect();
    }
    let Some(home) = config::variable("HOME").map(PathBuf::from) else {
        return Vec::new();
    };
    let profiles = FIREFOX.iter().flat_map(|folder| {
        let entries = fs::read_dir(home.join(folder));
        entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    });
    let mut found: Vec<_> = std::iter::once(home.join(CHROMIUM))
        .chain(profiles)
        .filter(|folder| folder.join(DATABASE).is_file())
        .collect();
    found.sort();
    found.into_iter().map(Database).collect()
}

impl Database {
    fn certutil(&self, arguments: &[&str]) -> Result<String> {
        if program::find("certutil").is_none() {
            return Err(Error::failed(
                "certutil is not installed",
                "Its package is libnss3-tools (Debian, Ubuntu), nss-tools (Fedora, Red Hat) or nss (Homebrew).",
            ));
        }
        let database = format!("sql:{}", self.0.display());
        let mut all = vec!["-d", database.as_str()];
        all.extend(arguments);
        program::run("certutil", &all)
    }
}

/// The names in what `certutil -L` lists: a name and, after spaces, what it is trusted for.
fn listed(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split_ascii_whitespace().next())
        .filter(|name| is_ours(name))
        .map(str::to_owned)
        .collect()
}

impl Store for Database {
    fn kind(&self) -> Kind {
        Kind::Nss
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn does(&self) -> String {
        format!("the database {}, with certutil", self.0.display())
    }

    fn is_writable(&self) -> bool {
        let file = self.0.join(DATABASE);
        let path: &Path = if file.exists() { &file } else { &self.0 };
        access(path, AccessFlags::W_OK).is_ok()
    }

    fn names(&self) -> Result<Vec<String>> {
        self.certutil(&["-L"]).map(|text| listed(&text))
    }

    fn install(&self, named: &Named) -> Result<()> {
        // It reads its file once: a private copy will do.
        let copy = tempfile::NamedTempFile::new()
            .map_err(|source| Error::system("make a file", source))?;
        fs::write(copy.path(), &named.pem)
            .map_err(|source| Error::file("write", copy.path(), source))?;
        let file = copy.path().display().to_string();
        self.certutil(&["-A", "-t", "C,,", "-n", &named.name, "-i", &file])
            .map(drop)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.certutil(&["-D", "-n", name]).map(drop)
    }
}

#[cfg(test)]
mod tests;
