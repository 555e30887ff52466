//! Child processes whose output is kept, and commands that run to their end.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::DEADLINE;

/// A server of the cluster, with its output in a file.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts one of our binaries.
    pub(crate) fn start(
        dir: &Path,
        name: &str,
        binary: &str,
        arguments: &[String],
        env: &[(String, String)],
    ) -> Self {
        let mut command = Command::new(program(binary));
        command
            .args(arguments)
            .envs(env.iter().map(|(key, value)| (key, value)));
        Self::start_command(dir, name, command)
    }

    /// Starts a command that ends up as one of our binaries.
    pub(crate) fn start_command(dir: &Path, name: &str, mut command: Command) -> Self {
        let output = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&output)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            name: name.to_owned(),
            child,
            output,
        }
    }

    /// Starts one that may have so many descriptors, and that could leave a core.
    pub(crate) fn start_with_descriptors(
        count: usize,
        dir: &Path,
        name: &str,
        (binary, arguments): (&str, &[String]),
    ) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
            .arg(count.to_string())
            .arg(program(binary))
            .args(arguments);
        Self::start_command(dir, name, command)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// All that it printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed a line that starts so.
    pub(crate) async fn wait_for_line(&mut self, start: &str) {
        let printed = async |this: &Self| this.output().lines().any(|line| line.starts_with(start));
        self.wait(start, printed).await;
    }

    /// Waits until it has printed a text somewhere.
    pub(crate) async fn wait_for(&mut self, text: &str) {
        self.wait(text, async |this: &Self| this.output().contains(text))
            .await;
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let ended =
            ended.unwrap_or_else(|_| panic!("{} goes on:\n{}", self.name, tail(&self.output())));
        ended.unwrap()
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) async fn wait_until_ready(&mut self, admin_port: u16) {
        let is_ready = async |_: &Self| get(admin_port, "/readyz").await.is_some();
        self.wait("its readiness", is_ready).await;
    }

    async fn wait(&mut self, what: &str, come: impl AsyncFn(&Self) -> bool) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !come(self).await {
            self.must_run();
            assert!(
                tokio::time::Instant::now() < end,
                "{}: waited too long for {what}:\n{}",
                self.name,
                tail(&self.output())
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!(
                "{} ended with {status}:\n{}",
                self.name,
                tail(&self.output())
            );
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            return;
        }
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        assert!(
            ended.is_ok(),
            "{} does not stop:\n{}",
            self.name,
            tail(&self.output())
        );
    }
}

/// The file of one of our programs.
pub(crate) fn program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_sortie")).with_file_name(name);
    assert!(
        program.exists(),
        "{name} is not built: run `cargo build --workspace --bins` (or `make test`)"
    );
    program
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Everything that a person at the terminal would have seen.
    pub(crate) fn seen(&self) -> String {
        self.text() + &self.stderr
    }

    /// The standard output, of a command that must have succeeded.
    pub(crate) fn ok(&self) -> String {
        assert_eq!(self.code, 0, "{}", self.seen());
        self.text()
    }
}

static COMMANDS: AtomicUsize = AtomicUsize::new(0);

/// Runs a command to its end and keeps what it printed in the folder that is searched.
pub(crate) async fn run(
    dir: &Path,
    program: &str,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> Finished {
    let command = Command::new(program);
    run_within(DEADLINE, dir, command, (arguments, env)).await
}

/// The same for a command that takes longer than others, e.g. because it compiles.
pub(crate) async fn run_within(
    deadline: Duration,
    dir: &Path,
    mut command: Command,
    (arguments, env): (&[&str], &[(&str, &str)]),
) -> Finished {
    let child = command
        .args(arguments)
        .env_remove("SORTIE_API_KEY")
        .envs(env.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(deadline, child)
        .await
        .expect("the command ends in time")
        .unwrap();
    let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
    let clients = dir.join("clients");
    std::fs::create_dir_all(&clients).unwrap();
    std::fs::write(clients.join(format!("{number}.out")), &output.stdout).unwrap();
    std::fs::write(clients.join(format!("{number}.err")), &output.stderr).unwrap();
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A port that nobody listens on and no other test of this process was given. It lies below those that Linux gives to
/// outgoing connections: one of them could take it before the program that it is for.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u32 = 18_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another process that tests begins elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let at = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(at).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The body of a 200 from an admin port.
pub(crate) async fn get(port: u16, path: &str) -> Option<String> {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}"))
        .await
        .ok()?;
    if !answer.status().is_success() {
        return None;
    }
    answer.text().await.ok()
}

/// A metric's value, over all of its labels; or of one of them: `name{label="value"}`.
pub(crate) async fn metric(port: u16, series: &str) -> Option<f64> {
    let text = get(port, "/metrics").await?;
    let values = text.lines().filter_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        let rest = found.strip_prefix(series)?;
        let is_it = rest.is_empty() || rest.starts_with('{');
        is_it.then(|| value.parse::<f64>().unwrap())
    });
    values.reduce(|all, value| all + value)
}
