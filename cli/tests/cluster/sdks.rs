//! The SDKs of `sdk/` against a cluster: their own tests, which say what they need, and their examples.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sortie_proto::catalog;

use super::support::{Cluster, Setup};

fn sdk(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("sdk")
        .join(path)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

const REGISTRY: &str = "registry.npmjs.org";

/// Puts a bundle of the catalog into the vault, at the upstream's port; answers with the value of its one credential.
async fn bundle(cluster: &Cluster, name: &str) -> String {
    let bundle = catalog::find(name).unwrap();
    let value = cluster.plain_secret(name);
    let [needed] = bundle.credentials.as_slice() else {
        panic!("{name} has one credential");
    };
    let hosts = bundle.services.iter();
    let hosts: Vec<_> = hosts
        .map(|entry| json!({"host": entry.host.to_string()}))
        .collect();
    let body = json!({"value": value, "placeholder": needed.placeholder, "destinations": hosts});
    let vault = "/v1/tenants/-/vaults/main";
    let path = format!("{vault}/credentials/{}", needed.name);
    cluster.api.put(&path, body).await;
    for entry in &bundle.services {
        let mut body = entry.body();
        body["port"] = cluster.ports.https.into();
        let path = format!("{vault}/services/{}", entry.name);
        cluster.api.put(&path, body).await;
    }
    value
}

/// A cluster with what the tests of the SDKs ask for.
struct Ready {
    cluster: Cluster,
    value: String,
    /// Of the credential of npm, which is in the vault as `sortie service add npm` puts it.
    npm: String,
    key_file: String,
}

impl Ready {
    async fn start() -> Self {
        let setup = Setup {
            hosts: vec![REGISTRY.to_owned()],
            ..Setup::default()
        };
        let cluster = Cluster::start_with(setup).await;
        let value = cluster.bearer_service().await;
        let npm = bundle(&cluster, "npm").await;
        let key_file = cluster.path().join("owner.key");
        std::fs::write(&key_file, format!("{}\n", cluster.api.owner())).unwrap();
        Self {
            value,
            npm,
            key_file: text(&key_file),
            cluster,
        }
    }

    /// Runs a program that uses an SDK; answers with what it printed.
    async fn run(&self, program: &str, arguments: &[&str], more: &[(&str, &str)]) -> String {
        let url = format!("http://127.0.0.1:{}", self.cluster.ports.api);
        let target = self.cluster.url("/json/sdk");
        let port = self.cluster.ports.https;
        let registry = format!("https://{REGISTRY}:{port}/json/registry");
        let python = text(&sdk("python/src"));
        let mut env = vec![
            ("SORTIE_API_URL", url.as_str()),
            ("SORTIE_API_KEY_FILE", &self.key_file),
            ("SORTIE_TEST_TARGET", &target),
            ("SORTIE_TEST_REGISTRY", &registry),
            ("PYTHONPATH", &python),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            // Nobody should be sent to it: the SDKs talk to control themselves.
            ("HTTP_PROXY", "http://127.0.0.1:1"),
            ("http_proxy", "http://127.0.0.1:1"),
        ];
        env.extend_from_slice(more);
        let done = self.cluster.run(program, arguments, &env).await;
        assert_eq!(done.code, 0, "{}", done.seen());
        done.seen()
    }

    /// Whether every request reached the upstream with the credential; answers how many.
    fn brokered(&self, path: &str) -> usize {
        self.authorized(path, &self.value)
    }

    /// The same, with this credential.
    fn authorized(&self, path: &str, value: &str) -> usize {
        let seen = self.cluster.recorded_at(path);
        let expected = format!("Bearer {value}");
        let is_authorization = |pair: &&Value| pair[0] == "authorization";
        for request in &seen {
            let headers = request["headers"].as_array().unwrap();
            let found: Vec<_> = headers.iter().filter(is_authorization).collect();
            assert_eq!(found, [&json!(["authorization", expected])], "{request}");
        }
        seen.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_and_its_example_work_against_a_cluster() {
    let ready = Box::pin(Ready::start()).await;
    let tests = text(&sdk("python/tests"));
    let discover = [
        "-W", "error", "-m", "unittest", "discover", "-v", "-s", &tests,
    ];
    let seen = ready.run("python3", &discover, &[]).await;
    assert!(seen.contains("\nOK") && !seen.contains("skipped"), "{seen}");
    assert!(ready.brokered("/json/sdk") >= 4);
    assert_eq!(ready.authorized("/json/registry", &ready.npm), 1);

    let example = text(&sdk("examples/orchestrator.py"));
    let target = ready.cluster.url("/json/example");
    let arguments = [
        example.as_str(),
        "--agents=3",
        "--agent=runner",
        "--vault=main",
        "--require=api",
        "--",
        "curl",
        "-sSf",
        &target,
    ];
    let seen = ready.run("python3", &arguments, &[]).await;
    assert!(
        seen.contains("3 agents, 0 failed, all sessions revoked"),
        "{seen}"
    );
    assert_eq!(ready.brokered("/json/example"), 3);
    ready.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_and_its_example_work_against_a_cluster() {
    let ready = Box::pin(Ready::start()).await;
    let files =
        ["offline", "cluster"].map(|name| text(&sdk(&format!("typescript/test/{name}.test.js"))));
    let arguments = ["--test", "--test-reporter=tap", &files[0], &files[1]];
    let seen = ready.run("node", &arguments, &[]).await;
    assert!(seen.contains("\n# skipped 0\n"), "{seen}");
    assert!(ready.brokered("/json/sdk") >= 4);
    assert_eq!(ready.authorized("/json/registry", &ready.npm), 1);

    // As a user has it: the package in node_modules, and TypeScript made JavaScript of.
    let project = project(ready.cluster.path());
    let example = text(&sdk("examples/orchestrator.ts"));
    let out = text(&project);
    let made = format!("{out}/orchestrator.js");
    typescript(&project, &["--outDir", &out, &example]);
    let target = ready.cluster.url("/json/example");
    let arguments = [made.as_str(), "3", "curl", "-sSf", &target];
    let whose = [("SORTIE_AGENT", "runner"), ("SORTIE_VAULT", "main")];
    let seen = ready.run("node", &arguments, &whose).await;
    assert!(
        seen.contains("3 agents, 0 failed, all sessions revoked"),
        "{seen}"
    );
    assert_eq!(ready.brokered("/json/example"), 3);
    ready.cluster.finish().await;
}

#[test]
fn the_types_of_the_typescript_sdk_say_what_people_write() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    typescript(
        &project,
        &["--noEmit", &text(&sdk("typescript/test/types.ts"))],
    );
}

/// A project whose `node_modules` holds the package.
fn project(folder: &Path) -> PathBuf {
    let project = folder.join("project");
    let modules = project.join("node_modules");
    std::fs::create_dir_all(modules.join("@sortie")).unwrap();
    std::os::unix::fs::symlink(sdk("typescript"), modules.join("@sortie/sdk")).unwrap();
    std::fs::write(project.join("package.json"), r#"{"type": "module"}"#).unwrap();
    project
}

/// Runs the compiler of TypeScript over files as if they stood in a project.
fn typescript(project: &Path, arguments: &[&str]) {
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES").expect(
        "SORTIE_TEST_NODE_MODULES names node_modules with typescript; `make test` makes one",
    );
    let (files, options): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .partition(|argument| argument.ends_with(".ts"));
    let mut command = Command::new("node");
    command
        .arg(format!("{modules}/typescript/bin/tsc"))
        .args(options)
        .args([
            "--strict",
            "--exactOptionalPropertyTypes",
            "--target",
            "es2022",
        ])
        .args(["--module", "nodenext", "--types", "node", "--typeRoots"])
        .arg(format!("{modules}/@types"))
        .current_dir(project);
    for file in files {
        let copy = project.join(Path::new(file).file_name().unwrap());
        std::fs::copy(file, &copy).unwrap();
        command.arg(copy);
    }
    let done = command.output().unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn what_is_generated_of_the_sdks_is_what_control_describes() {
    let control = Path::new(env!("CARGO_BIN_EXE_sortie")).with_file_name("sortie-control");
    let mut described = Command::new(control)
        .arg("--openapi")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let checked = Command::new("python3")
        .arg(sdk("generate.py"))
        .arg("--check")
        .stdin(described.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(described.wait().unwrap().success());
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[test]
fn the_python_package_is_built_and_holds_its_code_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("sdk");
    // A build writes beside the sources.
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        String::from_utf8(done.stdout).unwrap()
    };
    run("cp", &["-R", &text(&sdk("python")), &text(&copy)]);
    let site = text(&folder.path().join("site"));
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
    ];
    run(
        "python3",
        &[&pip[..], &["--target", &site, &text(&copy)]].concat(),
    );
    let script = "import sys; sys.path[:] = [sys.argv[1]] + [one for one in sys.path if 'sdk' not in one]\n\
        import importlib.metadata as m, sortie\n\
        print(sorted(file.name for file in m.files('sortie') if file.parent.name == 'sortie'))\n\
        print(m.version('sortie') == sortie.__version__, m.requires('sortie'))";
    let seen = run("python3", &["-B", "-c", script, &site]);
    let (files, rest) = seen.split_once('\n').unwrap();
    for file in [
        "__init__.py",
        "client.py",
        "models.py",
        "operations.py",
        "py.typed",
    ] {
        assert!(files.contains(&format!("'{file}'")), "{file}: {files}");
    }
    assert_eq!(rest.trim(), "True None", "the version, and no dependency");
}
