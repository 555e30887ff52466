//! `sortie doctor`: all is well where all is well, and each planted fault is named with its fix.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sortie_proto::environment::{self, Files, NoProxy, Proxy, Surroundings};
use sortie_proto::secret::Secret;

use super::relay::Relay;
use super::support::clock::MovableClock;
use super::support::{Cluster, Finished, Minted, Setup, process};

mod typical;

const SORTIE: &str = env!("CARGO_BIN_EXE_sortie");

/// The variables of a command behind Sortie, by the table, and some that are changed: `NAME=VALUE` sets, `NAME` unsets.
struct Inside {
    variables: Vec<(String, String)>,
}

impl Inside {
    fn new(cluster: &Cluster, session: Option<&Minted>) -> Self {
        let bundle = cluster.path().join("bundle.pem");
        let roots = foreign_root();
        let authority = std::fs::read_to_string(cluster.ca()).unwrap();
        std::fs::write(&bundle, authority + &roots).unwrap();
        let token = session.map(|session| Secret::new(session.token.clone().into_bytes()));
        let proxy = format!("http://127.0.0.1:{}", cluster.ports.proxy);
        let surroundings = Surroundings {
            proxy: &Proxy::parse(&proxy).unwrap(),
            password: token.as_ref(),
            files: &Files {
                authority: cluster.ca().display().to_string(),
                bundle: bundle.display().to_string(),
                trust_store: None,
            },
            no_proxy: &NoProxy::merge([], &[]),
        };
        let mut variables: Vec<_> = environment::variables(&surroundings)
            .into_iter()
            .map(|variable| {
                let value = match variable.value {
                    environment::Value::Plain(text) => text,
                    environment::Value::Secret(secret) => {
                        String::from_utf8(secret.expose().to_vec()).unwrap()
                    }
                };
                (variable.name.to_owned(), value)
            })
            .collect();
        let home = cluster.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        variables.push(("HOME".to_owned(), home.display().to_string()));
        variables.push((
            "PATH".to_owned(),
            programs(cluster.path()).display().to_string(),
        ));
        Self { variables }
    }

    fn changed(&self, changes: &[&str]) -> Vec<(String, String)> {
        let mut variables = self.variables.clone();
        for change in changes {
            let (name, value) = change.split_once('=').unwrap_or((change, ""));
            variables.retain(|(other, _)| other != name);
            if change.contains('=') {
                variables.push((name.to_owned(), value.to_owned()));
            }
        }
        variables
    }

    /// Lets every variable that names the bundle name this file.
    fn with_bundle(mut self, cluster: &Cluster, text: &str) -> Self {
        let old = cluster.path().join("bundle.pem").display().to_string();
        let new = cluster.path().join("other-bundle.pem");
        std::fs::write(&new, text).unwrap();
        for (_, value) in &mut self.variables {
            if *value == old {
                *value = new.display().to_string();
            }
        }
        self
    }

    /// Runs the doctor with these variables and nothing else.
    async fn doctor(&self, cluster: &Cluster, changes: &[&str], arguments: &[&str]) -> Report {
        let mut all: Vec<String> = vec!["-i".to_owned()];
        all.extend(
            self.changed(changes)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        all.extend([SORTIE, "doctor", "--inside", "--output", "json"].map(str::to_owned));
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Report::read(&cluster.run("env", &all, &[]).await)
    }
}

/// What the doctor said.
#[derive(Debug)]
struct Report {
    code: i32,
    rows: Vec<Value>,
}

impl Report {
    fn read(done: &Finished) -> Self {
        let seen = done.seen();
        assert!(!seen.contains("sortie_ses_e"), "a token is told:\n{seen}");
        let Ok(said) = serde_json::from_slice::<Value>(&done.stdout) else {
            panic!("no report:\n{seen}");
        };
        Self {
            code: done.code,
            rows: said["findings"].as_array().unwrap().clone(),
        }
    }

    /// The rows in this state.
    fn checks(&self, state: &str) -> Vec<&str> {
        self.rows
            .iter()
            .filter(|row| row["state"] == state)
            .map(|row| row["check"].as_str().unwrap())
            .collect()
    }

    fn is_well(&self) {
        assert!(self.checks("fault").is_empty(), "{:#?}", self.rows);
        assert_eq!(self.code, 0);
    }

    /// The fault of this check, whose fix holds this text.
    fn names(&self, check: &str, seen: &str, fix: &str) {
        let has = |row: &&Value, field: &str, text: &str| {
            row[field].as_str().unwrap_or_default().contains(text)
        };
        let found = self.rows.iter().find(|row| {
            row["check"] == check
                && row["state"] == "fault"
                && has(row, "seen", seen)
                && has(row, "fix", fix)
        });
        assert!(
            found.is_some(),
            "no fault {check} ({seen}; {fix}) in {:#?}",
            self.rows
        );
        assert_eq!(self.code, 1);
    }
}

/// A folder with the programs that the faults are tried with: few, so that a run is short.
fn programs(dir: &Path) -> PathBuf {
    let folder = dir.join("programs");
    if !folder.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for program in ["curl", "git"] {
            let found = std::env::split_paths(&path)
                .map(|folder| folder.join(program))
                .find(|path| path.is_file())
                .unwrap_or_else(|| panic!("{program} is not installed"));
            symlink(found, folder.join(program)).unwrap();
        }
    }
    folder
}

/// A root that is not Sortie's.
fn foreign_root() -> String {
    root("Some Root", "Some Company")
}

fn root(name: &str, organization: &str) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, organization);
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

/// A profile for this cluster, and the variables that let the command find it.
fn profile(cluster: &Cluster) -> Vec<(String, String)> {
    let home = cluster.path().join("home");
    std::fs::create_dir_all(home.join("sortie")).unwrap();
    let key = home.join("owner.key");
    std::fs::write(&key, cluster.api.owner()).unwrap();
    let text = format!(
        "current = \"test\"\n[profiles.test]\napi_url = \"http://127.0.0.1:{}\"\nkey_file = {:?}\nvault = \"main\"\n\
         agent = \"runner\"\nproxy = \"http://127.0.0.1:{}\"\n",
        cluster.ports.api,
        key.display().to_string(),
        cluster.ports.proxy
    );
    std::fs::write(home.join("sortie/config.toml"), text).unwrap();
    let home = home.display().to_string();
    vec![
        ("HOME".to_owned(), home.clone()),
        ("XDG_CONFIG_HOME".to_owned(), home),
    ]
}

/// What toolchains find below the home of whoever runs the tests.
fn toolchains() -> Vec<(String, String)> {
    let home = std::env::var("HOME").unwrap();
    let or = |name: &str, below: &str| {
        let value = std::env::var(name).unwrap_or_else(|_| format!("{home}/{below}"));
        (name.to_owned(), value)
    };
    let path = std::env::var("PATH").unwrap();
    let sortie = Path::new(SORTIE).parent().unwrap().display().to_string();
    // A Node.js that reads the variables of the proxy: the machine's own may be older.
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES")
        .expect("SORTIE_TEST_NODE_MODULES names node_modules with node; `make test` makes one");
    let path = [format!("{modules}/node/bin"), sortie, path].join(":");
    vec![
        or("RUSTUP_HOME", ".rustup"),
        or("GOCACHE", ".cache/go-build"),
        ("PATH".to_owned(), path),
    ]
}

/// What doctor looks at besides runtimes, from outside.
const OUTSIDE: [&str; 3] = ["control", "key", "clock"];
/// The same from inside, as `doctor` started by `run` looks at it, too.
const INSIDE: [&str; 4] = ["gateway", "session", "authority", "bundle"];
/// The runtimes that have to be there, and whose requests have to get through.
const RUNTIMES: [&str; 10] = [
    "curl",
    "git",
    "python3 urllib",
    "python3 requests",
    "python3 httpx",
    "node",
    "npm",
    "java",
    "go",
    "cargo",
];

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Runs the doctor with these variables besides those of the tests, and time to compile: Go compiles its own libraries
/// where it has not done so before.
async fn patiently(
    cluster: &Cluster,
    program: &str,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> Report {
    let command = tokio::process::Command::new(program);
    let deadline = Duration::from_secs(300);
    let done = process::run_within(deadline, cluster.path(), command, (arguments, env)).await;
    Report::read(&done)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_runtime_of_this_machine_is_used_and_well() {
    let cluster = Cluster::start().await;
    let mut env = profile(&cluster);
    env.extend(toolchains());
    let env = borrowed(&env);
    let outside = patiently(&cluster, SORTIE, &["doctor", "--output", "json"], &env).await;
    let arguments = ["run", "--quiet", "--", SORTIE, "doctor", "--output", "json"];
    let inside = patiently(&cluster, SORTIE, &arguments, &env).await;
    for report in [&outside, &inside] {
        report.is_well();
        let well = report.checks("ok");
        // A JVM sends a password to a proxy only if the program knows how, and the relay of `run` asks for one.
        let all = INSIDE.iter().chain(&RUNTIMES).filter(|it| **it != "java");
        let missing: Vec<_> = all.filter(|it| !well.contains(it)).collect();
        assert!(missing.is_empty(), "{missing:?} of {:#?}", report.rows);
        assert!(
            report.checks("warning").contains(&"java"),
            "{:#?}",
            report.rows
        );
    }
    for check in OUTSIDE {
        assert!(outside.checks("ok").contains(&check), "{:#?}", outside.rows);
    }
    cluster.finish().await;
}

/// Behind a relay that asks for no password, as in a sandbox or a pod, nothing is left to warn of.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_relay_without_a_password_all_is_green() {
    let cluster = Cluster::start().await;
    let relay = Relay::start(&cluster, &["--no-password"], &[]).await;
    let mut env = profile(&cluster);
    env.push(("SORTIE_PROXY".to_owned(), relay.url.clone()));
    let arguments = ["env", "--format", "json", "--output", "json"];
    let told = cluster.run(SORTIE, &arguments, &borrowed(&env)).await.ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    let mut inside = profile(&cluster);
    inside.retain(|(name, _)| name == "HOME");
    inside.extend(toolchains());
    for (name, value) in told["environment"].as_object().unwrap() {
        // The relay adds the session's token; what `env` minted is not used.
        let value = value.as_str().unwrap();
        let value = match value.rsplit_once('@') {
            Some((_, place)) if name.to_lowercase().ends_with("_proxy") => {
                format!("http://{place}")
            }
            _ => value.to_owned(),
        };
        inside.push((name.clone(), value));
    }
    let pairs = inside.iter().map(|(name, value)| format!("{name}={value}"));
    let arguments: Vec<String> = std::iter::once("-i".to_owned())
        .chain(pairs)
        .chain([SORTIE, "doctor", "--output", "json"].map(str::to_owned))
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let report = patiently(&cluster, "env", &arguments, &[]).await;
    report.is_well();
    let well = report.checks("ok");
    let missing: Vec<_> = INSIDE
        .iter()
        .chain(&RUNTIMES)
        .filter(|it| !well.contains(it))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {:#?}", report.rows);
    // No variable tells these whom to trust, where they are installed.
    let warned = report.checks("warning");
    assert!(
        warned.iter().all(|it| ["wget", "php"].contains(it)),
        "{:#?}",
        report.rows
    );
    relay.stop().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_environment_are_named_with_their_fix() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let inside = Inside::new(&cluster, Some(&session));
    inside.doctor(&cluster, &[], &[]).await.is_well();

    let stale = format!("https_proxy=http://127.0.0.1:{}", process::free_port());
    for (changes, check, seen, fix) in [
        (
            &[stale.as_str()][..],
            "https_proxy",
            "but HTTPS_PROXY names",
            "export https_proxy=\"$HTTPS_PROXY\"",
        ),
        // curl reads the lower case.
        (
            &[stale.as_str()],
            "curl",
            "no way to the proxy",
            "HTTPS_PROXY",
        ),
        (
            &["NO_PROXY=corp.example,*"],
            "NO_PROXY",
            "* sends",
            "export NO_PROXY='corp.example,localhost,127.0.0.1,::1'",
        ),
        (
            &["GIT_SSL_CAINFO=/etc/hostname"],
            "GIT_SSL_CAINFO",
            "does not hold",
            "export GIT_SSL_CAINFO=\"$SSL_CERT_FILE\"",
        ),
        (
            &["GIT_SSL_CAINFO=/etc/hostname"],
            "git",
            "does not trust",
            "export GIT_SSL_CAINFO=",
        ),
    ] {
        let report = inside.doctor(&cluster, changes, &[]).await;
        report.names(check, seen, fix);
    }

    // The gateway says which hosts it brokers for this session.
    let hole = inside
        .doctor(&cluster, &["NO_PROXY=api.up.test"], &[])
        .await;
    hole.names(
        "NO_PROXY",
        "api.up.test sends",
        "export NO_PROXY='localhost,",
    );

    let url = cluster.url("/bytes/8");
    let hole = inside
        .doctor(&cluster, &["no_proxy=.up.test"], &["--url", &url])
        .await;
    hole.names("no_proxy", ".up.test sends", "export no_proxy='");
    let any = inside.doctor(&cluster, &[], &["--url", &url]).await;
    any.is_well();
    assert!(any.checks("ok").contains(&"curl"));

    let without = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let none = inside.doctor(&cluster, &without, &[]).await;
    none.names(
        "HTTPS_PROXY",
        "no variable names a proxy",
        "sortie run -- CMD",
    );
    assert!(none.checks("skipped").contains(&"curl"));

    let careless = inside
        .doctor(&cluster, &["NODE_TLS_REJECT_UNAUTHORIZED=0"], &[])
        .await;
    careless.is_well();
    assert!(
        careless
            .checks("warning")
            .contains(&"NODE_TLS_REJECT_UNAUTHORIZED")
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_not_told_of_the_proxy_is_named() {
    let cluster = Cluster::start().await;
    let session = cluster.session().await;
    let inside = Inside::new(&cluster, Some(&session));
    let path = toolchains().pop().unwrap().1;
    let node = std::env::split_paths(&OsString::from(path))
        .map(|folder| folder.join("node"))
        .find(|path| path.is_file())
        .expect("Node.js");
    symlink(node, programs(cluster.path()).join("node")).unwrap();
    let report = inside.doctor(&cluster, &["NODE_USE_ENV_PROXY"], &[]).await;
    report.names(
        "NODE_USE_ENV_PROXY",
        "is not 1",
        "export NODE_USE_ENV_PROXY=1",
    );
    let report = inside.doctor(&cluster, &["NODE_EXTRA_CA_CERTS"], &[]).await;
    report.names(
        "NODE_EXTRA_CA_CERTS",
        "is unset",
        "export NODE_EXTRA_CA_CERTS=",
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_bundle_are_named_with_their_fix() {
    let cluster = Cluster::start().await;
    let session = cluster.session().await;
    let authority = std::fs::read_to_string(cluster.ca()).unwrap();
    let older = root("Sortie ten_older", "Sortie") + &foreign_root();
    for (text, check, seen) in [
        ("no certificate\n", "bundle", "holds no certificate"),
        (foreign_root().as_str(), "bundle", "no tenant's authority"),
        (older.as_str(), "authority", "older than the authority"),
    ] {
        let inside = Inside::new(&cluster, Some(&session)).with_bundle(&cluster, text);
        let report = inside.doctor(&cluster, &[], &[]).await;
        report.names(check, seen, "sortie run -- CMD");
    }
    let alone = Inside::new(&cluster, Some(&session)).with_bundle(&cluster, &authority);
    let report = alone.doctor(&cluster, &[], &[]).await;
    report.is_well();
    assert!(report.checks("warning").contains(&"bundle"));

    let missing = Inside::new(&cluster, Some(&session));
    std::fs::remove_file(cluster.path().join("bundle.pem")).unwrap();
    let report = missing.doctor(&cluster, &[], &[]).await;
    report.names("bundle", "cannot be read", "sortie run -- CMD");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_win_over_the_environment_are_named() {
    let cluster = Cluster::start().await;
    let session = cluster.session().await;
    let inside = Inside::new(&cluster, Some(&session));
    let home = cluster.path().join("home");
    let other = format!("http://127.0.0.1:{}", process::free_port());
    for (file, text, check, fix) in [
        (
            ".gitconfig",
            format!("[http]\n\tproxy = {other}\n"),
            "git config",
            "git config --global --unset-all http.proxy",
        ),
        (
            ".npmrc",
            format!("https-proxy={other}\n"),
            "npm config",
            "sed -i.bak '/https-proxy/d'",
        ),
        (
            ".curlrc",
            format!("proxy = {other}\n"),
            "curl config",
            "sed -i.bak '/proxy/d'",
        ),
    ] {
        std::fs::write(home.join(file), text).unwrap();
        let report = inside.doctor(&cluster, &[], &[]).await;
        report.names(check, &other, fix);
        std::fs::remove_file(home.join(file)).unwrap();
    }
    inside.doctor(&cluster, &[], &[]).await.is_well();
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_session_and_the_gateway_are_named() {
    let clock = MovableClock::build();
    let mut cluster = Cluster::start_with(Setup {
        control_env: clock.environment(),
        ..Setup::default()
    })
    .await;
    let session = cluster.session().await;
    let inside = Inside::new(&cluster, Some(&session));
    inside.doctor(&cluster, &[], &[]).await.is_well();

    // Its own clock, two hours ahead: past the end of the session, which the gateway still takes.
    let moved = MovableClock::build();
    moved.advance_wall(7200);
    let moved: Vec<String> = moved
        .environment()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
    let report = inside.doctor(&cluster, &moved, &[]).await;
    report.names("clock", "ahead of", "timedatectl");

    let nobody = Inside::new(&cluster, None);
    let report = nobody.doctor(&cluster, &[], &[]).await;
    report.names("session", "token_missing", "sortie run -- CMD");

    cluster.api.revoke(&session).await;
    let revoked = super::support::poll("the revocation to arrive", || async {
        let report = inside.doctor(&cluster, &[], &[]).await;
        report
            .checks("fault")
            .contains(&"session")
            .then_some(report)
    })
    .await;
    revoked.names("session", "session_revoked", "sortie run -- CMD");
    assert!(revoked.checks("skipped").contains(&"curl"));

    let second = cluster.session().await;
    let inside = Inside::new(&cluster, Some(&second));
    inside.doctor(&cluster, &[], &[]).await.is_well();
    clock.advance_cluster(&cluster, 3700).await;
    let expired = inside.doctor(&cluster, &[], &[]).await;
    expired.names("session", "token_expired", "sortie run -- CMD");
    clock.advance_cluster(&cluster, 0).await;

    cluster.kill_gateway().await;
    let down = inside.doctor(&cluster, &[], &[]).await;
    down.names(
        "gateway",
        "cannot be reached",
        &cluster.ports.proxy.to_string(),
    );
    cluster.restart_gateway().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_outside_control_the_key_and_the_clock_are_looked_at() {
    let cluster = Cluster::start().await;
    let mut env = profile(&cluster);
    env.push((
        "PATH".to_owned(),
        programs(cluster.path()).display().to_string(),
    ));
    let ask = async |more: &[(String, String)], arguments: &[&str]| {
        let all = [&env[..], more].concat();
        let arguments = [&["doctor", "--output", "json"], arguments].concat();
        Report::read(&cluster.run(SORTIE, &arguments, &borrowed(&all)).await)
    };
    let closed = format!("http://127.0.0.1:{}", process::free_port());
    let report = ask(&[], &["--api-url", &closed]).await;
    report.names("control", "cannot reach", "sortie dev");

    let key = cluster.path().join("home/wrong.key");
    std::fs::write(&key, "sortie_key_wrong").unwrap();
    let wrong = ("SORTIE_API_KEY_FILE".to_owned(), key.display().to_string());
    let report = ask(&[wrong], &[]).await;
    report.names("key", "unauthenticated", "SORTIE_API_KEY_FILE");

    let moved = MovableClock::build();
    moved.advance_wall(7200);
    let report = ask(&moved.environment(), &[]).await;
    report.names("clock", "ahead of control", "timedatectl");

    let report = ask(&[], &["--vault", "nowhere"]).await;
    assert_eq!(report.code, 1, "{report:?}");
    assert_eq!(report.checks("fault"), ["session"]);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_shows_what_is_open_and_what_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = [
        "doctor",
        "--sandbox",
        "--output",
        "json",
        "--also",
        &address,
    ];
    let open = Report::read(&process::run(dir.path(), SORTIE, &arguments, &[]).await);
    open.names("other addresses", &address, "sortie run --isolate");
    assert!(open.checks("fault").contains(&"loopback ports"));

    let apart = ["--user", "--map-root-user", "--net"];
    let allowed = process::run(
        dir.path(),
        "unshare",
        &[&apart[..], &["true"]].concat(),
        &[],
    )
    .await;
    if allowed.code != 0 {
        // This system lets nobody but root make a network of their own.
        return;
    }
    let inside = [&apart[..], &[SORTIE], &arguments[..]].concat();
    let closed = Report::read(&process::run(dir.path(), "unshare", &inside, &[]).await);
    for check in [
        "direct TCP",
        "direct TCP over IPv6",
        "metadata service",
        "metadata service over IPv6",
        "SSH",
        "DNS over UDP",
        "resolver",
        "loopback ports",
        "this machine's addresses",
        "other addresses",
    ] {
        assert!(closed.checks("ok").contains(&check), "{check}: {closed:#?}");
    }
    assert_eq!(json!(closed.checks("skipped")), json!([]));
}
