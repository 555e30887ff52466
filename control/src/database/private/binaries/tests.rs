use super::*;

#[test]
fn versions_are_found_newest_first_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["pgsql-9", "pgsql-17", "pgsql-16", "pgsql-x", "17", "lib"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let found = versions(dir.path(), "pgsql-");
    let expected: Vec<_> = ["pgsql-17", "pgsql-16", "pgsql-9"]
        .map(|name| dir.path().join(name).join("bin"))
        .into();
    assert_eq!(found, expected);
    assert_eq!(versions(dir.path(), ""), [dir.path().join("17/bin")]);
    assert!(versions(&dir.path().join("none"), "").is_empty());
}
