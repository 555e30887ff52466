//! A `sortie dev` with a folder, a home and ports of its own, which is gone when its test is.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything here may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Where one cluster may be.
pub(crate) struct Place {
    home: tempfile::TempDir,
    program: PathBuf,
    pub(crate) base: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_sortie")))
    }

    /// With a `sortie` that stands elsewhere.
    pub(crate) fn of(program: &Path) -> Self {
        let home = tempfile::Builder::new()
            .prefix("sortie-dev-")
            .tempdir()
            .unwrap();
        // An unprivileged PostgreSQL, when this runs as root, has to reach its folder below.
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(home.path(), mode).unwrap();
        for name in ["sortie-control", "sortie-gateway"] {
            assert!(
                program.with_file_name(name).exists(),
                "{name} is not built: run `cargo build --workspace --bins` (or `make test`)"
            );
        }
        Self {
            home,
            program: program.to_owned(),
            base: free_base(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Any command of `sortie`, in this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("SORTIE_API_KEY")
            .env_remove("SORTIE_PROFILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `sortie dev …` on this folder.
    pub(crate) fn dev(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["dev"]);
        command.args(arguments).arg("--data-dir").arg(self.data());
        command
    }

    /// Starts it in the background.
    pub(crate) fn detach(&self, more: &[&str]) -> Done {
        let base = self.base.to_string();
        let mut arguments = vec!["--detach", "--port-base", &base];
        arguments.extend(more);
        run(&mut self.dev(&arguments))
    }

    /// What `sortie dev status` says, and its exit code.
    pub(crate) fn status(&self) -> (Value, i32) {
        let done = run(&mut self.dev(&["status", "--output", "json"]));
        (serde_json::from_str(&done.out).expect(&done.err), done.code)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind either.
        drop(self.dev(&["stop"]).output());
    }
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The standard output, of a command that must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// Everything that a person at the terminal would have seen.
    pub(crate) fn seen(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Done {
    command.output().unwrap().into()
}

/// Asks until it is so, or fails the test with what was waited for.
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Whether a process has this id.
pub(crate) fn lives(pid: &Value) -> bool {
    let pid = i32::try_from(pid.as_i64().expect("a process id")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

/// A first port whose whole range was free a moment ago, below those that the system gives out by itself.
fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).unwrap();
    for _ in 0..100 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = 21_000 + (first + step) % 100 * 100;
        let taken = [0, 1, 2, 80, 81, 90]
            .into_iter()
            .any(|offset| TcpListener::bind(("127.0.0.1", base + offset)).is_err());
        if !taken {
            return base;
        }
    }
    panic!("no range of ports is free");
}
