//! The private PostgreSQL.

use std::time::Duration;

use sortie_control::database::private::{Binaries, Cluster, Error};

use crate::support::folder;

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
