use super::*;

#[test]
fn names_are_read_from_a_list() {
    let text = "Keystore type: PKCS12\nYour keystore contains 2 entries\n\n\
                debian:ca.pem, Nov 1, 2026, trustedCertEntry, \n\
                Certificate fingerprint (SHA-256): AA:BB\n\
                sortie-ten_1-0123456789abcdef, Nov 21, 2026, trustedCertEntry, \n";
    assert_eq!(listed(text), ["sortie-ten_1-0123456789abcdef"]);
}

#[test]
fn a_store_is_found_once_through_links() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::write(&shared, "").unwrap();
    let mut homes = Vec::new();
    for name in ["a", "b"] {
        let home = folder.path().join(name);
        fs::create_dir_all(home.join("lib/security")).unwrap();
        std::os::unix::fs::symlink(&shared, home.join(STORES[0])).unwrap();
        homes.push(home);
    }
    let found = find(&homes);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].place(),
        fs::canonicalize(&shared).unwrap().display().to_string()
    );
}
