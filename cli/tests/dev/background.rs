//! `--detach`, `status`, `stop` and `logs`.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Place, lives, run, wait};

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn a_cluster_in_the_background_is_started_looked_at_and_stopped() {
    let place = Place::new();
    assert_eq!(place.status().1, 1);

    let told = place.detach(&[]).ok();
    assert!(
        told.contains("A request was brokered.") && told.contains("= the stored value"),
        "{told}"
    );
    assert!(
        told.contains("dev stop --data-dir") && !told.contains("Ctrl-C"),
        "{told}"
    );

    let (status, code) = place.status();
    assert_eq!((code, &status["phase"]), (0, &"ready".into()));
    assert_eq!(status["ports"]["proxy"], place.base + 80);
    let pids = status["pids"].as_object().unwrap().clone();
    let running: Vec<_> = pids.iter().filter(|(_, pid)| lives(pid)).collect();
    assert_eq!(
        running.len(),
        4,
        "dev, control, gateway, postgres: {pids:?}"
    );

    // What it says about repeating is so.
    for line in status["repeat"].as_array().unwrap() {
        let line = line.as_str().unwrap();
        if line.contains("/sse") {
            continue;
        }
        let mut again = Command::new("sh");
        again.args(["-c", line]).env("HOME", place.home());
        for name in ["XDG_CONFIG_HOME", "SORTIE_API_KEY", "SORTIE_PROFILE"] {
            again.env_remove(name);
        }
        let done = run(&mut again);
        assert_eq!(done.code, 0, "{line}: {}", done.seen());
    }

    // A second start changes nothing and tells of the first.
    for arguments in [&["--detach"][..], &[]] {
        let refused = run(&mut place.dev(arguments));
        assert_eq!(refused.code, 1, "{}", refused.seen());
        for part in [
            "another `sortie dev`",
            "it is ready",
            &pids["dev"].to_string(),
        ] {
            assert!(refused.err.contains(part), "{part}: {}", refused.err);
        }
    }
    assert_eq!(place.status().0["pids"], status["pids"]);

    let logs = run(&mut place.dev(&["logs"])).ok();
    for component in ["dev      | ", "control  | ", "gateway  | ", "postgres | "] {
        assert!(logs.contains(component), "{component}: {logs}");
    }
    let one = run(&mut place.dev(&["logs", "--component", "gateway", "--lines", "1"])).ok();
    assert_eq!(one.lines().count(), 1, "{one}");
    assert!(!one.contains('|'), "{one}");

    let stopped = run(&mut place.dev(&["stop"])).ok();
    assert!(stopped.contains("stopped process"), "{stopped}");
    // PostgreSQL's id is of a child's child: init, which takes it over, may not have waited for it yet.
    wait("the last process", || !pids.values().any(lives));
    assert_eq!(place.status().1, 1);
    let again = run(&mut place.dev(&["stop"])).ok();
    assert!(again.contains("nothing runs"), "{again}");
}

#[test]
fn a_start_that_fails_says_why() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", place.base + 80)).unwrap();
    let failed = place.detach(&[]);
    assert_eq!(failed.code, 1);
    let port = (place.base + 80).to_string();
    for part in ["in use on 127.0.0.1", &port, "logs/dev.log"] {
        assert!(failed.seen().contains(part), "{part}: {}", failed.seen());
    }
    assert_eq!(place.status().1, 1);
    drop(taken);
}

#[test]
fn what_was_killed_is_not_running_and_can_be_started_again() {
    let place = Place::new();
    place.detach(&["--no-demo"]).ok();
    let (status, _) = place.status();
    let pid = i32::try_from(status["pids"]["dev"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait("the lock to go", || place.status().1 == 1);
    run(&mut place.dev(&["stop"])).ok();
    // Where the system does not end children with their parent, they hold the ports.
    if cfg!(target_os = "linux") {
        for program in ["control", "gateway"] {
            wait(program, || !lives(&status["pids"][program]));
        }
        let again = place.detach(&["--no-demo"]).ok();
        assert!(again.contains("ready gateway"), "{again}");
    }
}

#[test]
fn a_start_that_is_broken_off_leaves_nothing() {
    let place = Place::new();
    let base = place.base.to_string();
    let mut child = place
        .dev(&["--detach", "--port-base", &base])
        .spawn()
        .unwrap();
    wait("the one in the background", || {
        place.status().0["running"] == true
    });
    let (status, code) = place.status();
    assert_eq!((code, &status["phase"]), (1, &"starting".into()));
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(place.status().0["running"], false);
    assert!(!lives(&status["pids"]["dev"]));
}

#[test]
fn logs_are_followed_until_ctrl_c() {
    let place = Place::new();
    let logs = place.data().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("gateway.log"), "the first\n").unwrap();
    let mut child = place
        .dev(&["logs", "-f", "--component", "gateway"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "the first");
    std::fs::rename(logs.join("gateway.log"), logs.join("gateway.log.1")).unwrap();
    std::fs::write(logs.join("gateway.log"), "of a new file\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "of a new file");
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn logs_without_a_reader_end() {
    let place = Place::new();
    let logs = place.data().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let file = logs.join("gateway.log");
    std::fs::write(&file, "the first\n").unwrap();
    let mut child = place
        .dev(&["logs", "-f", "--component", "gateway"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut text = "the first\n".to_owned();
    wait("its end", || {
        text.push_str("more\n");
        std::fs::write(&file, &text).unwrap();
        child.try_wait().unwrap().is_some()
    });
}
