//! A PostgreSQL of its own for a test binary: on a Unix socket in a temporary folder, stopped when the binary ends.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

struct Server {
    folder: PathBuf,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

fn binary(name: &str) -> PathBuf {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

/// PostgreSQL refuses to run as root.
fn command(name: &str) -> Command {
    let binary = binary(name);
    if !nix::unistd::geteuid().is_root() {
        return Command::new(binary);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(binary);
    command
}

fn start() -> Server {
    let folder = tempfile::Builder::new()
        .prefix("sortie-test-")
        .tempdir()
        .unwrap()
        .keep();
    if nix::unistd::geteuid().is_root() {
        let user = nix::unistd::User::from_name("postgres").unwrap().unwrap();
        chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let data = folder.join("data");
    let made = command("initdb")
        .args(["--auth=trust", "--username=postgres", "--no-sync", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let child = command("postgres")
        .arg("-D")
        .arg(&data)
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    watch(&child, &folder);
    Server { folder }
}

/// A process of its own waits for the end of this one, whatever ends it, and then stops the server.
fn watch(server: &Child, folder: &Path) {
    let script = format!(
        "while kill -0 {} 2>/dev/null; do sleep 0.2; done; kill -INT {}; sleep 1; rm -rf '{}'",
        std::process::id(),
        server.id(),
        folder.display()
    );
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
}

/// The URL of a new, empty database.
pub(crate) async fn database() -> String {
    let server = SERVER.get_or_init(start);
    let url = |name: &str| {
        format!(
            "host={} user=postgres dbname={name}",
            server.folder.display()
        )
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let client = loop {
        match tokio_postgres::connect(&url("postgres"), tokio_postgres::NoTls).await {
            Ok((client, connection)) => {
                drop(tokio::task::spawn(connection));
                break client;
            }
            Err(error) => {
                assert!(tokio::time::Instant::now() < deadline, "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    client
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    url(&name)
}
