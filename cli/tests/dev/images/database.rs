//! The service `database` of the compose file, by the system's PostgreSQL.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use super::compose;
use crate::support::{run, wait};

/// The service `database`: PostgreSQL over TLS, with a password.
pub(super) struct Database(Child);

impl Database {
    pub(super) fn start(folder: &Path, secrets: &Path, port: u16, user: Option<&User>) -> Self {
        let data = folder.join("data");
        let programs = postgres();
        let as_user = |program: &str| {
            let mut command = Command::new(programs.join(program));
            if let Some(user) = user {
                command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            }
            // psql looks for certificates in its home.
            command
                .current_dir("/")
                .env("HOME", "/")
                .stdin(Stdio::null());
            command
        };
        fs::create_dir(&data).unwrap();
        if let Some(user) = user {
            chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let mut initdb = as_user("initdb");
        initdb
            .args([
                "--username=sortie",
                "--auth-host=scram-sha-256",
                "--auth-local=scram-sha-256",
                "--pgdata",
            ])
            .arg(&data)
            .arg("--pwfile")
            .arg(secrets.join("password"));
        run(&mut initdb).ok();
        let mut server = as_user("postgres");
        server.arg("-D").arg(&data).args([
            "-clisten_addresses=localhost",
            "-cunix_socket_directories=",
            &format!("-cport={port}"),
        ]);
        // As the service says, with the folder of its secrets at another place.
        for argument in compose()["services"]["database"]["command"]
            .as_array()
            .unwrap()
            .iter()
            .skip(1)
        {
            server.arg(
                argument
                    .as_str()
                    .unwrap()
                    .replace("/run/database", secrets.to_str().unwrap()),
            );
        }
        let server = server
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let database = Self(server);
        // The engine's image makes the database of its variable; here it is made by hand, with psql.
        let password = fs::read_to_string(secrets.join("password")).unwrap();
        wait("the database", || {
            let mut psql = as_user("psql");
            psql.args([
                "--username=sortie",
                "--host=localhost",
                "--dbname=postgres",
                "--command=CREATE DATABASE sortie",
            ])
            .arg(format!("--port={port}"))
            .env("PGPASSWORD", password.trim())
            .env("PGSSLMODE", "require");
            run(&mut psql).code == 0
        });
        database
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // At once, without waiting for clients.
        let _gone = kill(
            Pid::from_raw(i32::try_from(self.0.id()).unwrap()),
            Signal::SIGQUIT,
        );
        drop(self.0.wait());
    }
}

/// PostgreSQL refuses to run as root.
pub(super) fn database_user() -> Option<User> {
    let find = |name| User::from_name(name).unwrap();
    geteuid()
        .is_root()
        .then(|| find("postgres").or_else(|| find("nobody")).unwrap())
}

/// The folder of PostgreSQL's programs.
pub(super) fn postgres() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    std::env::var("PG_BIN")
        .into_iter()
        .map(PathBuf::from)
        .chain(debian.map(|entry| entry.unwrap().path().join("bin")))
        .chain(std::env::split_paths(&path))
        .find(|folder| {
            ["initdb", "postgres", "psql"]
                .iter()
                .all(|name| folder.join(name).exists())
        })
        .expect("PostgreSQL's programs")
}
