//! A person's machine: a home of its own with a profile for the cluster, the agents' programs, and a shell in which the
//! commands of a page of the documentation are typed as they stand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::shown::page::is_shown;
use crate::support::{Cluster, Finished, Setup, process};

/// How long an agent may take. Each starts a program of hundreds of megabytes, on a machine that runs other tests, too.
pub(super) const DEADLINE: Duration = Duration::from_secs(180);

/// A cluster, and the machine from which it is used.
pub(super) struct Desk {
    pub(super) cluster: Cluster,
    /// The model's key, which is typed where a command asks for it. Outside the folder that is searched for secrets.
    key_file: tempfile::NamedTempFile,
    pub(super) key: String,
}

impl Desk {
    /// A cluster whose upstream is the model at these vendors' hosts, and a home with a profile for it.
    pub(super) async fn with_model(vendors: &[&str]) -> Self {
        // What it waits for is large, and every test would hold it.
        Box::pin(Self::start(vendors)).await
    }

    async fn start(vendors: &[&str]) -> Self {
        let key = format!("sk-canary-model-{}", uuid::Uuid::new_v4().simple());
        let setup = Setup {
            vendors: vendors.iter().map(ToString::to_string).collect(),
            upstream: vec![format!("--model-key={key}")],
            ..Setup::default()
        };
        let cluster = Cluster::start_with(setup).await;
        cluster.keep_secret(&key);
        let key_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key_file.path(), format!("{key}\n")).unwrap();
        let desk = Self {
            cluster,
            key_file,
            key,
        };
        desk.settle().await;
        desk
    }

    async fn settle(&self) {
        for folder in ["home", "tmp", "work"] {
            std::fs::create_dir_all(self.path(folder)).unwrap();
        }
        std::fs::write(self.path("owner.key"), self.cluster.api.owner()).unwrap();
        let ports = self.cluster.ports;
        let added = format!(
            "sortie profile add test --use --api-url http://127.0.0.1:{} --proxy http://127.0.0.1:{} \
             --key-file ../owner.key --vault main --agent runner",
            ports.api, ports.proxy
        );
        self.types(&added).await.ok();
    }

    /// Something in the folder that is searched for secrets at the end, homes and all.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.cluster.path().join(name)
    }

    /// Copies a file of the repository to where the shell starts.
    pub(super) fn takes(&self, file: &str) {
        let from = repository(file);
        let to = self.path("work").join(from.file_name().unwrap());
        std::fs::copy(from, to).unwrap();
    }

    /// Types a script into a shell, and the key where a command reads it. The shell has nothing of the test's own
    /// environment but where programs are. What it says is in one piece, as on a terminal.
    pub(super) async fn types(&self, script: &str) -> Finished {
        let env = self.environment();
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let script = format!(
            "set -e\ncd work\nexec < '{}' 2>&1\n{script}",
            self.key_file.path().display()
        );
        let mut shell = Command::new("bash");
        shell.env_clear();
        process::run_within(
            DEADLINE,
            self.cluster.path(),
            shell,
            (&["-c", &script], &env),
        )
        .await
    }

    /// The whole environment of a program that is started here: nothing of the test's own but where programs are.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let sortie = Path::new(env!("CARGO_BIN_EXE_sortie")).parent().unwrap();
        let path = format!(
            "{}:{}:{}",
            sortie.display(),
            modules().join(".bin").display(),
            std::env::var("PATH").unwrap()
        );
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("PATH", path),
            ("HOME", text(self.path("home"))),
            ("TMPDIR", text(self.path("tmp"))),
            ("LANG", "C.UTF-8".to_owned()),
        ]
    }

    /// Types the commands of a page of the documentation, block by block, and compares what they print with what the
    /// page shows.
    pub(super) async fn follows(&self, page: &str) {
        self.follows_with(page, ("", "")).await;
    }

    /// The same with something in the place of a part of the commands, where this machine cannot do what they say.
    pub(super) async fn follows_with(&self, page: &str, (part, instead): (&str, &str)) {
        let blocks = blocks(page);
        assert!(!blocks.is_empty(), "{page} has no commands");
        for Block { commands, shown } in blocks {
            let commands = match part {
                "" => commands,
                part => commands.replace(part, instead),
            };
            let done = self.types(&commands).await;
            let seen = done.seen();
            assert_eq!(done.code, 0, "{page}:\n{commands}\n{seen}");
            let mut rest = seen.as_str();
            for line in shown.lines().filter(|line| !line.is_empty()) {
                rest = rest
                    .lines()
                    .position(|other| is_shown(line, other))
                    .map(|at| rest.splitn(at + 2, '\n').nth(at + 1).unwrap_or_default())
                    .unwrap_or_else(|| panic!("{page} shows a line that is not printed (any more):\n{line}\nin\n{seen}"));
            }
        }
    }

    /// The requests at a vendor's host, with method and path, and the credentials that they came with.
    pub(super) fn arrived(&self, host: &str, path: &str) -> Vec<Value> {
        let mut seen = self.cluster.recorded_at(path);
        seen.retain(|request| request["host"] == host);
        seen
    }
}

/// Where the agents' packages are.
pub(super) fn modules() -> PathBuf {
    std::env::var_os("SORTIE_TEST_NODE_MODULES")
        .expect(
            "SORTIE_TEST_NODE_MODULES names node_modules with the agents; `make test` makes one",
        )
        .into()
}

/// The values of a header in a recorded request.
pub(super) fn headers<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let pairs = seen["headers"].as_array().unwrap().iter();
    let named = pairs.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|pair| pair[1].as_str().unwrap()).collect()
}

/// Commands of a page, and what it shows that they print.
struct Block {
    commands: String,
    shown: String,
}

/// Something of the repository.
pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(path)
}

/// All that stands between fences in a page, each with its language.
fn parts(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository("docs").join(page)).unwrap();
    // Every second part stands between fences.
    let inside = text.split("```").skip(1).step_by(2);
    let split = |part: &str| {
        let (language, body) = part.split_once('\n').unwrap();
        (language.to_owned(), body.to_owned())
    };
    inside.map(split).collect()
}

/// What stands between fences of one language.
pub(super) fn fenced(page: &str, wanted: &str) -> Vec<String> {
    let all = parts(page).into_iter();
    all.filter(|(language, _)| language == wanted)
        .map(|(_, body)| body)
        .collect()
}

/// The blocks of shell commands of a page, each with the block without a language that follows it.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (language, body) in parts(page) {
        match (language.as_str(), blocks.last_mut()) {
            ("sh", _) => blocks.push(Block {
                commands: body,
                shown: String::new(),
            }),
            ("", Some(last)) if last.shown.is_empty() => last.shown = body,
            _ => {}
        }
    }
    blocks
}
