//! The recording upstream as a process: what tests of the whole cluster lean on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sortie_loadtest::client::{self, Answer};
use tempfile::TempDir;

const SECRET: &str = "canary-8a41c7f09b2d";
const HOST: &str = "api.up.test";

struct Upstream {
    process: Child,
    ready: Value,
    folder: TempDir,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Upstream {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_sortie-loadtest"))
            .args(["upstream", "--plain-port", "0", "--raw-port", "0", "--dir"])
            .arg(folder.path())
            .arg("--record")
            .arg(folder.path().join("record"))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(line.strip_prefix("ready ").unwrap()).unwrap();
        Self {
            process,
            ready,
            folder,
        }
    }

    fn ca(&self) -> &Path {
        Path::new(self.ready["ca"].as_str().unwrap())
    }

    fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("record")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn curl(&self, port: &str, target: &str, more: &[&str]) -> (bool, String) {
        let port = self.ready[port].as_u64().unwrap();
        let scheme = if port == self.ready["plain"].as_u64().unwrap() {
            "http"
        } else {
            "https"
        };
        let output = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "--resolve",
                &format!("{HOST}:{port}:127.0.0.1"),
                "--cacert",
            ])
            .arg(self.ca())
            .args(["-H", &format!("authorization: Bearer {SECRET}")])
            .args(more)
            .arg(format!("{scheme}://{HOST}:{port}{target}"))
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    fn body(&self, target: &str) -> String {
        let (http1, first) = self.curl("tls", target, &["--http1.1"]);
        let (http2, second) = self.curl("tls", target, &["--http2"]);
        assert!(http1 && http2, "{target}: {first} {second}");
        assert_eq!(first, second, "{target}");
        first
    }
}

#[tokio::test]
async fn a_request_is_written_down_before_it_is_answered() {
    let upstream = Upstream::start(&[]);
    let port = upstream.ready["tls"].as_u64().unwrap();
    let stream = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let config = client::trusting(upstream.ca(), &["http/1.1"]).unwrap();
    let mut stream = client::secure(config, HOST, stream).await.unwrap();
    for target in ["/?a=1", "/bytes/70000"] {
        let Answer { status, body, .. } = client::get(&mut stream, HOST, target).await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(upstream.records().last().unwrap()["target"], target);
        assert_eq!(body.len(), if target == "/?a=1" { 1024 } else { 70_000 });
    }
    let records = upstream.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["connection"], records[1]["connection"]);
}

#[test]
fn every_header_and_the_body_are_written_down() {
    let upstream = Upstream::start(&[]);
    let more = [
        "--http2",
        "-H",
        "x-twice: 1",
        "-H",
        "x-twice: 2",
        "-d",
        "the body",
    ];
    let (_, answer) = upstream.curl("tls", "/json?q=%20", &more);
    let record = upstream.records().pop().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), record);
    assert_eq!(record["version"], "HTTP/2");
    assert_eq!(record["method"], "POST");
    assert_eq!(record["target"], "/json?q=%20");
    assert_eq!(record["body_base64"], STANDARD.encode("the body"));
    let headers = record["headers"].as_array().unwrap();
    assert_eq!(
        headers
            .iter()
            .filter(|header| header[0] == "x-twice")
            .count(),
        2
    );
    assert!(
        headers
            .iter()
            .any(|header| header[1] == format!("Bearer {SECRET}"))
    );
}

#[test]
fn the_credential_comes_back_in_every_encoding() {
    let upstream = Upstream::start(&[]);
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    for target in [
        "/echo/raw",
        "/echo/json",
        "/echo/split?at=3",
        "/echo/split?at=3&length=1",
        "/echo/chunks?size=4",
    ] {
        assert!(upstream.body(target).contains(SECRET), "{target}");
    }
    assert!(upstream.body("/echo/hex").contains(&hex));
    assert!(upstream.body("/echo/percent").contains("%63%61%6e"));
    for align in 0..3 {
        let body = upstream.body(&format!("/echo/base64?align={align}"));
        let encoded = body.split(' ').nth(3).unwrap();
        let inner = STANDARD.decode(encoded).unwrap();
        assert!(inner[align..].starts_with(SECRET.as_bytes()));
    }
    let (_, head) = upstream.curl("tls", "/echo/header", &["-D", "-", "-o", "/dev/null"]);
    assert!(
        head.contains(&format!("x-echo-authorization: Bearer {SECRET}")),
        "{head}"
    );
    let (_, text) = upstream.curl("tls", "/echo/gzip", &["--compressed"]);
    assert!(text.contains(SECRET), "{text}");
    let (_, packed) = upstream.curl("tls", "/echo/gzip", &[]);
    assert!(!packed.contains(SECRET));
}

#[test]
fn pieces_are_chunks_of_their_own() {
    let upstream = Upstream::start(&[]);
    let (_, raw) = upstream.curl("plain", "/echo/split?at=6", &["--raw", "--http1.1"]);
    let lines: Vec<_> = raw.split("\r\n").collect();
    assert!(lines[1].ends_with("canary"), "{raw}");
    assert!(lines[3].starts_with("-8a41"), "{raw}");
}

#[test]
fn trailers_carry_it_over_both_versions() {
    let upstream = Upstream::start(&[]);
    let (_, http1) = upstream.curl("raw", "/trailer", &["-i"]);
    let (_, http2) = upstream.curl("tls", "/echo/trailer", &["--http2", "-i"]);
    for answer in [http1, http2] {
        assert!(
            answer.contains(&format!("x-echo-trailer: {SECRET}")),
            "{answer}"
        );
    }
}

#[test]
fn answers_that_fail_do_fail() {
    let upstream = Upstream::start(&[]);
    for (port, target) in [
        ("tls", "/close"),
        ("raw", "/malformed"),
        ("raw", "/malformed/chunk"),
        ("raw", "/malformed/short"),
    ] {
        assert!(!upstream.curl(port, target, &[]).0, "{target}");
    }
    assert!(
        upstream.records().last().unwrap()["raw"]
            .as_str()
            .unwrap()
            .contains(SECRET)
    );
    let (_, code) = upstream.curl(
        "tls",
        "/status/418",
        &["-o", "/dev/null", "-w", "%{http_code}"],
    );
    assert_eq!(code, "418");
}

#[test]
fn streams_come_event_by_event() {
    let upstream = Upstream::start(&[]);
    let body = upstream.body("/sse?n=3&interval_ms=1&echo=1");
    assert_eq!(body.matches("data: you sent").count(), 3);
    assert_eq!(upstream.body("/drip?n=5&ms=1"), ".....");
}

#[test]
fn certificates_can_be_wrong() {
    for fault in ["untrusted", "expired", "wrong-name"] {
        let upstream = Upstream::start(&["--fault", fault]);
        assert!(!upstream.curl("tls", "/", &[]).0, "{fault}");
        assert!(upstream.records().is_empty(), "{fault}");
    }
}

#[test]
fn git_clones_and_pushes_with_the_password_only() {
    let repositories = tempfile::tempdir().unwrap();
    let root = repositories.path().to_str().unwrap();
    let upstream = Upstream::start(&["--git-root", root, "--git-password", SECRET]);
    let work = repositories.path().join("work");
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t.test",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert!(git(&["init", "--bare", &format!("{root}/one.git")]).0);
    let port = upstream.ready["plain"].as_u64().unwrap();
    let url = |password: &str| format!("http://me:{password}@127.0.0.1:{port}/git/one.git");
    let work = work.to_str().unwrap();
    assert!(!git(&["clone", &url("wrong"), work]).0);
    let (cloned, why) = git(&["clone", &url(SECRET), work]);
    assert!(cloned, "{why}");
    assert!(git(&["-C", work, "commit", "--allow-empty", "-m", "first"]).0);
    let (pushed, why) = git(&["-C", work, "push", "origin", "HEAD:refs/heads/main"]);
    assert!(pushed, "{why}");
    assert!(git(&["-C", &format!("{root}/one.git"), "rev-parse", "main"]).0);
}

#[test]
fn a_host_of_the_table_answers_what_it_says_and_only_to_who_shows_the_credential() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.json");
    let rows = serde_json::json!([
        {"host": HOST, "method": "GET", "target": "/v1/me?a=1", "body": "{\"me\":1}", "status": 201,
         "arrives": [["authorization", format!("Bearer {SECRET}")]], "headers": [["x-more", "1"]]},
        {"host": HOST, "method": "GET", "target": "/v1/other", "arrives": [["authorization", "Bearer other"]]},
        {"host": HOST, "method": "GET", "target": "/v1/twice", "arrives": [["x-twice", "1"]]},
    ]);
    std::fs::write(&table, rows.to_string()).unwrap();
    let upstream = Upstream::start(&["--answers", &table.display().to_string()]);
    let status = ["-o", "/dev/null", "-w", "%{http_code} %header{x-more}"];
    for (target, more, expect) in [
        ("/v1/me?a=1", &[][..], "201 1"),
        ("/v1/me", &[], "404 "),
        ("/v1/me?a=1", &["-X", "POST"], "404 "),
        ("/v1/other", &[], "401 "),
        ("/v1/twice", &["-H", "x-twice: 1"], "200 "),
        (
            "/v1/twice",
            &["-H", "x-twice: 1", "-H", "x-twice: 2"],
            "401 ",
        ),
        // What any other host answers, this one does not.
        ("/bytes/8", &[], "404 "),
    ] {
        for version in ["--http1.1", "--http2"] {
            let arguments = [&status[..], more, &[version]].concat();
            let (_, answer) = upstream.curl("tls", target, &arguments);
            assert_eq!(answer, expect, "{target} {more:?} {version}");
        }
    }
    assert_eq!(upstream.body("/v1/me?a=1"), "{\"me\":1}");
}
