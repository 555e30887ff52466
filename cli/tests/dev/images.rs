//! The images of `deploy/docker`, without a container engine: the file system of each is assembled in a plain folder
//! from what its Dockerfile copies, and control and gateway are started from there as `deploy/compose.yaml` says. As
//! root they see nothing but that folder (`chroot`), as the image's own user; otherwise they run in place.

#![expect(
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a scenario is read from top to bottom, and what is missing fails it"
)]

mod assemble;
mod database;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use serde_json::Value;

use self::assemble::{Dockerfile, Image};
use self::database::{Database, database_user};
use crate::support::{run, wait};

#[test]
fn every_image_is_described_checked_and_not_roots() {
    for name in ["control", "gateway", "relay"] {
        let file = Dockerfile::read(name);
        assert_eq!(file.user(), 10_001, "{name}");
        assert!(
            file.of("HEALTHCHECK")
                .any(|line| line.contains("/usr/local/bin/ready")),
            "{name}"
        );
        let labels: String = file.of("LABEL").collect();
        for label in ["title", "description", "source", "licenses", "version"] {
            let label = format!("org.opencontainers.image.{label}=");
            assert!(labels.contains(&label), "{name}: {label}");
        }
        for (name, value) in file.environment() {
            assert!(
                !value.contains("secret") && !value.contains("password"),
                "{name}"
            );
        }
    }
}

#[test]
fn the_compose_file_fits_together() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let names = |value: &Value| -> Vec<String> {
        match value {
            Value::Object(fields) => fields.keys().cloned().collect(),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().unwrap().to_owned())
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    };
    for (name, service) in services {
        for other in names(&service["depends_on"]) {
            assert!(services.contains_key(&other), "{name} waits for {other}");
        }
        for network in names(&service["networks"]) {
            assert!(
                !compose["networks"][&network].is_null(),
                "{name}: {network}"
            );
        }
        for volume in names(&service["volumes"]) {
            let from = volume.split(':').next().unwrap();
            let is_there = match from.strip_prefix("./") {
                Some(path) => root().join("deploy").join(path).exists(),
                None => compose["volumes"].as_object().unwrap().contains_key(from),
            };
            assert!(is_there, "{name}: {volume}");
        }
        if let Some(file) = service["build"]["dockerfile"].as_str() {
            assert!(root().join(file).exists(), "{name}: {file}");
        }
    }
}

#[test]
fn a_cluster_starts_from_the_images() {
    let folder = tempfile::Builder::new()
        .prefix("sortie-images-")
        .tempdir()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let compose = compose();
    let control = Image::assemble(folder.path(), "control");
    let gateway = Image::assemble(folder.path(), "gateway");

    // What the one-shot service `setup` makes.
    let secrets = folder.path().join("database");
    fs::create_dir(&secrets).unwrap();
    let owner = database_user();
    let database_port = free_port();
    let ids = |user: &Option<User>| {
        user.as_ref()
            .map_or(String::new(), |user| format!("{}:{}", user.uid, user.gid))
    };
    let mut setup = Command::new("bash");
    setup
        .arg(root().join("deploy/compose/setup.sh"))
        .args([&secrets, &control.made("run/control"), &gateway.data])
        .arg("localhost")
        .env("DATABASE_USER", ids(&owner))
        .env("DATABASE_PORT", database_port.to_string());
    run(&mut setup).ok();
    // Again, as at each start: the password stays.
    let password = fs::read(secrets.join("password")).unwrap();
    run(&mut setup).ok();
    assert_eq!(fs::read(secrets.join("password")).unwrap(), password);
    let _database = Database::start(folder.path(), &secrets, database_port, owner.as_ref());

    let ports = [
        free_port(),
        free_port(),
        free_port(),
        free_port(),
        free_port(),
    ];
    let [api, feed, control_admin, proxy, gateway_admin] = ports;
    let here = |port: u16| format!("127.0.0.1:{port}");
    let mut settings = control.settings(&compose["services"]["control"]);
    settings.extend([
        ("SORTIE_CONTROL__API__LISTEN".to_owned(), here(api)),
        ("SORTIE_CONTROL__FEED__LISTEN".to_owned(), here(feed)),
        ("SORTIE_CONTROL__FEED__ADVERTISE".to_owned(), here(feed)),
        (
            "SORTIE_CONTROL__ADMIN__LISTEN".to_owned(),
            here(control_admin),
        ),
    ]);
    let mut running = Running::start("control", control.entry().envs(&settings));
    running.until_ready(&control, control_admin);

    // What the one-shot service `join` does, in the image of control.
    let join = |settings: &BTreeMap<String, String>| {
        let mut join = control.command("/bin/bash");
        join.arg(control.see(&control.made("join.sh")))
            .arg(control.see(&control.made("gateway")))
            .envs(settings)
            .env("SORTIE_API_URL", format!("http://{}", here(api)));
        run(&mut join)
    };
    fs::copy(
        root().join("deploy/compose/join.sh"),
        control.root.join("join.sh"),
    )
    .unwrap();
    control.own(&control.made("gateway"));
    join(&settings).ok();
    fs::copy(control.root.join("gateway/join"), gateway.data.join("join")).unwrap();
    gateway.own(&gateway.data.join("join"));

    let mut more = gateway.settings(&compose["services"]["gateway"]);
    more.extend([
        ("SORTIE_GATEWAY__PROXY__LISTEN".to_owned(), here(proxy)),
        (
            "SORTIE_GATEWAY__ADMIN__LISTEN".to_owned(),
            here(gateway_admin),
        ),
    ]);
    let mut node = Running::start("gateway", gateway.entry().envs(&more));
    node.until_ready(&gateway, gateway_admin);

    let mut list = control.command("/usr/local/bin/sortie");
    list.args(["gateway", "list", "-o", "json"])
        .envs(&settings)
        .env("SORTIE_API_URL", format!("http://{}", here(api)));
    let listed: Value = serde_json::from_str(&run(&mut list).ok()).unwrap();
    assert_eq!(listed[0]["connected"], true, "{listed}");
    // A gateway that has joined needs no other string.
    fs::copy(
        gateway.data.join("node.crt"),
        control.root.join("gateway/node.crt"),
    )
    .unwrap();
    control.own(&control.root.join("gateway/node.crt"));
    assert!(join(&settings).ok().contains("has joined already"));
    // Containers are stopped by SIGTERM, and must heed it.
    node.stop();
    running.stop();
}

/// A server with its output kept; it is gone when the test is.
struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { name, child }
    }

    fn until_ready(&mut self, image: &Image, port: u16) {
        wait(self.name, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                self.child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut said)
                    .unwrap();
                panic!("{} ended with {status}: {said}", self.name);
            }
            image.is_ready(port)
        });
    }

    fn stop(&mut self) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        let mut status = None;
        wait("its end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(
            status.unwrap().success(),
            "{} ended with {status:?}",
            self.name
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn compose() -> Value {
    let text = fs::read_to_string(root().join("deploy/compose.yaml")).unwrap();
    serde_norway::from_str(&text).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
