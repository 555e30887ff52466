//! Every bundle of the catalog, driven by its vendor's own SDK or command under `sortie run`, as the vendor's first
//! example has it: no proxy, authority or key is set but by `run`. The vendor's host is a stand-in that answers only who
//! shows the right credential in the right place, so that what the client prints proves what arrived.
//!
//! What is driven and what arrives stands in `vendors/*.toml`:
//!
//! | word | meaning |
//! |---|---|
//! | `bundle`, `package` | what is driven, and with what: a line of `scripts/clients`, or a program of the system |
//! | `script`, `node` | the client's few lines of Python or JavaScript |
//! | `run` | or a command with its arguments |
//! | `prints` | what stands in what it prints |
//! | `note` | what its user has to know or to do beside, for docs/catalog.md |
//! | `request` | what it asks: `method`, `host`, `path`; headers that `arrive`; `status`, `headers`, `answer` (or, in hexadecimal, the message of gRPC) |
//! | `optional` | a request that the client makes at times only |
//! | `without` | bundles that nothing drives, and why |
//!
//! `[NAME]` is the value of a credential, and `basic(…)` is encoded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sortie_proto::catalog::{self, Bundle};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::catalog::{Stage, fill, headers_named, is_otherwise, values};
use super::support::process::run_within;
use super::support::{Finished, Setup};

/// How many clients run at the same time. Most of what they do is to load themselves.
const PARALLEL: usize = 3;

/// How long one may take, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(180);

/// A file of `vendors/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    client: Vec<Client>,
    #[serde(default)]
    without: Vec<Without>,
}

/// A client, and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    bundle: String,
    package: String,
    script: Option<String>,
    node: Option<String>,
    #[serde(default)]
    run: Vec<String>,
    prints: String,
    #[serde(default)]
    note: String,
    request: Vec<Request>,
}

/// A request that must arrive, and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    host: String,
    path: String,
    #[serde(default)]
    arrives: Vec<String>,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    answer: String,
    grpc: Option<String>,
    #[serde(default)]
    optional: bool,
}

/// A bundle that nothing drives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Without {
    bundle: String,
    reason: String,
}

const fn ok() -> u16 {
    200
}

impl Request {
    /// Headers that must arrive, with values.
    fn headers(&self, values: &BTreeMap<&str, String>) -> Vec<(String, String)> {
        let value = |name: &str| values[name].clone();
        let pair = |line: &String| {
            let line = fill(line, &value);
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        self.arrives.iter().map(pair).collect()
    }

    fn target(&self, values: &BTreeMap<&str, String>) -> String {
        fill(&self.path, &|name: &str| values[name].clone())
    }

    /// As the upstream's table has it.
    fn row(&self, values: &BTreeMap<&str, String>) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|line| line.split_once(": ").unwrap())
            .collect();
        json!({
            "host": self.host,
            "method": self.method,
            "target": self.target(values),
            "arrives": self.headers(values),
            "status": self.status,
            "headers": headers,
            "body": self.grpc.as_deref().unwrap_or_else(|| self.answer.trim()),
            "grpc": self.grpc.is_some(),
        })
    }

    fn is(&self, seen: &Value, values: &BTreeMap<&str, String>) -> bool {
        seen["method"] == self.method
            && seen["host"] == self.host
            && seen["target"] == self.target(values)
    }
}

impl Client {
    /// The command that runs it.
    fn command(&self) -> Vec<String> {
        let words = |program: &str, flag: &str, code: &str| {
            [program, flag, code].map(str::to_owned).to_vec()
        };
        match (&self.script, &self.node) {
            (Some(code), None) => words("python3", "-c", code),
            (None, Some(code)) => words(&node(), "-e", code),
            _ => self.run.iter().cloned().map(Self::program).collect(),
        }
    }

    /// Cargo's own program, where this is its test: the one in `PATH` may want the tester's home folder.
    fn program(word: String) -> String {
        match std::env::var("CARGO") {
            Ok(cargo) if word == "cargo" => cargo,
            _ => word,
        }
    }

    fn name(&self) -> String {
        format!("{} with {}", self.bundle, self.package)
    }

    /// What is wrong with how it ended and with what arrived.
    fn judge(&self, done: &Finished, seen: &[Value], values: &BTreeMap<&str, String>) -> String {
        let mut wrong = String::new();
        if done.code != 0 || !done.seen().contains(self.prints.trim()) {
            writeln!(wrong, "  ended with {}: {}", done.code, done.seen()).unwrap();
        }
        for request in &self.request {
            let place = format!("{} {}{}", request.method, request.host, request.path);
            let arrived: Vec<_> = seen
                .iter()
                .filter(|seen| request.is(seen, values))
                .collect();
            if arrived.is_empty() && !request.optional {
                writeln!(wrong, "  {place} did not arrive").unwrap();
            }
            for seen in arrived {
                for problem in problems(request, seen, values) {
                    writeln!(wrong, "  {place}: {problem}").unwrap();
                }
            }
        }
        wrong
    }
}

/// What is wrong with a request that arrived: each value must stand in its place and nowhere else, and no placeholder
/// may be left.
fn problems(request: &Request, seen: &Value, values: &BTreeMap<&str, String>) -> Vec<String> {
    let mut problems = Vec::new();
    let expect = request.headers(values);
    for (name, value) in &expect {
        if headers_named(seen, name) != [value.as_str()] {
            problems.push(format!("{name} is not what it must be"));
        }
    }
    let body = STANDARD
        .decode(seen["body_base64"].as_str().unwrap())
        .unwrap();
    let body = String::from_utf8_lossy(&body);
    let others = seen["headers"].as_array().unwrap().iter();
    let others = others.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let target = ("the target", seen["target"].as_str().unwrap());
    for (place, text) in others.chain([target, ("the body", &*body)]) {
        if placeholders().any(|placeholder| text.contains(placeholder)) {
            problems.push(format!("a placeholder is left in {place}"));
        }
        let may_hold = place == target.0 || expect.iter().any(|(name, _)| name == place);
        if !may_hold && values.values().any(|value| text.contains(value.as_str())) {
            problems.push(format!("{place} holds a credential"));
        }
    }
    problems
}

fn placeholders() -> impl Iterator<Item = &'static str> {
    let bundles = catalog::bundles().iter();
    let needed = bundles.flat_map(|bundle| &bundle.credentials);
    needed.map(|needed| needed.placeholder.as_str())
}

/// Node.js of the tests' own packages: the system's may be older than 22.21, whose `fetch` knows no proxy.
fn node() -> String {
    modules().join("node/bin/node").display().to_string()
}

fn modules() -> PathBuf {
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES");
    modules
        .expect("SORTIE_TEST_NODE_MODULES, which `make test` sets")
        .into()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn files() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/vendors");
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    ["models.toml", "code.toml", "work.toml", "agents.toml"]
        .map(read)
        .into()
}

/// What clients find in the folder that they start in: a package to publish, for those who publish.
fn lay_out(folder: &Path) {
    let script = "import io, tarfile\n\
        with tarfile.open('acme-1.0.tar.gz', 'w:gz') as archive:\n\
        \x20   for name in ('PKG-INFO', 'README'):\n\
        \x20       text = b'Metadata-Version: 2.1\\nName: acme\\nVersion: 1.0\\n'\n\
        \x20       info = tarfile.TarInfo('acme-1.0/' + name)\n\
        \x20       info.size = len(text)\n\
        \x20       archive.addfile(info, io.BytesIO(text))\n";
    let made = std::process::Command::new("python3")
        .args(["-c", script])
        .current_dir(folder)
        .status();
    assert!(made.unwrap().success());
}

/// What a person's environment says, with a home folder for each client. What it caches is searched for secrets, too.
fn surroundings(stage: &Stage, at: usize) -> Vec<(String, String)> {
    let home = stage.cluster.path().join(format!("home/{at}"));
    std::fs::create_dir_all(&home).unwrap();
    let home = home.display().to_string();
    let proxy = format!("http://127.0.0.1:{}", stage.cluster.ports.proxy);
    let own = [
        ("HOME", home.clone()),
        ("XDG_CONFIG_HOME", home.clone()),
        ("XDG_CACHE_HOME", home.clone()),
        ("TMPDIR", home),
        ("SORTIE_PROXY", proxy),
        ("NODE_PATH", modules().display().to_string()),
    ];
    let mut env = stage.env();
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env
}

/// Runs all clients, a few at a time, and gives back how each ended.
async fn drive(stage: &Stage, clients: &[Client]) -> Vec<Finished> {
    let slots = Arc::new(Semaphore::new(PARALLEL));
    let mut running = JoinSet::new();
    for (at, client) in clients.iter().enumerate() {
        let env = surroundings(stage, at);
        if !client.run.is_empty() {
            lay_out(&stage.cluster.path().join(format!("home/{at}")));
        }
        let run = "run --agent runner --vault main --quiet --";
        let mut arguments: Vec<_> = run.split(' ').map(str::to_owned).collect();
        arguments.extend(client.command());
        let (slots, dir) = (Arc::clone(&slots), stage.cluster.path().to_owned());
        running.spawn(async move {
            let slot = slots.acquire().await;
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let env: Vec<_> = env
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            // `run_within` starts in the folder that is searched; `sh` goes on to the client's own.
            let mut command = Command::new("sh");
            command.args(["-c", "cd \"$HOME\" && exec \"$0\" \"$@\""]);
            command.arg(env!("CARGO_BIN_EXE_sortie"));
            let done = run_within(DEADLINE, &dir, command, (&arguments, &env)).await;
            drop(slot);
            (at, done)
        });
    }
    let mut all = running.join_all().await;
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, done)| done).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_own_clients_are_brokered() {
    let canary = format!("canary-vendors-{}", uuid::Uuid::new_v4().simple());
    let values = values(&canary);
    let clients: Vec<_> = files().into_iter().flat_map(|file| file.client).collect();
    let requests = || clients.iter().flat_map(|client| &client.request);
    let rows: Vec<_> = requests().map(|request| request.row(&values)).collect();
    let mut vendors: Vec<_> = requests().map(|request| request.host.clone()).collect();
    vendors.sort();
    vendors.dedup();
    let table = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(table.path(), json!(rows).to_string()).unwrap();
    let setup = Setup {
        vendors,
        upstream: vec![format!("--answers={}", table.path().display())],
        ..Setup::default()
    };
    let stage = Stage::start_with(setup, &canary).await;
    let bundles = catalog::bundles().iter();
    let bundles: Vec<_> = bundles
        .filter(|bundle| !is_otherwise(bundle))
        .map(|bundle| bundle.name.as_str())
        .collect();
    stage.add_all("main", &bundles).await;

    let done = drive(&stage, &clients).await;
    let seen = stage.cluster.recorded();
    let mut wrong = String::new();
    for (client, done) in clients.iter().zip(&done) {
        let problems = client.judge(done, &seen, &values);
        if !problems.is_empty() {
            write!(wrong, "{}:\n{problems}", client.name()).unwrap();
        }
    }
    for seen in &seen {
        if !requests().any(|request| request.is(seen, &values)) {
            let (method, host, target) = (&seen["method"], &seen["host"], &seen["target"]);
            writeln!(wrong, "nobody expects {method} {host} {target}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    stage.cluster.finish().await;
}

#[test]
fn every_bundle_is_driven_or_a_reason_says_why_not() {
    let files = files();
    let has_client = |bundle: &Bundle| {
        let mut clients = files.iter().flat_map(|file| &file.client);
        clients.any(|client| client.bundle == bundle.name)
    };
    let has_reason = |bundle: &Bundle| {
        let mut reasons = files.iter().flat_map(|file| &file.without);
        reasons.any(|without| without.bundle == bundle.name && !without.reason.is_empty())
    };
    for bundle in catalog::bundles() {
        assert!(
            has_client(bundle) != has_reason(bundle),
            "{}: a client drives it in cli/tests/cluster/vendors, or `without` says why none does",
            bundle.name
        );
    }
    for name in files.iter().flat_map(|file| {
        let clients = file.client.iter().map(|client| &client.bundle);
        clients.chain(file.without.iter().map(|without| &without.bundle))
    }) {
        assert!(catalog::find(name).is_some(), "there is no bundle {name}");
    }
}

/// Programs that are no packages of the tests': `scripts/setup` finds or installs them.
const PROGRAMS: [&str; 3] = ["cargo", "gh", "npm"];

#[test]
fn every_client_is_installed_with_a_version() {
    let read = |name: &str| {
        std::fs::read_to_string(repository().join("scripts/clients").join(name)).unwrap()
    };
    let (python, node) = (read("python.txt"), read("package.json"));
    for client in files().iter().flat_map(|file| &file.client) {
        let package = &client.package;
        let is_listed = python
            .lines()
            .any(|line| line.starts_with(&format!("{package}==")))
            || node.contains(&format!("\"{package}\": \""))
            || PROGRAMS.contains(&package.as_str());
        assert!(is_listed, "{package} is not in scripts/clients");
    }
}

/// `docs/catalog.md` has a row for each bundle, and says what each client needs besides.
#[test]
fn the_documents_say_what_drives_each_bundle() {
    let files = files();
    let mut rows = Vec::new();
    for bundle in catalog::bundles() {
        let clients = files.iter().flat_map(|file| &file.client);
        for client in clients.filter(|client| client.bundle == bundle.name) {
            let (name, package, note) = (&bundle.name, &client.package, &client.note);
            rows.push(format!("| `{name}` | `{package}` | {note} |"));
        }
        let reasons = files.iter().flat_map(|file| &file.without);
        for without in reasons.filter(|without| without.bundle == bundle.name) {
            rows.push(format!("| `{}` | none | {} |", bundle.name, without.reason));
        }
    }
    let text = std::fs::read_to_string(repository().join("docs/catalog.md")).unwrap();
    let rows = rows.join("\n");
    assert!(text.contains(&rows), "docs/catalog.md must hold\n{rows}");
}
