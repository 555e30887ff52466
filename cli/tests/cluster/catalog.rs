//! Every bundle and pack of the catalog, added by the program itself to a real cluster, and driven as the vendor's client
//! would: what arrives must be what the vendor documents.

mod documented;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sortie_proto::catalog::{self, Bundle, Entry};
use sortie_proto::host::HostPattern;

use self::documented::{DOCUMENTED, Documented};
use super::support::{Cluster, Finished, Minted, Setup, poll};

/// A cluster where hosts of the catalog are the recording upstream, and values for credentials.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    /// Outside the folder that is searched for secrets.
    files: tempfile::TempDir,
    values: BTreeMap<&'static str, String>,
}

/// A value for each credential. One canary is in all of them: a search for each would take minutes.
pub(super) fn values(canary: &str) -> BTreeMap<&'static str, String> {
    let bundles = catalog::bundles().iter();
    let needed = bundles.flat_map(|bundle| &bundle.credentials);
    needed
        .map(|needed| {
            let value = format!("{canary}-{}", needed.name.to_lowercase());
            (needed.name.as_str(), value)
        })
        .collect()
}

impl Stage {
    async fn start() -> Self {
        let entries = || {
            let offered = catalog::bundles()
                .iter()
                .flat_map(|bundle| &bundle.services);
            offered.chain(catalog::packs().iter().flat_map(|pack| &pack.services))
        };
        let exact = |entry: &Entry| match &entry.host {
            HostPattern::Exact(host) => Some(host.to_string()),
            HostPattern::Wildcard(_) => None,
        };
        let mut hosts: Vec<_> = entries().filter_map(exact).collect();
        hosts.sort();
        hosts.dedup();
        let setup = Setup {
            hosts,
            ..Setup::default()
        };
        let canary = format!("canary-catalog-{}", uuid::Uuid::new_v4().simple());
        Self::start_with(setup, &canary).await
    }

    pub(super) async fn start_with(setup: Setup, canary: &str) -> Self {
        let cluster = Cluster::start_with(setup).await;
        cluster.keep_secret(canary);
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("owner.key"), cluster.api.owner()).unwrap();
        let values = values(canary);
        for (name, value) in &values {
            std::fs::write(files.path().join(name), format!("{value}\n")).unwrap();
        }
        Self {
            cluster,
            files,
            values,
        }
    }

    /// A vault of its own with the test's agent in it.
    async fn vault(&self, name: &str) {
        let api = &self.cluster.api;
        api.post(
            "/v1/tenants/-/vaults",
            json!({"name": name, "mode": "deny"}),
        )
        .await;
        api.put(
            &format!("/v1/tenants/-/vaults/{name}/grants/runner"),
            json!({"role": "user"}),
        )
        .await;
    }

    /// What leads `sortie` to this cluster.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let key = self.files.path().join("owner.key").display().to_string();
        let home = self.files.path().display().to_string();
        let api = self.cluster.api.base().to_owned();
        [
            ("SORTIE_API_URL", api),
            ("SORTIE_API_KEY_FILE", key),
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", home),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    async fn sortie(&self, arguments: &[&str]) -> Finished {
        let env = self.env();
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        self.cluster
            .run(env!("CARGO_BIN_EXE_sortie"), arguments, &env)
            .await
    }

    /// `sortie service add` of many bundles to a vault that is empty.
    pub(super) async fn add_all(&self, vault: &str, names: &[&str]) {
        let bundles = names.iter().filter_map(|name| catalog::find(name));
        let needed = bundles.flat_map(|bundle| &bundle.credentials);
        let mut files: Vec<_> = needed
            .map(|needed| {
                let file = self.files.path().join(&needed.name);
                format!("{}={}", needed.name, file.display())
            })
            .collect();
        files.sort();
        files.dedup();
        let mut arguments = vec!["service", "add", "--vault", vault];
        arguments.extend(names);
        for file in &files {
            arguments.extend(["--credential-file", file]);
        }
        self.sortie(&arguments).await.ok();
    }

    /// `sortie service add`, as rows.
    async fn add(&self, vault: &str, name: &str) -> Vec<(String, String, String)> {
        let mut arguments = vec!["service", "add", name, "--vault", vault, "--output", "json"];
        let held = self
            .cluster
            .api
            .get(&format!(
                "/v1/tenants/-/vaults/{vault}/credentials?page_size=500"
            ))
            .await;
        let is_held = |name: &str| {
            held["credentials"]
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it["name"] == name)
        };
        let needed = catalog::find(name)
            .into_iter()
            .flat_map(|bundle| &bundle.credentials);
        let files: Vec<_> = needed
            .filter(|needed| !is_held(&needed.name))
            .map(|needed| {
                format!(
                    "{}={}",
                    needed.name,
                    self.files.path().join(&needed.name).display()
                )
            })
            .collect();
        for file in &files {
            arguments.extend(["--credential-file", file]);
        }
        let done = self.sortie(&arguments).await;
        assert_eq!(done.code, 0, "{name}: {}", done.seen());
        let rows: Value = serde_json::from_slice(&done.stdout).unwrap();
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| (text(row, "kind"), text(row, "name"), text(row, "result")))
            .collect()
    }

    /// Moves the services of a vault to the ports of the upstream, which is not alone on this machine. All else stays.
    async fn move_to_upstream(&self, vault: &str) {
        let path = format!("/v1/tenants/-/vaults/{vault}/services");
        let listed = self.cluster.api.get(&format!("{path}?page_size=500")).await;
        for service in listed["services"].as_array().unwrap() {
            let mut spec = service["spec"].clone();
            let is_plain = spec["scheme"] == "http";
            spec["port"] = if is_plain {
                self.cluster.ports.http
            } else {
                self.cluster.ports.https
            }
            .into();
            let name = service["name"].as_str().unwrap();
            self.cluster.api.put(&format!("{path}/{name}"), spec).await;
        }
    }

    async fn session(&self, vault: &str) -> Minted {
        self.cluster
            .api
            .mint(json!({"agent": "runner", "vaults": [vault]}))
            .await
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.cluster.ports.https)
    }

    /// Sends a documented request as the vendor's client would, and compares what arrives.
    async fn check(&self, session: &Minted, documented: &Documented) {
        let bundle = catalog::find(documented.bundle).unwrap();
        let placeholder = |name: &str| bundle.credential(name).unwrap().placeholder.clone();
        let value = |name: &str| self.values[name].clone();
        let before = self.cluster.recorded().len();
        let url = self.url(documented.host, &fill(documented.path, &placeholder));
        let headers: Vec<_> = documented
            .sends
            .iter()
            .map(|line| fill(line, &placeholder))
            .collect();
        let mut arguments = vec![
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            documented.method,
            "--path-as-is",
        ];
        for header in &headers {
            arguments.extend(["-H", header]);
        }
        if documented.method != "GET" {
            arguments.extend(["--data", "{}"]);
        }
        arguments.push(&url);
        let status = self.cluster.curl(session, &arguments).await.ok();
        let place = format!("{} of {}: {status}", documented.service, documented.bundle);
        let seen = self.cluster.recorded().split_off(before);
        assert_eq!(seen.len(), 1, "{place}");
        let seen = &seen[0];
        assert_eq!(seen["method"], documented.method, "{place}");
        assert_eq!(
            seen["host"],
            format!("{}:{}", documented.host, self.cluster.ports.https),
            "{place}"
        );
        assert_eq!(seen["target"], fill(documented.path, &value), "{place}");
        for line in documented.arrives {
            let line = fill(line, &value);
            let (name, expect) = line.split_once(": ").unwrap();
            assert_eq!(headers_named(seen, name), [expect], "{place}: {name}");
        }
        self.check_nothing_else(seen, documented, &place);
    }

    /// Each value stands where the documentation has it and nowhere else, and no placeholder is left.
    fn check_nothing_else(&self, seen: &Value, documented: &Documented, place: &str) {
        let named: Vec<_> = documented
            .arrives
            .iter()
            .filter_map(|line| line.split(": ").next())
            .collect();
        for pair in seen["headers"].as_array().unwrap() {
            let (name, text) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            assert!(
                !text.contains("__"),
                "{place}: a placeholder is left in {name}"
            );
            if named.contains(&name) {
                continue;
            }
            let is_leaked = self
                .values
                .values()
                .any(|value| text.contains(value.as_str()));
            assert!(!is_leaked, "{place}: {name} holds a credential");
        }
    }
}

/// Puts something in the place of each `[NAME]`, then encodes `basic(…)`.
pub(super) fn fill(text: &str, with: &impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let (name, behind) = after.split_once(']').unwrap();
        out.push_str(before);
        out.push_str(&with(name));
        rest = behind;
    }
    out.push_str(rest);
    match out.split_once("basic(") {
        None => out,
        Some((before, pair)) => format!(
            "{before}Basic {}",
            STANDARD.encode(pair.strip_suffix(')').unwrap())
        ),
    }
}

pub(super) fn headers_named<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().unwrap().iter();
    let named = headers.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|pair| pair[1].as_str().unwrap()).collect()
}

/// Bundles that authenticate at another's host in another way: a vault has one of them.
const OTHERWISE: [&str; 2] = ["claude-code-subscription", "claude-code-login"];

pub(super) fn is_otherwise(bundle: &Bundle) -> bool {
    OTHERWISE.contains(&bundle.name.as_str())
}

#[test]
fn the_table_covers_every_service_that_carries_a_credential() {
    for bundle in catalog::bundles() {
        for entry in bundle
            .services
            .iter()
            .filter(|entry| entry.credentials().next().is_some())
        {
            let found = DOCUMENTED.iter().any(|documented| {
                (documented.bundle, documented.service)
                    == (bundle.name.as_str(), entry.name.as_str())
                    && documented.host == entry.host.to_string()
            });
            assert!(found, "{} of {} is not documented", entry.name, bundle.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bundle_sends_what_its_vendor_documents() {
    let stage = Stage::start().await;
    for vault in OTHERWISE {
        stage.vault(vault).await;
    }
    for bundle in catalog::bundles() {
        let vault = if is_otherwise(bundle) {
            bundle.name.as_str()
        } else {
            "main"
        };
        let rows = stage.add(vault, &bundle.name).await;
        assert_eq!(
            rows.len(),
            bundle.services.len() + bundle.credentials.len(),
            "{rows:?}"
        );
        let again = stage.add(vault, &bundle.name).await;
        assert!(
            again.iter().all(|(_, _, result)| result == "kept"),
            "{again:?}"
        );
    }
    let mut sessions = BTreeMap::new();
    for vault in ["main", OTHERWISE[0], OTHERWISE[1]] {
        stage.move_to_upstream(vault).await;
        sessions.insert(vault, stage.session(vault).await);
    }
    for documented in DOCUMENTED {
        let bundle = catalog::find(documented.bundle).unwrap();
        let vault = if is_otherwise(bundle) {
            documented.bundle
        } else {
            "main"
        };
        stage.check(&sessions[vault], documented).await;
    }
    // What carries no credential carries none: not the agent's login, which passes, and no other.
    let login = "Authorization: Bearer sk-ant-oat01-the-persons-own";
    let url = stage.url("api.anthropic.com", "/v1/messages");
    stage
        .cluster
        .curl(&sessions["claude-code-login"], &["-H", login, &url])
        .await
        .ok();
    let seen = stage.cluster.recorded().pop().unwrap();
    assert_eq!(
        headers_named(&seen, "authorization"),
        ["Bearer sk-ant-oat01-the-persons-own"]
    );
    for (host, path) in [
        ("codeload.github.com", "/acme/app/zip/refs/heads/main"),
        ("cdn-lfs.hf.co", "/repos/aa/bb/cc?X-Amz-Signature=1"),
        ("pypi.org", "/simple/requests/"),
        ("models.dev", "/api.json"),
    ] {
        stage
            .cluster
            .curl(&sessions["main"], &[&stage.url(host, path)])
            .await
            .ok();
        let seen = stage.cluster.recorded().pop().unwrap();
        assert_eq!(seen["target"], path);
        assert_eq!(headers_named(&seen, "authorization"), Vec::<&str>::new());
    }
    stage.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_let_reads_pass_and_nothing_else() {
    let stage = Stage::start().await;
    for pack in catalog::packs() {
        let name = format!("pack:{}", pack.name);
        let rows = stage.add("main", &name).await;
        assert!(
            rows.iter()
                .all(|(_, name, result)| name.starts_with("pack-") && result == "added"),
            "{rows:?}"
        );
        let again = stage.add("main", &name).await;
        assert!(
            again.iter().all(|(_, _, result)| result == "kept"),
            "{again:?}"
        );
    }
    let listed = stage
        .sortie(&["service", "list", "--vault", "main"])
        .await
        .ok();
    assert!(listed.contains("pack-npm-registry"), "{listed}");
    stage.move_to_upstream("main").await;
    // One service with a credential, so that the search for secrets at the end has something to prove itself with.
    stage.cluster.bearer_service().await;
    let session = stage.session("main").await;
    let own = stage.cluster.url("/bytes/8");
    stage.cluster.curl(&session, &["-f", &own]).await.ok();
    let status = async |method: &str, url: &str| {
        let arguments = ["-o", "/dev/null", "-w", "%{http_code}", "-X", method, url];
        let before = stage.cluster.recorded().len();
        let status = stage.cluster.curl(&session, &arguments).await.ok();
        (status, stage.cluster.recorded().len() - before)
    };
    let plain = format!(
        "http://deb.debian.org:{}/debian/dists/stable/InRelease",
        stage.cluster.ports.http
    );
    for (method, url, passes) in [
        (
            "GET",
            stage.url("registry.npmjs.org", "/@babel%2fcore"),
            true,
        ),
        ("PUT", stage.url("registry.npmjs.org", "/left-pad"), false),
        (
            "GET",
            stage.url("files.pythonhosted.org", "/packages/x.whl"),
            true,
        ),
        ("GET", stage.url("index.crates.io", "/se/rd/serde"), true),
        (
            "GET",
            stage.url("proxy.golang.org", "/golang.org/x/text/@v/list"),
            true,
        ),
        (
            "GET",
            stage.url(
                "github.com",
                "/acme/app.git/info/refs?service=git-upload-pack",
            ),
            true,
        ),
        (
            "POST",
            stage.url("github.com", "/acme/app.git/git-upload-pack"),
            true,
        ),
        (
            "POST",
            stage.url("github.com", "/acme/app.git/git-receive-pack"),
            false,
        ),
        (
            "POST",
            stage.url("api.github.com", "/repos/acme/app/issues"),
            false,
        ),
        ("GET", plain, true),
        ("GET", stage.url("api.openai.com", "/v1/models"), false),
    ] {
        let (status, arrived) = status(method, &url).await;
        assert_eq!(
            (status == "403", arrived),
            (!passes, usize::from(passes)),
            "{method} {url}: {status}"
        );
    }
    stage.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_becomes_commands_that_work() {
    let stage = Stage::start().await;
    let session = stage.session("main").await;
    // At the vendor's own port nothing listens here; what matters is that it was asked for.
    for url in [
        "https://api.openai.com/v1/models",
        "https://registry.npmjs.org/left-pad",
        "https://unknown.up.test/v1",
    ] {
        stage
            .cluster
            .curl(&session, &["-o", "/dev/null", url])
            .await;
    }
    let suggest = ["service", "suggest", "--vault", "main", "--output", "json"];
    let rows = poll("three hosts to be suggested", || async {
        let rows: Value = serde_json::from_str(&stage.sortie(&suggest).await.ok()).unwrap();
        (rows.as_array().unwrap().len() == 3).then_some(rows)
    })
    .await;
    let mut commands: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["command"].as_str().unwrap())
        .collect();
    commands.sort_unstable();
    assert_eq!(
        commands,
        [
            "sortie service add openai --vault main",
            "sortie service add pack:npm --vault main",
            "sortie service set unknown-up-test --host unknown.up.test --method GET --vault main",
        ]
    );
    for command in &commands[1..] {
        let words: Vec<_> = command.split(' ').skip(1).collect();
        stage.sortie(&words).await.ok();
    }
    stage.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_is_used_through_its_placeholder() {
    let stage = Stage::start().await;
    let work = stage.files.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let file = work.join(".env");
    let value = &stage.values["OPENAI_API_KEY"];
    std::fs::write(&file, format!("OPENAI_API_KEY=\"{value}\"\n")).unwrap();
    let path = file.display().to_string();
    let done = stage
        .sortie(&["import", &path, "--yes", "--vault", "main"])
        .await;
    assert!(done.ok().contains("moved"), "{}", done.seen());
    // The credential is there: nobody is asked for it.
    let rows = stage.add("main", "openai").await;
    assert!(
        rows.contains(&(
            "credential".to_owned(),
            "OPENAI_API_KEY".to_owned(),
            "kept".to_owned()
        )),
        "{rows:?}"
    );
    stage.move_to_upstream("main").await;

    let text = std::fs::read_to_string(&file).unwrap();
    let placeholder = text
        .trim()
        .strip_prefix("OPENAI_API_KEY=\"")
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap();
    let session = stage.session("main").await;
    let header = format!("Authorization: Bearer {placeholder}");
    let url = stage.url("api.openai.com", "/v1/models");
    stage
        .cluster
        .curl(&session, &["-H", &header, &url])
        .await
        .ok();
    let seen = stage.cluster.recorded().pop().unwrap();
    assert_eq!(
        headers_named(&seen, "authorization"),
        [format!("Bearer {value}").as_str()]
    );

    assert_eq!(stage.sortie(&["import", "--undo"]).await.code, 0);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        format!("OPENAI_API_KEY=\"{value}\"\n")
    );
    stage.cluster.finish().await;
}
