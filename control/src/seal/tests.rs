use super::*;

#[test]
fn a_root_key_is_32_bytes_of_base64_in_a_file_of_ones_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    assert!(matches!(key::read(&path), Err(key::Error::Missing(_))));
    let made = key::read_or_create(&path).unwrap();
    assert!(key::read(&path).unwrap().same_as(made.expose()));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        key::read(&path),
        Err(key::Error::TooOpen { mode: 0o640, .. })
    ));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "c2hvcnQ=\n").unwrap();
    assert!(matches!(key::read(&path), Err(key::Error::Malformed(_))));
}

#[test]
fn a_keyed_hash_depends_on_the_pepper() {
    let hash = |pepper: &[u8]| envelope::keyed_hash(&Secret::new(pepper.to_vec()), "sortie_key_x");
    assert_eq!(hash(b"one"), hash(b"one"));
    assert_ne!(hash(b"one"), hash(b"two"));
}
