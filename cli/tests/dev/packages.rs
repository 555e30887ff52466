//! What `scripts/dist` makes: assembled from this build's programs, installed where nothing else is, and started.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use crate::support::{Place, run};

/// What the machine of a reader has, and nothing that builds programs.
const TOOLS: &[&str] = &[
    "cat",
    "chmod",
    "cp",
    "curl",
    "cut",
    "dirname",
    "find",
    "gzip",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "shasum",
    "tar",
    "uname",
];

#[test]
fn packages_need_nothing_but_themselves() {
    let place = Place::new();
    let packages = Packages::make(&place);
    std::thread::scope(|scope| {
        scope.spawn(|| packages.tarball(&place));
        scope.spawn(|| packages.wheel(&Place::new()));
        scope.spawn(|| packages.npm(&Place::new()));
    });
}

struct Packages {
    folder: PathBuf,
    tarball: PathBuf,
    wheel: PathBuf,
    npm: PathBuf,
}

impl Packages {
    fn make(place: &Place) -> Self {
        let folder = place.home().join("packages");
        let programs = Path::new(env!("CARGO_BIN_EXE_sortie")).parent().unwrap();
        let mut dist = Command::new(root().join("scripts/dist"));
        dist.args(["--level", "1", "--bin-dir"])
            .arg(programs)
            .arg("--out")
            .arg(&folder);
        let made = run(&mut dist).ok();
        let made: Vec<_> = made.lines().map(PathBuf::from).collect();
        let [tarball, wheel, npm] = made.try_into().expect("three packages");
        let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
        assert_eq!(sums.lines().count(), 3, "{sums}");
        Self {
            folder,
            tarball,
            wheel,
            npm,
        }
    }

    /// As an ordinary user, from nothing to a brokered request: install, start, use, stop.
    fn tarball(&self, place: &Place) {
        let machine = Machine::new(place);
        let name = self.tarball.file_name().unwrap().to_str().unwrap();
        let script = machine.home.join("install.sh");
        fs::copy(root().join("deploy/install.sh"), &script).unwrap();
        let install = |arguments: &[&str]| run(machine.command("sh").arg(&script).args(arguments));

        // What is not what was released is not unpacked.
        let damaged = machine.home.join(name);
        fs::write(&damaged, "not a release").unwrap();
        let path = damaged.to_str().unwrap();
        assert_eq!(install(&[path]).code, 1, "there are no checksums");
        fs::copy(
            self.folder.join("SHA256SUMS"),
            machine.home.join("SHA256SUMS"),
        )
        .unwrap();
        let refused = install(&[path]);
        assert!(
            refused.code == 1 && refused.err.contains("checksum"),
            "{}",
            refused.seen()
        );
        let plain = install(&[&format!("http://example.com/{name}")]);
        assert!(
            plain.code == 1 && plain.err.contains("is not https://"),
            "{}",
            plain.seen()
        );
        assert!(!machine.home.join(".local").exists());

        let url = format!("http://127.0.0.1:{}/{name}", serve(&self.folder));
        let said = install(&[&url]).ok();
        assert!(said.contains("the checksum is right"), "{said}");
        // Once more over what runs or ran, from a file: nothing is in the way.
        let said = install(&[self.tarball.to_str().unwrap()]).ok();
        assert!(said.contains(".local/bin/sortie dev --detach"), "{said}");

        let bin = machine.home.join(".local/bin");
        assert!(
            machine
                .home
                .join(".local/share/man/man1/sortie-dev.1")
                .exists()
        );
        let sortie = |arguments: &[&str]| {
            run(machine
                .command(bin.join("sortie").to_str().unwrap())
                .args(arguments))
        };
        let base = place.base.to_string();
        let told = sortie(&[
            "dev",
            "--detach",
            "--port-base",
            &base,
            "--data-dir",
            &machine.data(),
        ]);
        assert!(told.ok().contains("A request was brokered."));
        let url = format!("https://api.demo.test:{}/hello", place.base + 90);
        let answer = sortie(&["run", "--", "curl", "-s", &url]).ok();
        assert!(answer.contains("Bearer sha256:"), "{answer}");
        sortie(&["dev", "stop", "--data-dir", &machine.data()]).ok();
    }

    fn wheel(&self, place: &Place) {
        let venv = place.home().join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).ok();
        run(Command::new(venv.join("bin/python"))
            .args(["-c", CHECK_RECORD])
            .arg(&self.wheel))
        .ok();
        let mut pip = Command::new(venv.join("bin/pip"));
        run(pip
            .args(["install", "--quiet", "--no-index", "--no-cache-dir"])
            .arg(&self.wheel))
        .ok();
        works(place, &venv.join("bin/sortie"));
        let mut pip = Command::new(venv.join("bin/pip"));
        run(pip.args(["uninstall", "--quiet", "--yes", "sortie-cli"])).ok();
        assert!(!venv.join("bin/sortie-gateway").exists());
    }

    fn npm(&self, place: &Place) {
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--offline",
            "--no-audit",
            "--no-fund",
            "--prefix",
        ])
        .arg(place.home())
        .arg(&self.npm)
        .env("npm_config_cache", place.home().join("cache"));
        run(&mut npm).ok();
        works(place, &place.home().join("node_modules/.bin/sortie"));
    }
}

/// Each line of a wheel's RECORD is so, and each file but itself has one.
const CHECK_RECORD: &str = "
import base64, csv, hashlib, io, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
record = next(name for name in wheel.namelist() if name.endswith('.dist-info/RECORD'))
rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
assert sorted(name for name, _, _ in rows) == sorted(wheel.namelist())
for name, digest, size in rows:
    if name == record: continue
    content = wheel.read(name)
    assert int(size) == len(content), name
    found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
    assert digest == 'sha256=' + found, name
";

/// It says its version, finds the other two programs, and brokers a request.
fn works(place: &Place, sortie: &Path) {
    let command = || {
        let mut command = Command::new(sortie);
        command
            .env("HOME", place.home())
            .env_remove("XDG_CONFIG_HOME")
            .env("PATH", "/usr/bin:/bin");
        command
    };
    let version = run(command().arg("--version")).ok();
    assert_eq!(
        version.trim(),
        concat!("sortie ", env!("CARGO_PKG_VERSION"))
    );
    let base = place.base.to_string();
    let mut dev = command();
    dev.args(["dev", "--once", "--port-base", &base, "--data-dir"])
        .arg(place.data());
    let told = run(&mut dev).ok();
    assert!(told.contains("= the stored value"), "{told}");
}

/// A machine without a compiler: a home, a PATH of few tools, and an ordinary user where this runs as root.
struct Machine {
    home: PathBuf,
    tools: PathBuf,
    user: Option<User>,
}

impl Machine {
    fn new(place: &Place) -> Self {
        let home = place.home().join("home");
        let tools = place.home().join("tools");
        fs::create_dir(&home).unwrap();
        fs::create_dir(&tools).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        for tool in TOOLS {
            let found = std::env::split_paths(&path)
                .map(|folder| folder.join(tool))
                .find(|path| path.exists());
            if let Some(found) = found {
                symlink(found, tools.join(tool)).unwrap();
            }
        }
        let user = geteuid().is_root().then(|| {
            User::from_name("nobody")
                .unwrap()
                .expect("every system has one")
        });
        if let Some(user) = &user {
            chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        Self { home, tools, user }
    }

    fn data(&self) -> String {
        self.home.join("data").to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", &self.tools)
            .current_dir(&self.home)
            .stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// Serves the files of a folder to this machine; gives the port.
fn serve(folder: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            let name = first.split(' ').nth(1).unwrap().trim_start_matches('/');
            // The whole head is read before the answer: closing with unread bytes resets the connection.
            lines.map_while(Result::ok).find(String::is_empty);
            let body = fs::read(folder.join(name)).unwrap();
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    port
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
