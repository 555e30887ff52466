use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A program that does what `script` says, whatever its arguments are.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn start(folder: &Path, script: &str) -> Process {
    let program = program(folder, script);
    Process::start(
        "it",
        &program,
        Path::new("x.toml"),
        &folder.join("it.log"),
        None,
    )
    .unwrap()
}

#[tokio::test]
async fn a_program_that_ends_shows_the_end_of_its_log() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("it.log"), "of an earlier start\n").unwrap();
    let mut process = start(folder.path(), "echo begun; echo the reason >&2; exit 3");
    let error = process
        .ready("http://127.0.0.1:1".to_owned(), Duration::from_secs(60))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ended by itself") && error.ends_with("the reason"),
        "{error}"
    );
    assert!(
        error.contains("begun") && !error.contains("earlier"),
        "{error}"
    );
}

#[tokio::test]
async fn a_program_that_stops_when_asked_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    // The file says that the trap is set.
    let process = start(
        folder.path(),
        "trap 'exit 0' TERM; : > \"$(dirname \"$0\")/up\"; while :; do sleep 0.05; done",
    );
    while !folder.path().join("up").exists() {
        sleep(Duration::from_millis(10)).await;
    }
    process
        .stop(Duration::from_secs(60), std::future::pending())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_stop_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(
        folder.path(),
        "trap '' TERM; : > \"$(dirname \"$0\")/up\"; while :; do sleep 0.05; done",
    );
    while !folder.path().join("up").exists() {
        sleep(Duration::from_millis(10)).await;
    }
    let error = process
        .stop(Duration::from_secs(600), std::future::ready(()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("was killed"), "{error}");
}

#[test]
fn keys_are_not_handed_down_but_settings_are() {
    assert!(is_foreign(b"SORTIE_API_KEY"));
    assert!(!is_foreign(b"SORTIE_CONTROL__LOG__LEVEL"));
    assert!(!is_foreign(b"PATH"));
}
