//! What an isolated command is not shown of the files that it sees: Sortie's own keys, what was named, and sockets that
//! other programs listen at, each of which may be a way past the gateway.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, geteuid, getgroups};

use crate::config;

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
    let listed = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let paths = listed
        .lines()
        .filter_map(|line| line.find(" /").and_then(|at| line.get(at + 1..)));
    let sockets = paths.map(PathBuf::from).filter(|path| {
        path.symlink_metadata()
            .is_ok_and(|found| found.file_type().is_socket())
    });
    sockets.filter(|path| is_reachable(path)).collect()
}

/// Whether a user without powers over others' files gets to it: inside, root has none. What cannot be reached cannot be
/// covered either.
fn is_reachable(path: &Path) -> bool {
    let (user, groups) = (geteuid(), getgroups().unwrap_or_default());
    path.ancestors().skip(1).all(|folder| {
        folder.metadata().is_ok_and(|found| {
            let group = groups.contains(&Gid::from_raw(found.gid()));
            found.uid() == user.as_raw() || found.mode() & if group { 0o010 } else { 0o001 } != 0
        })
    })
}
