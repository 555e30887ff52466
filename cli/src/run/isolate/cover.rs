//! What an isolated command is not shown of the files that it sees: Sortie's own keys, what was named, and sockets that
//! other programs listen at, each of which may be a way past the gateway.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, getegid, geteuid, getgroups};

use crate::config;
use crate::error::{Error, Result};

/// What is not shown besides: what was named, and the file of the session's token, if it has one.
///
/// # Errors
/// [`Error::File`] for a name of nothing: whoever mistypes it would think it hidden.
pub(super) fn hidden(named: &[PathBuf], session: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut hidden = named
        .iter()
        .map(|path| {
            path.canonicalize()
                .map_err(|source| Error::file("hide", path, source))
        })
        .collect::<Result<Vec<_>>>()?;
    // Standard input (`-`) is the command's own, and what it said is read already.
    hidden.extend(
        session
            .filter(|path| *path != Path::new("-"))
            .map(Path::to_owned),
    );
    Ok(hidden)
}

/// What is covered of the paths that can be seen: Sortie's own keys, what was named, and the sockets of other programs.
pub(super) fn covered(
    ours: &[&Path],
    hide: &[PathBuf],
    is_seen: impl Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let hidden = config::private_paths()
        .into_iter()
        .chain(hide.iter().cloned());
    let mask: BTreeSet<PathBuf> = hidden
        .chain(sockets())
        .filter(|path| !ours.iter().any(|ours| path.starts_with(ours)))
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| is_seen(path))
        .collect();
    // What is inside of a folder that is covered is covered with it.
    let outer = |path: &PathBuf| {
        !mask
            .iter()
            .any(|other| other != path && path.starts_with(other))
    };
    mask.iter().filter(|path| outer(path)).cloned().collect()
}

/// The sockets that have a path, of those that this machine's programs listen at (unix(7)).
pub(super) fn sockets() -> Vec<PathBuf> {
    // Names are bytes: one that is not UTF-8 must not hide the others.
    let listed = std::fs::read("/proc/net/unix").unwrap_or_default();
    let lines = listed.split(|byte| *byte == b'\n');
    let names: Vec<&Path> = lines.filter_map(name).collect();
    let folders = folders();
    let relative = names.iter().filter(|name| name.is_relative());
    let candidates = relative.flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let absolute = names.iter().filter(|name| name.is_absolute());
    let found: BTreeSet<PathBuf> = absolute
        .map(|name| name.to_path_buf())
        .chain(candidates)
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| path.metadata().is_ok_and(|it| it.file_type().is_socket()))
        .filter(|path| is_reachable(path))
        .collect();
    found.into_iter().collect()
}

/// The name at the end of a line of `/proc/net/unix`, as it was bound: a relative path names no folder. An abstract one
/// begins with `@` there, and so may a file's: whether there is a file decides.
pub(super) fn name(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    // Num, RefCount, Protocol, Flags, Type, St, Inode; numbers are padded with spaces.
    for _column in 0..7 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ')?;
        rest = rest.get(end + 1..)?;
    }
    (!rest.is_empty()).then(|| Path::new(OsStr::from_bytes(rest)))
}

/// The folders that programs are in, as far as this user may see them.
fn folders() -> BTreeSet<PathBuf> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| process.path().join("cwd").read_link().ok())
        .chain(std::env::current_dir().ok())
        .collect()
}

/// Whether a user without powers over others' files gets to it: inside, root has none. What cannot be reached cannot be
/// covered either.
fn is_reachable(path: &Path) -> bool {
    let (user, mut groups) = (geteuid(), getgroups().unwrap_or_default());
    // Whether the list has it is left to systems (getgroups(2)).
    groups.push(getegid());
    path.ancestors().skip(1).all(|folder| {
        folder.metadata().is_ok_and(|found| {
            let group = groups.contains(&Gid::from_raw(found.gid()));
            found.uid() == user.as_raw() || found.mode() & if group { 0o010 } else { 0o001 } != 0
        })
    })
}
