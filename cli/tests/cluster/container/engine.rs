//! Podman with a storage and settings of its own, and an image that is made of this machine's programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::isolate::PROBE;

/// The image.
pub(super) const IMAGE: &str = "localhost/sortie-test:1";
/// What it has besides Python.
const PROGRAMS: [&str; 6] = ["bash", "curl", "id", "sleep", "cat", "tty"];
/// Prints the files that a script is made of: the interpreter's own, and its modules.
const MODULES: &str = r#"
import sys, sysconfig, os
files = {m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
maps = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print("\n".join([os.path.realpath(sys.executable), sysconfig.get_path("stdlib")] + sorted(files | maps)))
"#;

/// An engine, with a storage that goes with it.
pub(super) struct Engine {
    folder: PathBuf,
}

impl Engine {
    /// Podman as this machine can run it, for whoever runs the tests.
    pub(super) fn start() -> Self {
        let found = Command::new("podman").arg("--version").output();
        assert!(
            found.is_ok_and(|done| done.status.success()),
            "podman is not installed: `scripts/setup --tests` installs it"
        );
        let folder = tempfile::Builder::new().prefix("sortie-podman-").tempdir();
        let engine = Self {
            folder: folder.unwrap().keep(),
        };
        fs::create_dir(engine.folder.join("run")).unwrap();
        fs::write(engine.folder.join("containers.conf"), settings()).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{0}/run\"\ngraphroot = \"{0}/storage\"\n\
             rootless_storage_path = \"{0}/storage\"\n",
            engine.folder.display()
        );
        fs::write(engine.folder.join("storage.conf"), storage).unwrap();
        engine.import();
        engine
    }

    /// What tells Podman where all this is.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        vec![
            ("CONTAINERS_CONF".to_owned(), file("containers.conf")),
            ("CONTAINERS_STORAGE_CONF".to_owned(), file("storage.conf")),
            ("SORTIE_CONTAINER_ENGINE".to_owned(), "podman".to_owned()),
            ("SORTIE_IMAGE".to_owned(), IMAGE.to_owned()),
        ]
    }

    /// The containers that there are.
    pub(super) fn containers(&self) -> String {
        let done = self
            .podman(&["ps", "--all", "--format", "{{.Names}}"])
            .output();
        let done = done.unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    fn podman(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .args(arguments)
            .envs(self.variables())
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Makes the image: a few programs, and Python with what the probe needs of it.
    fn import(&self) {
        let root = self.folder.join("root");
        for folder in ["etc", "tmp", "bin", "usr/bin"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for name in PROGRAMS {
            let program = which(name);
            libraries(&program)
                .iter()
                .for_each(|file| place(file, &root));
            fs::copy(&program, root.join("bin").join(name)).unwrap();
        }
        std::os::unix::fs::symlink("bash", root.join("bin/sh")).unwrap();
        python(&root);
        let archive = self.folder.join("root.tar");
        let packed = Command::new("tar")
            .args(["--owner=0", "--group=0", "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(&root)
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let archive = archive.display().to_string();
        let imported = self
            .podman(&["import", "--quiet", &archive, IMAGE])
            .output()
            .unwrap();
        assert!(imported.status.success(), "{imported:?}");
        fs::remove_dir_all(root).unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.podman(&["rm", "--all", "--force"]).output());
        // What belongs to other users of a user's own namespace is removed inside of that.
        if !nix::unistd::geteuid().is_root() {
            let folder = self.folder.join("storage").display().to_string();
            drop(self.podman(&["unshare", "rm", "-rf", &folder]).output());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Limits that need no power to be raised, files in the place of a journal and of systemd; runc where it is, since older
/// releases of crun refuse machines with both versions of control groups.
fn settings() -> String {
    let runtime = match Command::new("runc").arg("--version").output() {
        Ok(_) => "runtime = \"runc\"\n",
        Err(_) => "",
    };
    format!(
        "[engine]\n{runtime}cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
         [containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"
    )
}

/// The Python of this machine: the interpreter, and the modules that the probe loads.
fn python(root: &Path) {
    let script = format!("{}\n{MODULES}", PROBE.lines().nth(1).unwrap());
    let more = "import encodings.idna, encodings.ascii, encodings.latin_1, stringprep\n";
    let done = Command::new("python3")
        .args(["-c", &format!("{more}{script}")])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    let mut lines = text.lines().map(PathBuf::from);
    let interpreter = lines.next().unwrap();
    let library = lines.next().unwrap();
    libraries(&interpreter)
        .iter()
        .for_each(|file| place(file, root));
    for file in lines {
        libraries(&file).iter().for_each(|file| place(file, root));
        place(&file, root);
    }
    // By these it knows where its library is.
    fs::create_dir_all(root.join(below(&library)).join("lib-dynload")).unwrap();
    place(&interpreter, root);
    let there = root.join("usr/bin/python3");
    if !there.exists() {
        std::os::unix::fs::symlink(&interpreter, there).unwrap();
    }
}

fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap()
}

/// Copies a file to the same place below a root.
fn place(file: &Path, root: &Path) {
    let to = root.join(below(file));
    if file.is_file() && !to.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, &to).unwrap();
    }
}

/// The shared libraries of a program, and what loads them.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let done = Command::new("ldd").arg(program).output().unwrap();
    String::from_utf8_lossy(&done.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| PathBuf::from(word.trim_end_matches(':')))
        .filter(|path| path.is_file() && path != program)
        .collect()
}

fn which(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}
