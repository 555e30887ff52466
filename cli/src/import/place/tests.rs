use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn what_cannot_be_replaced_is_known_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "A_TOKEN=0123456789\n").unwrap();
    assert_eq!(read(&path).unwrap().found[0].unsure, None);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write everywhere.
    let expect = (!nix::unistd::geteuid().is_root()).then_some(NOT_WRITABLE);
    assert_eq!(read(&path).unwrap().found[0].unsure, expect);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let error = read(&folder.path().join("nowhere.txt")).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn paths_are_told_from_here_or_from_home() {
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    let file = here.join("some/.env").display().to_string();
    assert_eq!(short(&file), "some/.env");
    assert_eq!(short("/nowhere/at/all"), "/nowhere/at/all");
}
