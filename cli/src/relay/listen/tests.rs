use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn only_this_machine_is_listened_on() {
    for fine in ["127.0.0.1:0", "[::1]:7381", "unix:/run/relay.sock"] {
        assert!(fine.parse::<Place>().is_ok(), "{fine}");
    }
    for wrong in [
        "0.0.0.0:7381",
        "10.0.0.1:1",
        "7381",
        "unix:relative",
        "localhost:1",
    ] {
        assert!(wrong.parse::<Place>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_socket_is_its_owners_alone_and_one_that_was_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.sock");
    let place = Place::Socket(path.clone());
    // What a killed relay leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = Listener::open(&place).await.unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(Listener::open(&place).await.is_err(), "somebody listens");
    drop(first);
    assert!(!path.exists());
}

#[test]
fn a_password_file_is_made_once_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let made = password_in(&path).unwrap();
    assert_eq!(made.len(), PASSWORD_LENGTH);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(password_in(&path).unwrap().same_as(made.expose()));
    let shown = url("127.0.0.1:1", &made);
    assert_eq!(shown.len(), "http://x:@127.0.0.1:1".len() + PASSWORD_LENGTH);
}
