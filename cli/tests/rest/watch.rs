//! `--watch`: what moves is shown as it moves.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{Answers, Control};

/// A program that goes on, and its lines.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(control: &Control, arguments: &[&str]) -> Self {
        let mut child = control.command(arguments).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Ctrl-C ends it in good order.
    fn end(mut self) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(id, Signal::SIGINT).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(self.lines.next().is_none(), "it said more at its end");
    }
}

fn sessions(names: &[&str]) -> Answers {
    let listed: Vec<_> = names.iter().map(|name| json!({"id": name})).collect();
    let body = json!({"sessions": listed}).to_string();
    vec![("GET /v1/tenants/-/sessions", 200, body)]
}

fn entries(ids: &[(&str, u32)]) -> Answers {
    let entry = |(id, second): &(&str, u32)| {
        json!({"id": id, "kind": "admin", "action": format!("act.{id}"),
            "at": format!("2026-01-01T00:00:{second:02}Z")})
    };
    let listed: Vec<_> = ids.iter().map(entry).collect();
    vec![(
        "GET /v1/tenants/-/audit",
        200,
        json!({"entries": listed}).to_string(),
    )]
}

#[test]
fn a_list_is_shown_again_when_it_changed() {
    let control = Control::start(sessions(&["ses_1"]));
    let mut watching = Watching::start(&control, &["session", "list", "--watch", "-o", "json"]);
    assert_eq!(watching.json(), json!([{"id": "ses_1"}]));
    control.answer(vec![(
        "GET",
        503,
        json!({"status": 503, "code": "unavailable", "title": "x"}).to_string(),
    )]);
    let before = control.asked().len();
    // Two more questions: the one that control is away for was answered.
    while control.asked().len() < before + 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    control.answer(sessions(&["ses_1", "ses_2"]));
    assert_eq!(watching.json(), json!([{"id": "ses_1"}, {"id": "ses_2"}]));
    watching.end();
}

#[test]
fn a_log_is_shown_once_and_in_its_order() {
    let control = Control::start(entries(&[("b", 2), ("a", 1)]));
    let mut watching = Watching::start(&control, &["audit", "list", "--watch", "--limit", "2"]);
    assert!(watching.line().starts_with("AT "));
    assert!(watching.line().contains("act.a"));
    assert!(watching.line().contains("act.b"));
    control.answer(entries(&[("d", 4), ("c", 3), ("b", 2), ("a", 1)]));
    assert!(watching.line().contains("act.c"));
    assert!(watching.line().contains("act.d"));
    let asked = control.asked().pop().unwrap().line;
    assert!(asked.contains("since=2026-01-01T00"), "{asked}");
    watching.end();
}

#[test]
fn a_first_answer_that_says_no_ends_it() {
    let problem = json!({"status": 403, "code": "permission_denied", "title": "Denied"});
    let control = Control::start(vec![("GET", 403, problem.to_string())]);
    let done = control.sortie(&["gateway", "list", "--watch"], "");
    assert_eq!(done.status.code(), Some(77));
}
