//! This program, in a form that a container of any image can start: with the loader and the libraries that it runs with
//! here, since an image may have others (musl) or none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where it stands inside.
const FOLDER: &str = "/run/sortie";

/// What is mounted, and how it is started.
#[derive(Debug)]
pub(super) struct Own {
    /// The program and its libraries: each one's place inside, and its file here.
    pub(super) files: BTreeMap<PathBuf, PathBuf>,
    /// The first words of its command line.
    pub(super) start: Vec<OsString>,
}

impl Own {
    /// Looks at the process that asks.
    ///
    /// # Errors
    /// [`Error::System`], [`Error::File`].
    pub(super) fn find() -> Result<Self> {
        let program =
            std::env::current_exe().map_err(|source| Error::system("find this program", source))?;
        let maps = Path::new("/proc/self/maps");
        let text = fs::read_to_string(maps).map_err(|source| Error::file("read", maps, source))?;
        Ok(Self::new(program, &libraries(&text)))
    }

    fn new(program: PathBuf, libraries: &[PathBuf]) -> Self {
        let folder = Path::new(FOLDER);
        let inside = folder.join("sortie");
        let mut files = BTreeMap::from([(inside.clone(), program)]);
        let mut loader = None;
        for library in libraries {
            for name in names(library) {
                let place = folder.join("lib").join(&name);
                if name.to_string_lossy().starts_with("ld-") {
                    loader = Some(place.clone());
                }
                files.insert(place, library.clone());
            }
        }
        let mut start = Vec::new();
        if let Some(loader) = loader {
            start.extend([
                loader.into_os_string(),
                "--library-path".into(),
                folder.join("lib").into_os_string(),
            ]);
        }
        start.push(inside.into_os_string());
        Self { files, start }
    }
}

/// The shared objects that a process has mapped (`proc_pid_maps(5)`).
fn libraries(maps: &str) -> Vec<PathBuf> {
    let paths = maps
        .lines()
        .filter_map(|line| line.find(" /").and_then(|at| line.get(at + 1..)));
    let mut found: Vec<PathBuf> = paths
        .map(PathBuf::from)
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".so") || name.contains(".so.")
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The names that a library is asked for by: its own, and those of the links beside it that lead to it.
fn names(library: &Path) -> Vec<OsString> {
    let own = library.file_name().map(OsString::from);
    // libc.so.6 may be a link to libc-2.31.so: what they have in common is the start.
    let stem: String = own
        .iter()
        .flat_map(|name| name.to_string_lossy().chars().take(4).collect::<Vec<_>>())
        .collect();
    let beside = library
        .parent()
        .and_then(|folder| fs::read_dir(folder).ok());
    let links = beside
        .into_iter()
        .flatten()
        .filter_map(std::result::Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&stem))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .filter(|entry| {
            entry
                .path()
                .canonicalize()
                .is_ok_and(|leads| leads == library)
        })
        .map(|entry| entry.file_name());
    let mut names: Vec<OsString> = own.into_iter().chain(links).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
