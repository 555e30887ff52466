//! `run --isolate=container`, in a real container of Podman: nothing is reached from inside but the gateway, and the
//! command is an ordinary one otherwise.

mod engine;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use self::engine::{Engine, IMAGE};
use super::isolate::{Host, PROBE};
use super::relay::surroundings;
use super::support::{Cluster, DEADLINE, Finished, poll};

/// A cluster, and an engine beside it.
struct Place {
    cluster: Cluster,
    engine: Engine,
}

impl Place {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.bearer_service().await;
        drop(surroundings(&cluster));
        Self {
            cluster,
            engine: Engine::start(),
        }
    }

    fn variables(&self) -> Vec<(String, String)> {
        let mut all = surroundings(&self.cluster);
        all.extend(self.engine.variables());
        all
    }

    /// `sortie run --isolate=container OPTIONS -- CMD`.
    async fn run(&self, options: &[&str], command: &[&str]) -> Finished {
        let own = ["run", "--agent=runner", "--isolate=container"];
        let arguments = [&own[..], options, &["--"], command].concat();
        let all = self.variables();
        let env: Vec<_> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.cluster
            .run(env!("CARGO_BIN_EXE_sortie"), &arguments, &env)
            .await
    }

    async fn shell(&self, script: &str) -> Finished {
        self.run(&["--quiet"], &["sh", "-c", script]).await
    }

    /// The same, with pipes.
    fn spawn(&self, script: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_sortie"))
            .args(["run", "--agent=runner", "--isolate=container", "--quiet"])
            .args(["--", "bash", "-c", script])
            .envs(self.variables())
            .current_dir(self.cluster.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn until_removed(&self) {
        poll("the container to be removed", || async {
            self.engine.containers().trim().is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reached_from_a_container_but_the_gateway() {
    let place = Box::pin(Place::start()).await;
    let cluster = &place.cluster;
    let host = Host::open(cluster);
    let answering = host.answer();
    // A program of this machine listens where the container can see.
    let beside = cluster.path().join("beside.sock");
    let _beside = UnixListener::bind(&beside).unwrap();
    let mut probe = vec!["python3".to_owned(), "-c".to_owned(), PROBE.to_owned()];
    probe.extend(host.arguments(cluster));
    let probe: Vec<&str> = probe.iter().map(String::as_str).collect();
    let mut near = probe.clone();
    let beside = beside.display().to_string();
    // The place of the socket that is in nobody's temporary folder, behind three words and four others.
    near[3 + 4] = &beside;

    let open = cluster.run("python3", &near[1..], &[]).await.ok();
    let open: Value = serde_json::from_str(&open).unwrap();
    for way in [
        "unix socket in /tmp",
        "unix socket elsewhere",
        "the key of sortie",
    ] {
        assert!(!open[way].as_str().unwrap().starts_with("no"), "{open:#}");
    }
    for probe in [probe, near] {
        let seen = place.run(&["--quiet"], &probe).await.ok();
        let seen: Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(
            seen.as_object().unwrap().len(),
            open.as_object().unwrap().len()
        );
        for (what, found) in seen.as_object().unwrap() {
            assert!(
                found.as_str().unwrap().starts_with("no"),
                "{what}: {seen:#}"
            );
        }
    }
    let script = r#"for link in /sys/class/net/*; do echo "${link##*/}"; done"#;
    assert_eq!(place.shell(script).await.ok().trim(), "lo");

    let url = cluster.url("/bytes/8");
    let through = place.run(&[], &["curl", "-sSf", &url]).await;
    assert!(through.seen().contains("1 brokered"), "{}", through.seen());
    assert_eq!(through.ok(), "xxxxxxxx");
    assert_eq!(cluster.recorded_at("/bytes/8").len(), 1);
    let refused = place
        .run(&[], &["curl", "-sS", "https://example.com/"])
        .await;
    assert!(
        refused.seen().contains("host_unmatched"),
        "{}",
        refused.seen()
    );
    host.stop(answering);
    place.until_removed().await;
    drop(place.engine);
    place.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_container_is_an_ordinary_one_otherwise() {
    let place = Box::pin(Place::start()).await;
    let here = place.cluster.path().canonicalize().unwrap();

    // The caller's user, folder and files; a home of its own; nothing of this machine's environment.
    let me = nix::unistd::geteuid().as_raw();
    let script = r#"id -u; pwd; echo made > made; echo "$HOME"; echo x > "$HOME/x"; echo "${CARGO:-none}"; cat made
        while read -r name is; do
            case $name in SigBlk:|CapEff:|NoNewPrivs:) echo "$is" ;; esac
        done < /proc/self/status"#;
    let seen = place.shell(script).await.ok();
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(seen[0], me.to_string());
    assert_eq!(seen[1], here.display().to_string());
    assert!(seen[2].ends_with("/home"), "{seen:?}");
    assert_eq!(
        seen[3..],
        ["none", "made", "0000000000000000", "0000000000000000", "1"]
    );
    assert_eq!(fs::metadata(here.join("made")).unwrap().uid(), me);
    assert_eq!(
        place.shell("echo x > \"$SSL_CERT_FILE\"").await.code,
        1,
        "it is read only"
    );

    // What is named is handed on or shared.
    let more = tempfile::tempdir().unwrap();
    fs::write(more.path().join("file"), "shared").unwrap();
    let folder = more.path().display().to_string();
    let script = format!("cat {folder}/file; echo \" $CARGO_MANIFEST_DIR\"; echo x > {folder}/new");
    let read_only = format!("{folder}:ro");
    let options = [
        "--quiet",
        "--share",
        &read_only,
        "--keep",
        "CARGO_MANIFEST_DIR",
    ];
    let seen = place.run(&options, &["sh", "-c", &script]).await;
    let expect = format!("shared {}", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(
        (seen.code, seen.text().trim()),
        (1, expect.as_str()),
        "{}",
        seen.seen()
    );

    // Exit codes, a pipe, a terminal.
    assert_eq!(place.shell("exit 7").await.code, 7);
    assert_eq!(place.shell("kill -9 $$").await.code, 137);
    assert_eq!(place.run(&[], &["/nowhere/command"]).await.code, 127);
    assert_eq!(place.run(&[], &["/etc"]).await.code, 126);
    let sortie = format!(
        "{} run --agent runner --isolate=container --quiet --",
        env!("CARGO_BIN_EXE_sortie")
    );
    let variables = place.variables();
    let env: Vec<_> = variables
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let piped = format!("echo line | {sortie} cat | cat");
    assert_eq!(
        place.cluster.run("sh", &["-c", &piped], &env).await.ok(),
        "line\n"
    );
    let in_terminal = format!("{sortie} tty");
    let seen = place
        .cluster
        .run("script", &["-qec", &in_terminal, "/dev/null"], &env)
        .await
        .ok();
    assert!(seen.contains("/dev/pts/"), "{seen}");

    signalled(&place).await;
    killed_with_it(&place).await;
    refusals(&place).await;
    drop(place.engine);
    place.cluster.finish().await;
}

/// The next line that a command prints.
async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let next = tokio::time::timeout(DEADLINE, lines.next_line()).await;
    next.expect("it says something")
        .unwrap()
        .unwrap_or_default()
}

/// A signal to `sortie run` is the command's.
async fn signalled(place: &Place) {
    let script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child = place.spawn(script);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(line(&mut lines).await, "ready");
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(line(&mut lines).await, "bye");
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(9));
    place.until_removed().await;
}

/// Whoever kills `sortie run` has killed all that is inside, and the container is gone.
async fn killed_with_it(place: &Place) {
    let mut child = place.spawn("echo ready; sleep 600 & exec sleep 600");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(line(&mut lines).await, "ready");
    assert!(place.engine.containers().starts_with("sortie-run-"));
    child.kill().await.unwrap();
    place.until_removed().await;
}

/// What cannot be done is said before there is a session.
async fn refusals(place: &Place) {
    let sessions = "/v1/tenants/-/sessions?include_ended=true";
    let count = async || {
        let all = place.cluster.api.get(sessions).await;
        all["sessions"].as_array().unwrap().len()
    };
    let before = count().await;
    for (options, code, part) in [
        (&["--image", ""][..], 2, "needs an image"),
        (
            &["--image", "localhost/nowhere:1"],
            1,
            "has no image localhost/nowhere:1",
        ),
        (
            &["--engine", "no-such-engine"],
            1,
            "there is no program no-such-engine",
        ),
        (&["--engine", "/bin/true"], 1, "its daemon does not answer"),
        (&["--share", "/etc"], 1, "/etc is the system's"),
        (&["--share", "/nowhere"], 2, "No such file"),
    ] {
        let done = place.run(options, &["true"]).await;
        assert_eq!(done.code, code, "{options:?} {}", done.seen());
        assert!(done.stderr.contains(part), "{options:?} {}", done.seen());
    }
    let printed = place.run(&["--print"], &["python3", "x.py"]).await.ok();
    for part in [
        "run --rm --interactive --network=none --cap-drop=ALL",
        &format!(" {IMAGE} "),
        "__inside contain",
        "-- python3 x.py",
        "SSL_CERT_FILE=FOLDER/bundle.pem",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert_eq!(count().await, before, "nothing is minted");
}
