//! The private PostgreSQL.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sortie_control::database::private::{Binaries, Cluster, Error};
use sortie_control::server::Server;

use crate::support::{Caller, config, folder, mode};

#[tokio::test(flavor = "multi_thread")]
async fn another_server_on_the_same_folder_is_refused() {
    let dir = folder();
    let binaries = Binaries::find(&[]).unwrap();
    let cluster = Cluster::start(dir.path(), &binaries).await.unwrap();
    let second = Cluster::start(dir.path(), &binaries).await;
    assert!(matches!(second, Err(Error::InUse(_))), "{second:?}");
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .unwrap();
    assert!(
        !dir.path().join("postgres/postmaster.pid").exists(),
        "it was shut down cleanly"
    );
    std::fs::write(dir.path().join("postgres/PG_VERSION"), "9\n").unwrap();
    let other = tokio::time::timeout(
        Duration::from_secs(60),
        Cluster::start(dir.path(), &binaries),
    )
    .await
    .unwrap();
    assert!(
        matches!(other, Err(Error::OtherVersion { .. })),
        "{other:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_control_works_on_the_same_database() {
    let (first_dir, second_dir) = (folder(), folder());
    let first = Server::start(config(first_dir.path(), None)).await.unwrap();
    for name in ["database-url", "socket-path"] {
        assert_eq!(mode(&first_dir.path().join(name)), 0o600, "{name}");
    }
    let socket = std::fs::read_to_string(first_dir.path().join("socket-path")).unwrap();
    assert!(Path::new(&socket).join(".s.PGSQL.5432").exists());
    let operator = std::fs::read_to_string(first_dir.path().join("operator.key")).unwrap();
    let url = std::fs::read_to_string(first_dir.path().join("database-url")).unwrap();

    let root = second_dir.path().join("root.key");
    let second = config(second_dir.path(), Some(&url));
    assert!(
        Server::start(second).await.is_err(),
        "without the root key it must not start"
    );
    std::fs::copy(first_dir.path().join("root.key"), &root).unwrap();
    let second = Server::start(config(second_dir.path(), Some(&url)))
        .await
        .unwrap();
    assert!(
        !second_dir.path().join("operator.key").exists(),
        "the operators have their key"
    );

    // What one makes with the key, the other one knows, keys and revisions included.
    let one = Caller::of(first.state(), &operator);
    let other = Caller::of(second.state(), &operator);
    let made = one.post("/v1/tenants", json!({ "name": "acme" })).await;
    let owner = made.expect(201)["owner_key"].as_str().unwrap().to_owned();
    let owner = Caller::of(second.state(), &owner);
    let vault = json!({ "name": "v" });
    owner.post("/v1/tenants/-/vaults", vault).await.expect(201);
    other.get("/v1/tenants/acme").await.expect(200);
    let seen = [first.state(), second.state()].map(|state| state.sequencer.clone());
    let (a, b) = (seen[0].committed().await, seen[1].committed().await);
    assert_eq!(a.unwrap(), b.unwrap());
    second.stop().await;
    one.get("/v1/tenants/acme").await.expect(200);
    first.stop().await;
    assert_eq!(
        std::fs::read_to_string(first_dir.path().join("operator.key")).unwrap(),
        operator
    );
}
