//! An image as a folder: what its Dockerfile copies, and what that needs of the system.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use serde_json::Value;

use super::root;
use crate::support::run;

/// What an image has of its base, as far as programs and scripts here use it.
const BASE: &[&str] = &["/bin/bash"];
/// Where the system keeps its roots, in Debian and so in the image.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The last stage of a Dockerfile, an instruction a line.
pub(super) struct Dockerfile(Vec<(String, String)>);

impl Dockerfile {
    pub(super) fn read(name: &str) -> Self {
        let path = root().join(format!("deploy/docker/{name}.Dockerfile"));
        let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split_once(' ').unwrap())
            .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
            .collect();
        let last = lines.iter().rposition(|(word, _)| word == "FROM").unwrap();
        assert_eq!(lines[last].1, "debian:bookworm-slim");
        Self(lines[last + 1..].to_vec())
    }

    pub(super) fn of<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == word)
            .map(|(_, rest)| rest.as_str())
    }

    pub(super) fn user(&self) -> u32 {
        let user = self.of("USER").last().expect("a user");
        user.split(':').next().unwrap().parse().unwrap()
    }

    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        self.of("ENV")
            .flat_map(str::split_whitespace)
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The arguments of an instruction in its JSON form.
    pub(super) fn words(&self, word: &str) -> Vec<String> {
        let text = self.of(word).last().unwrap();
        let list = text.split_once('[').map(|(_, list)| format!("[{list}"));
        serde_json::from_str(&list.unwrap()).unwrap()
    }
}

/// An image as a folder.
pub(super) struct Image {
    file: Dockerfile,
    pub(super) root: PathBuf,
    /// Its volume.
    pub(super) data: PathBuf,
}

impl Image {
    pub(super) fn assemble(folder: &Path, name: &str) -> Self {
        let file = Dockerfile::read(name);
        let top = folder.join(name);
        let programs = Path::new(env!("CARGO_BIN_EXE_sortie")).parent().unwrap();
        let mut programs_there = Vec::new();
        for copy in file.of("COPY") {
            let words: Vec<_> = copy
                .split_whitespace()
                .filter(|word| !word.starts_with("--"))
                .collect();
            let (to, from) = words.split_last().unwrap();
            for from in from {
                let source = match from.strip_prefix("/out/") {
                    Some(program) => programs.join(program),
                    None => root().join(from),
                };
                let name = Path::new(from).file_name().unwrap();
                let at = if to.ends_with('/') {
                    Path::new(to).join(name)
                } else {
                    PathBuf::from(to)
                };
                place(&source, &top, &at);
                programs_there.push(source);
            }
        }
        for program in BASE {
            place(Path::new(program), &top, Path::new(program));
            programs_there.push(PathBuf::from(program));
        }
        programs_there
            .iter()
            .flat_map(|program| libraries(program))
            .for_each(|library| {
                place(&library, &top, &library);
            });
        // What a package or the engine brings.
        for file in [
            ROOTS,
            "/etc/resolv.conf",
            "/etc/hosts",
            "/etc/nsswitch.conf",
        ] {
            if Path::new(file).exists() {
                place(Path::new(file), &top, Path::new(file));
            }
        }
        let user = file.user();
        fs::write(
            top.join("etc/passwd"),
            format!("sortie:x:{user}:{user}::/var/lib/sortie:/sbin/nologin\n"),
        )
        .unwrap();
        let volume = file.words("VOLUME").remove(0);
        let data = top.join(volume.trim_start_matches('/'));
        let image = Self {
            file,
            root: top,
            data,
        };
        fs::create_dir_all(&image.data).unwrap();
        image.own(&image.data);
        for folder in ["dev", "tmp"] {
            fs::create_dir(image.root.join(folder)).unwrap();
            fs::set_permissions(image.root.join(folder), fs::Permissions::from_mode(0o777))
                .unwrap();
        }
        image
    }

    /// A folder below its root, made if it is not there.
    pub(super) fn made(&self, below: &str) -> PathBuf {
        let path = self.root.join(below);
        if !path.exists() {
            fs::create_dir_all(&path).unwrap();
        }
        path
    }

    pub(super) fn own(&self, path: &Path) {
        if geteuid().is_root() {
            chown(path, Some(self.file.user()), Some(self.file.user())).unwrap();
        }
    }

    /// A path as programs in it see it.
    pub(super) fn see(&self, path: &Path) -> PathBuf {
        if geteuid().is_root() {
            Path::new("/").join(path.strip_prefix(&self.root).unwrap())
        } else {
            path.to_owned()
        }
    }

    /// The environment of the image, and of the service over it. What is a path in it is one as programs see it.
    pub(super) fn settings(&self, service: &Value) -> BTreeMap<String, String> {
        let mut settings = self.file.environment();
        for (name, value) in service["environment"].as_object().unwrap() {
            settings.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        for value in settings.values_mut().filter(|value| value.starts_with('/')) {
            let path = self.root.join(value.trim_start_matches('/'));
            *value = self.see(&path).to_str().unwrap().to_owned();
        }
        settings
    }

    /// A program of it, with no environment but its PATH.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = if geteuid().is_root() {
            let user = self.file.user();
            let mut command = Command::new("/usr/sbin/chroot");
            command
                .arg(format!("--userspec={user}:{user}"))
                .arg(&self.root)
                .arg(program);
            command
        } else {
            Command::new(self.root.join(program.trim_start_matches('/')))
        };
        let path = self.see(&self.root.join("usr/local/bin"));
        command.env_clear().env("PATH", path).stdin(Stdio::null());
        command
    }

    pub(super) fn entry(&self) -> Command {
        let words = self.file.words("ENTRYPOINT");
        let mut command = self.command(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// What the engine would ask, at a port of the test's own.
    pub(super) fn is_ready(&self, port: u16) -> bool {
        let words = self.file.words("HEALTHCHECK");
        let (usual, words) = words.split_last().unwrap();
        assert!(usual.parse::<u16>().is_ok(), "{usual} is a port");
        let script = self.see(&self.root.join(words[0].trim_start_matches('/')));
        let mut command = self.command("/bin/bash");
        command.arg(script).args(&words[1..]).arg(port.to_string());
        run(&mut command).code == 0
    }
}

/// Copies a file to its place below a root, with its mode; a link becomes what it leads to.
pub(super) fn place(from: &Path, root: &Path, at: &Path) {
    let to = root.join(at.strip_prefix("/").unwrap());
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if !to.exists() && fs::hard_link(from.canonicalize().unwrap(), &to).is_err() {
        fs::copy(from, &to).unwrap();
    }
}

/// The shared libraries of a program, and what loads them.
pub(super) fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = run(Command::new("ldd").arg(program));
    listed
        .out
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| PathBuf::from(word.trim_end_matches(':')))
        .filter(|path| path.exists() && path != program)
        .collect()
}
