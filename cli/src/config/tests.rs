use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn profile(url: &str) -> Profile {
    Profile {
        api_url: Some(url.to_owned()),
        ..Profile::default()
    }
}

#[test]
fn a_profile_is_added_beside_others_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sortie/config.toml");
    write_profile(&path, "work", profile("https://sortie.example")).unwrap();
    write_profile(&path, "dev", profile("http://127.0.0.1:7300")).unwrap();
    write_profile(&path, "dev", profile("http://127.0.0.1:8300")).unwrap();

    let file = read_profiles(&path).unwrap();
    assert_eq!(file.current.as_deref(), Some("work"));
    assert_eq!(file.profiles.len(), 2);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        pick(file, Some("dev"), &path).unwrap(),
        profile("http://127.0.0.1:8300")
    );
}

#[test]
fn a_file_of_profiles_with_a_typing_error_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "[profiles.dev]\napi_uri = \"x\"\n").unwrap();
    assert!(matches!(read_profiles(&path), Err(Error::Config(text)) if text.contains("api_uri")));
}

#[test]
fn a_profile_that_is_named_must_be_there() {
    let path = Path::new("config.toml");
    assert!(pick(File::default(), Some("x"), path).is_err());
    assert_eq!(
        pick(File::default(), None, path).unwrap(),
        Profile::default()
    );
}

#[test]
fn a_key_is_read_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    write_private(&path, b"sortie_key_x\n").unwrap();
    assert_eq!(read_key(&path).unwrap().expose(), b"sortie_key_x");
    fs::write(&path, "").unwrap();
    assert!(read_key(&path).is_err());
}
