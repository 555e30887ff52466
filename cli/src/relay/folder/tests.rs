use super::*;

#[test]
fn a_folder_is_the_relays_own_or_roots() {
    let (me, other) = (Uid::from_raw(1000), 1001);
    assert!(is_trusted(1000, me) && is_trusted(0, me));
    assert!(!is_trusted(other, me));
    assert!(!is_trusted(other, Uid::from_raw(0)), "root asks, too");
    let folder = tempfile::tempdir().unwrap();
    trusted(folder.path()).unwrap();
}

#[test]
fn a_file_has_its_mode_and_replaces_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for mode in [READABLE, PRIVATE] {
        put(&path, &mode.to_ne_bytes(), mode).unwrap();
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
        assert_eq!(fs::read(&path).unwrap(), mode.to_ne_bytes());
    }
}
