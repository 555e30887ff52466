//! The system's store on Linux: a folder of files, and a program that makes one bundle of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::authority::{Named, is_ours};
use super::{Kind, Store, program};
use crate::error::{Error, Result};

/// How a family of systems does it: the folder, how its files end, and the program with its arguments.
const FAMILIES: [(&str, &str, &[&str]); 4] = [
    // Debian, Ubuntu, Alpine.
    (
        "/usr/local/share/ca-certificates",
        "crt",
        &["update-ca-certificates"],
    ),
    // Red Hat, Fedora.
    (
        "/etc/pki/ca-trust/source/anchors",
        "pem",
        &["update-ca-trust", "extract"],
    ),
    // SUSE.
    ("/etc/pki/trust/anchors", "pem", &["update-ca-certificates"]),
    // Arch.
    (
        "/etc/ca-certificates/trust-source/anchors",
        "pem",
        &["trust", "extract-compat"],
    ),
];

/// The folder, and what is run after a change.
#[derive(Debug)]
pub(super) struct System {
    folder: PathBuf,
    extension: &'static str,
    update: &'static [&'static str],
}

impl System {
    /// The one of this machine, or the one in that folder: of a system that is being built, so nothing is run there.
    pub(super) fn find(folder: Option<&Path>) -> Option<Self> {
        if let Some(folder) = folder {
            return Some(Self {
                folder: folder.to_owned(),
                extension: "crt",
                update: &[],
            });
        }
        let (folder, extension, update) = FAMILIES.into_iter().find(|(folder, _, update)| {
            Path::new(folder).is_dir()
                && update
                    .first()
                    .is_some_and(|name| program::find(name).is_some())
        })?;
        Some(Self {
            folder: folder.into(),
            extension,
            update,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{}", self.extension))
    }

    fn update(&self) -> Result<()> {
        match self.update.split_first() {
            Some((program, arguments)) => program::run(program, arguments).map(drop),
            None => Ok(()),
        }
    }
}

impl Store for System {
    fn kind(&self) -> Kind {
        Kind::System
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn does(&self) -> String {
        let write = format!("a file in {}", self.folder.display());
        match self.update {
            [] => write,
            update => format!("{write}, then `{}`", update.join(" ")),
        }
    }

    fn is_writable(&self) -> bool {
        access(&self.folder, AccessFlags::W_OK).is_ok()
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.folder)
            .map_err(|source| Error::file("read", &self.folder, source))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let path = entry.path();
                let is_certificate = path.extension().is_some_and(|end| end == self.extension);
                let name = path.file_stem()?.to_str()?.to_owned();
                (is_certificate && is_ours(&name)).then_some(name)
            })
            .collect();
        names.sort();
        Ok(names)
    }

    fn install(&self, named: &Named) -> Result<()> {
        let path = self.file(&named.name);
        let write = || {
            fs::write(&path, &named.pem)?;
            // Everybody reads it, whatever root's own mask is.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
        };
        write().map_err(|source| Error::file("write", &path, source))?;
        self.update()
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.file(name);
        fs::remove_file(&path).map_err(|source| Error::file("remove", &path, source))?;
        match self.update.first() {
            // Without --fresh Debian's leaves the link to the file that went.
            Some(&"update-ca-certificates") => {
                program::run("update-ca-certificates", &["--fresh"]).map(drop)
            }
            _ => self.update(),
        }
    }
}
