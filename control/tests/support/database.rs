//! One private PostgreSQL for the process, one database a test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sortie_control::database::private::{Binaries, Cluster};
use sortie_control::database::{Connector, Database, migrate};
use sortie_control::metrics::Metrics;
use sortie_control::seal::Keys;
use tokio::sync::OnceCell;

/// A folder that the database's unprivileged user can reach.
pub(crate) fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
    dir
}

/// Who may do what with a file.
pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The process's cluster. It is never dropped: its supervisor stops it when the process ends.
async fn cluster() -> &'static (Cluster, PathBuf) {
    static CLUSTER: OnceCell<(Cluster, PathBuf)> = OnceCell::const_new();
    CLUSTER
        .get_or_init(async || {
            let dir = ownfolder();
            let binaries = Binaries::find(&[]).unwrap();
            let cluster = Cluster::start(&dir, &binaries).await.unwrap();
            migrate::run(&Connector::new(&cluster.url(), None).unwrap())
                .await
                .unwrap();
            (cluster, dir)
        })
        .await
}

/// A folder named after this process, for nothing is run when a test process ends: those of processes that are gone
/// are removed here.
fn ownfolder() -> PathBuf {
    const PREFIX: &str = "sortie-test-";
    let parent = std::env::temp_dir();
    for entry in std::fs::read_dir(&parent).unwrap().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<i32>().ok());
        let gone = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err();
        if pid.is_some_and(gone) {
            // Another test process may be removing it too.
            let _removed = std::fs::remove_dir_all(entry.path());
        }
    }
    let own = parent.join(format!("{PREFIX}{}", std::process::id()));
    std::fs::create_dir_all(&own).unwrap();
    own
}

/// An empty database from the migrated template; answers its connection string.
pub(crate) async fn fresh() -> String {
    create("sortie").await
}

/// A database in which nothing was ever made.
pub(crate) async fn empty() -> String {
    create("template0").await
}

async fn create(template: &str) -> String {
    // PostgreSQL copies a template only while nobody is connected to it.
    static ONE_AT_A_TIME: tokio::sync::Mutex<u32> = tokio::sync::Mutex::const_new(0);
    let (cluster, _) = cluster().await;
    let mut made = ONE_AT_A_TIME.lock().await;
    *made += 1;
    let name = format!("test_{made}");
    cluster
        .administer(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
        .await
        .unwrap();
    cluster.url_of(&name)
}

/// A number that one statement answers, as the database's owner and past every pool.
pub(crate) async fn look(url: &str, sql: &str) -> i64 {
    let (client, driver) = Connector::new(url, None).unwrap().connect().await.unwrap();
    tokio::select! {
        row = client.query_one(sql, &[]) => row.unwrap().get(0),
        ended = driver => panic!("{ended:?}"),
    }
}

/// A database without a server over it.
pub(crate) struct Bare {
    pub(crate) database: Database,
    pub(crate) dir: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bare {
    pub(crate) async fn new() -> Self {
        let url = fresh().await;
        let database =
            Database::new(Connector::new(&url, None).unwrap(), 12, Metrics::new()).unwrap();
        let folder = folder();
        let bare = Self {
            database,
            dir: folder.path().to_owned(),
            _folder: folder,
        };
        drop(bare.keys().await);
        bare
    }

    pub(crate) async fn keys(&self) -> Keys {
        Keys::open(&self.database, &self.dir).await.unwrap()
    }
}
