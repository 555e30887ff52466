//! A private PostgreSQL: found, initialised, started and stopped by this process.
//!
//! For one machine and for tests; the same SQL runs against a managed database by its URL. The server listens on a
//! Unix socket in a folder that only its user may enter, and on no network. It runs under a small shell that holds the
//! read end of a pipe from this process: when this process ends in any way, `kill -9` included, the pipe closes and the
//! server is told to shut down. Data is as durable as anywhere: `fsync` stays on.
//!
//! Beside the data it leaves two files for tools and for further replicas on the same machine: `socket-path` and
//! `database-url`. Neither holds a secret; what admits is the socket's folder.
//!
//! PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, who must be able to reach the folder.

mod binaries;
mod place;

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;

pub use self::binaries::Binaries;
use self::place::{Place, RunAs, publish};

/// How long a start may take: recovery after a crash is included.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take before the server is left to finish by itself.
const STOP_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// The file in the data folder that names the socket's folder, for `psql -h` and `pg_dump -h`.
const SOCKET_PATH: &str = "socket-path";
/// The file in the data folder that holds the connection string, for `database_url` of another replica.
const DATABASE_URL: &str = "database-url";

/// Runs the server and tells it to stop when standard input ends. `$1` is the first word of the server's command line.
const SUPERVISOR: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
server=$!
( read -r _ <&3; kill -INT "$server" 2>/dev/null ) </dev/null >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$server"
code=$?
kill "$watcher" 2>/dev/null
exit "$code""#;

/// Why the private database cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server is installed.
    #[error(
        "no PostgreSQL server was found (looked in PG_BIN, PATH and the usual places). Install it with \
         `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) or \
         `brew install postgresql@17` (macOS), or set database_url"
    )]
    NoBinaries,
    /// The data was written by another major version.
    #[error(
        "{path} holds data of PostgreSQL {data}, but {found} is installed: convert it with pg_upgrade, or install {data}"
    )]
    OtherVersion {
        /// The data folder.
        path: PathBuf,
        /// The version that wrote it.
        data: String,
        /// The version that was found.
        found: String,
    },
    /// The unprivileged user cannot reach the folder.
    #[error(
        "PostgreSQL does not run as root, and user {user} cannot enter {path}: run as another user, or choose a data_dir that everyone may pass through"
    )]
    NotReachable {
        /// Who would run it.
        user: String,
        /// The first folder that stops them.
        path: PathBuf,
    },
    /// There is no unprivileged user.
    #[error("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")]
    NoUser,
    /// Another process uses the folder.
    #[error("{0} is in use by another sortie-control")]
    InUse(PathBuf),
    /// A program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// The server did not start in time.
    #[error("PostgreSQL did not accept connections within a minute; see {0}")]
    Slow(PathBuf),
    /// A file operation failed.
    #[error("cannot use {path}")]
    Io {
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server answers, but not as it should.
    #[error("the private database does not answer")]
    Database(#[from] tokio_postgres::Error),
}

impl Error {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// A running private server. Dropped, it is shut down, and waited for.
#[derive(Debug)]
pub struct Cluster {
    child: Child,
    socket_dir: PathBuf,
    // Held for as long as the server may run.
    _lock: File,
}

impl Cluster {
    /// Initialises the folder if it is new, starts the server on it, and waits until it answers.
    ///
    /// # Errors
    /// Each variant of [`Error`] says what to do.
    pub async fn start(dir: &Path, binaries: &Binaries) -> Result<Self, Error> {
        let run_as = RunAs::choose()?;
        let place = Place::prepare(dir, &run_as)?;
        let lock = lock(&place.dir.join("lock"))?;
        wait_for_predecessor(&place).await;
        if !place.data.join("PG_VERSION").exists() {
            initialise(&place, binaries, &run_as)?;
        }
        check_version(&place.data, binaries)?;
        let child = spawn(&place, binaries, &run_as)?;
        let mut cluster = Self {
            child,
            socket_dir: place.socket_dir.clone(),
            _lock: lock,
        };
        cluster.wait_until_ready(&place).await?;
        cluster.create_database("sortie").await?;
        publish(
            &place.dir.join(SOCKET_PATH),
            &place.socket_dir.display().to_string(),
        )?;
        publish(&place.dir.join(DATABASE_URL), &cluster.url())?;
        Ok(cluster)
    }

    /// The connection string of Sortie's database.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("sortie")
    }

    /// The connection string of a database of this server.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        let quoted = self
            .socket_dir
            .display()
            .to_string()
            .replace('\\', r"\\")
            .replace('\'', r"\'");
        format!("host='{quoted}' user=sortie dbname={database}")
    }

    /// Runs one statement on the maintenance database, e.g. to make a test's database from a template.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn administer(&self, sql: &str) -> Result<(), Error> {
        let (client, driver) = tokio_postgres::connect(&self.url_of("postgres"), NoTls).await?;
        tokio::select! {
            done = client.batch_execute(sql) => done?,
            ended = driver => ended?,
        }
        Ok(())
    }

    async fn create_database(&self, name: &str) -> Result<(), Error> {
        use tokio_postgres::error::SqlState;
        match self.administer(&format!("CREATE DATABASE {name}")).await {
            Err(Error::Database(error)) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => {
                Ok(())
            }
            done => done,
        }
    }

    async fn wait_until_ready(&mut self, place: &Place) -> Result<(), Error> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if tokio_postgres::connect(&self.url_of("postgres"), NoTls)
                .await
                .is_ok()
            {
                return Ok(());
            }
            if let Some(_status) = self.child.try_wait().map_err(Error::io(&place.data))? {
                let said = fs::read_to_string(&place.log).unwrap_or_default();
                return Err(Error::Program {
                    program: "postgres",
                    output: tail(&said),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::Slow(place.log.clone()));
            }
            sleep(POLL).await;
        }
    }

    /// Shuts the server down and waits for it. For use where blocking is allowed.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
        let mut waited = Duration::ZERO;
        while matches!(self.child.try_wait(), Ok(None)) && waited < STOP_MAX {
            std::thread::sleep(POLL);
            waited += POLL;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(Error::io(path)(error)),
    }
}

/// A server whose supervisor was killed with its parent a moment ago may still be writing its checkpoint.
async fn wait_for_predecessor(place: &Place) {
    use nix::sys::signal::kill;
    use nix::unistd::Pid;
    let deadline = Instant::now() + STOP_MAX;
    while Instant::now() < deadline {
        let Some(pid) = fs::read_to_string(place.data.join("postmaster.pid"))
            .ok()
            .and_then(|text| text.lines().next()?.trim().parse().ok())
        else {
            return;
        };
        if kill(Pid::from_raw(pid), None).is_err() {
            return;
        }
        sleep(POLL).await;
    }
}

/// Initialises beside the final place and renames, so that a half-made folder is never taken for a database.
fn initialise(place: &Place, binaries: &Binaries, run_as: &RunAs) -> Result<(), Error> {
    let fresh = place.dir.join("postgres.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(Error::io(&fresh))?;
    }
    fs::create_dir(&fresh).map_err(Error::io(&fresh))?;
    run_as.own(&fresh, 0o700)?;
    let mut command = Command::new(binaries.initdb());
    command
        .arg("-D")
        .arg(&fresh)
        .args([
            "-U",
            "sortie",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ])
        .args(["--data-checksums", "--no-instructions"])
        .current_dir(&place.dir);
    run_as.apply(&mut command);
    let output = command.output().map_err(Error::io(binaries.initdb()))?;
    if !output.status.success() {
        return Err(Error::Program {
            program: "initdb",
            output: tail(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    fs::rename(&fresh, &place.data).map_err(Error::io(&place.data))
}

fn check_version(data: &Path, binaries: &Binaries) -> Result<(), Error> {
    let path = data.join("PG_VERSION");
    let written = fs::read_to_string(&path)
        .map_err(Error::io(&path))?
        .trim()
        .to_owned();
    let found = binaries.major_version()?;
    if written == found {
        return Ok(());
    }
    Err(Error::OtherVersion {
        path: data.to_owned(),
        data: written,
        found,
    })
}

fn spawn(place: &Place, binaries: &Binaries, run_as: &RunAs) -> Result<Child, Error> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(&place.log)
        .map_err(Error::io(&place.log))?;
    let also = log.try_clone().map_err(Error::io(&place.log))?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", SUPERVISOR, "sortie-postgres"])
        .arg(binaries.postgres())
        .arg("-D")
        .arg(&place.data)
        .arg("-k")
        .arg(&place.socket_dir)
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "shared_buffers=64MB",
            "-c",
            "fsync=on",
        ])
        .args([
            "-c",
            "unix_socket_permissions=0700",
            "-c",
            "max_connections=200",
        ])
        .current_dir(&place.dir)
        // Its own group, so that Ctrl-C in a terminal reaches this process alone and the order of stopping holds.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(also);
    run_as.apply(&mut command);
    command.spawn().map_err(Error::io(binaries.postgres()))
}

/// The last few lines of a program's output.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().rev().take(6).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
