//! The files that are looked at, read once and whole.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;
use sortie_proto::secret::Secret;

use super::format::{Format, Found};
use crate::config;
use crate::error::{Error, Result};
use crate::output::Output;

/// Why what is found in a file is left.
const NOT_WRITABLE: &str = "its folder cannot be written to";

/// The longest file that is looked at, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// A file with what was found in it.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it really is: links are followed, so that a link stays one.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) content: Secret,
    /// Its secrets, in order.
    pub(crate) found: Vec<Found>,
}

/// The places where secrets usually are. What is not there, or cannot be read, is passed over.
pub(crate) fn usual(out: Output) -> Vec<File> {
    let mut paths = in_folder(Path::new("."));
    if let Some(home) = config::variable("HOME").map(PathBuf::from) {
        let names = [
            ".npmrc",
            ".netrc",
            ".pypirc",
            ".aws/credentials",
            ".git-credentials",
        ];
        paths.extend(names.map(|name| home.join(name)));
    }
    if let Some(aws) = config::variable("AWS_SHARED_CREDENTIALS_FILE") {
        paths.push(aws.into());
    }
    paths.extend(config::user_folder("GH_CONFIG_DIR", ".config/gh").map(|gh| gh.join("hosts.yml")));
    if let Some(folder) = config::user_folder("XDG_CONFIG_HOME", ".config") {
        paths.push(folder.join("gh/hosts.yml"));
        paths.push(folder.join("git/credentials"));
    }
    let mut files = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        match read(path) {
            Ok(file) => push(&mut files, file),
            Err(error) => out.note(&format!("passed over: {error}")),
        }
    }
    files
}

/// A path as people write it: below the folder that this is started in, or below the home.
pub(crate) fn short(path: &str) -> String {
    let below = |folder: Option<PathBuf>, sign: &str| {
        let folder = fs::canonicalize(folder?).ok()?;
        let rest = Path::new(path).strip_prefix(&folder).ok()?;
        Some(format!("{sign}{}", rest.display()))
    };
    below(std::env::current_dir().ok(), "")
        .or_else(|| below(config::variable("HOME").map(PathBuf::from), "~/"))
        .unwrap_or_else(|| path.to_owned())
}

/// The files that were named, and those in the folders that were named.
///
/// # Errors
/// [`Error::File`] if one cannot be read, [`Error::Failed`] if what it holds is not known.
pub(crate) fn named(paths: &[PathBuf], out: Output) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = in_folder(path);
            if inside.is_empty() {
                out.note(&format!("nothing to look at in {}", path.display()));
            }
            for path in inside {
                push(&mut files, read(&path)?);
            }
        } else {
            push(&mut files, read(path)?);
        }
    }
    Ok(files)
}

/// A file that two ways lead to is one.
fn push(files: &mut Vec<File>, file: File) {
    if !files.iter().any(|known| known.path == file.path) {
        files.push(file);
    }
}

/// The files of a folder whose names say what they hold, in order.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut paths: Vec<_> = paths
        .filter(|path| Format::of(path).is_some() && path.is_file())
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<File> {
    let failed = |source| Error::file("read", path, source);
    fs::metadata(path).map_err(failed)?;
    let format = Format::of(path).ok_or_else(|| {
        Error::failed(
            format!("nobody knows how to look for secrets in {}", path.display()),
            "Known are .env*, .envrc, .npmrc, .netrc, .pypirc, .aws/credentials, hosts.yml and .git-credentials.",
        )
    })?;
    let real = fs::canonicalize(path).map_err(failed)?;
    let file = fs::File::open(&real).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let odd = |what: &str| {
        Err(Error::failed(
            format!("{} {what}", path.display()),
            "It was left alone.",
        ))
    };
    if about.len() > FILE_MAX {
        return odd("has more than 1 MiB");
    }
    if about.nlink() > 1 {
        // Replacing it would part the names.
        return odd("has another name (a hard link)");
    }
    if real.to_str().is_none() {
        return odd("has a name that is not UTF-8");
    }
    let mut content = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1);
    file.take(FILE_MAX)
        .read_to_end(&mut content)
        .map_err(failed)?;
    let mut found = format.find(&content);
    let folder = real.parent().unwrap_or_else(|| Path::new("/"));
    if nix::unistd::access(folder, AccessFlags::W_OK).is_err() {
        // A file is replaced by another one: better said now than once the vault has changed.
        for it in &mut found {
            it.unsure.get_or_insert(NOT_WRITABLE);
        }
    }
    Ok(File {
        path: real,
        found,
        content: Secret::new(content),
    })
}

#[cfg(test)]
mod tests;
