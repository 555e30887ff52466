//! Java's store of authorities: `cacerts` of each Java that is here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::authority::{Named, is_ours};
use super::{Kind, Store, program};
use crate::config;
use crate::error::{Error, Result};

/// The password that `cacerts` comes with: what is in it is no secret.
const PASSWORD: &str = "changeit";
/// Where the store is in a Java's home, new and old.
const STORES: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];
/// Where systems keep their Javas.
const SYSTEM: [&str; 2] = ["/usr/lib/jvm", "/Library/Java/JavaVirtualMachines"];

/// One store, and the program that changes it.
#[derive(Debug)]
pub(super) struct Cacerts {
    store: PathBuf,
    home: PathBuf,
}

/// Those of the Javas that are named, or else of all that are found; each store once.
pub(super) fn find(named: &[PathBuf]) -> Vec<Cacerts> {
    let homes = if named.is_empty() {
        homes()
    } else {
        named.to_vec()
    };
    let mut seen = BTreeSet::new();
    homes
        .into_iter()
        .filter_map(|home| {
            let store = STORES.iter().map(|store| home.join(store));
            // On Debian all Javas share one, by links.
            let store = store
                .filter_map(|store| fs::canonicalize(store).ok())
                .next()?;
            seen.insert(store.clone())
                .then_some(Cacerts { store, home })
        })
        .collect()
}

fn homes() -> Vec<PathBuf> {
    let mut homes: Vec<_> = config::variable("JAVA_HOME")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    let java = program::find("java").and_then(|java| fs::canonicalize(java).ok());
    homes.extend(java.and_then(|java| Some(java.parent()?.parent()?.to_owned())));
    for folder in SYSTEM {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
        found.sort();
        homes.extend(found.iter().map(|home| home.join("Contents/Home")));
        homes.extend(found);
    }
    homes
}

impl Cacerts {
    fn keytool(&self, arguments: &[&str]) -> Result<String> {
        let own = self.home.join("bin/keytool");
        let program = match own.is_file() {
            true => own.display().to_string(),
            false => "keytool".to_owned(),
        };
        if program::find(&program).is_none() {
            return Err(Error::failed(
                "keytool is not installed",
                "It comes with every JDK and JRE; name one with --java-home.",
            ));
        }
        let store = self.store.display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["-keystore", &store, "-storepass", PASSWORD]);
        program::run(&program, &all)
    }
}

/// The names in what `keytool -list` prints: a name, a comma, a date.
fn listed(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split_once(',').map(|(name, _)| name.trim()))
        .filter(|name| is_ours(name))
        .map(str::to_owned)
        .collect()
}

impl Store for Cacerts {
    fn kind(&self) -> Kind {
        Kind::Java
    }

    fn place(&self) -> String {
        self.store.display().to_string()
    }

    fn does(&self) -> String {
        format!("{}, with keytool", self.store.display())
    }

    fn is_writable(&self) -> bool {
        // keytool writes a new file beside the old one.
        let folder = self.store.parent().unwrap_or_else(|| Path::new("/"));
        [self.store.as_path(), folder]
            .iter()
            .all(|path| access(*path, AccessFlags::W_OK).is_ok())
    }

    fn names(&self) -> Result<Vec<String>> {
        self.keytool(&["-list"]).map(|text| listed(&text))
    }

    fn install(&self, named: &Named) -> Result<()> {
        let copy = tempfile::NamedTempFile::new()
            .map_err(|source| Error::system("make a file", source))?;
        fs::write(copy.path(), &named.pem)
            .map_err(|source| Error::file("write", copy.path(), source))?;
        let file = copy.path().display().to_string();
        let arguments = [
            "-importcert",
            "-noprompt",
            "-trustcacerts",
            "-alias",
            &named.name,
            "-file",
            &file,
        ];
        self.keytool(&arguments).map(drop)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.keytool(&["-delete", "-alias", name]).map(drop)
    }
}

#[cfg(test)]
mod tests;
