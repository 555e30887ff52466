use super::*;

#[test]
fn a_name_is_one_file_in_one_folder() {
    for name in ["prod", "eu-1.example", "a_b"] {
        check_name(name).unwrap();
    }
    for name in ["", ".", "..", "a/b", ".hidden", "a b", "x\n"] {
        assert!(matches!(check_name(name), Err(Error::Usage(_))), "{name:?}");
    }
    let path = key_path(Path::new("/c/sortie/config.toml"), "prod");
    assert_eq!(path, Path::new("/c/sortie/keys/prod.key"));
}
