//! A control that records what it is asked and answers from a list, and the program that asks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;

/// The key that the program is given.
pub(crate) const KEY: &str = "sortie_key_for_tests";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method and target.
    pub(crate) line: String,
    /// `Authorization`.
    pub(crate) key: String,
    /// The body.
    pub(crate) body: String,
}

/// Answers by the first words of the request line.
pub(crate) type Answers = Vec<(&'static str, u16, String)>;

/// Control, and a home for the program.
pub(crate) struct Control {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Answers>>,
    home: tempfile::TempDir,
}

impl Control {
    pub(crate) fn start(answers: Answers) -> Self {
        Self::start_slow(answers, std::time::Duration::ZERO)
    }

    /// One that takes its time for each change.
    pub(crate) fn start_slow(answers: Answers, patience: std::time::Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers));
        let (record, given) = (Arc::clone(&asked), Arc::clone(&answers));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (record, answers) = (Arc::clone(&record), Arc::clone(&given));
                std::thread::spawn(move || serve(&stream.unwrap(), &record, &answers, patience));
            }
        });
        Self {
            url,
            asked,
            answers,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sortie"));
        command
            .args(arguments)
            .env("SORTIE_API_URL", &self.url)
            .env("SORTIE_API_KEY", KEY)
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn sortie(&self, arguments: &[&str], input: &str) -> Output {
        feed(self.command(arguments), input)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Runs it to its end with something on standard input.
pub(crate) fn feed(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn serve(
    stream: &TcpStream,
    record: &Mutex<Vec<Asked>>,
    answers: &Mutex<Answers>,
    patience: std::time::Duration,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let field = |name: &str| {
            let found = head.iter().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            });
            found.unwrap_or_default()
        };
        let mut body = vec![0; field("content-length").parse().unwrap_or(0)];
        // A program that was killed leaves half a request.
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
        record.lock().unwrap().push(Asked {
            line: line.clone(),
            key: field("authorization"),
            body: String::from_utf8(body).unwrap(),
        });
        if line.starts_with("PUT") {
            std::thread::sleep(patience);
        }
        let missing = (404, json!({"status": 404, "code": "not_found"}).to_string());
        let (status, answer) = answers
            .lock()
            .unwrap()
            .iter()
            .find(|(start, ..)| line.starts_with(start))
            .map_or(missing, |(_, status, text)| (*status, text.clone()));
        let mut stream = stream;
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if stream.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

/// As text, whatever it is.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `sortie run` is given for a session: nobody signed it, and it lasts long.
pub(crate) const TOKEN: &str =
    "sortie_ses_e30.eyJqdGkiOiJzZXNfMSIsImlhdCI6MTgwMDAwMDAwMCwiZXhwIjo0MDAwMDAwMDAwfQ.x";

/// What control answers to `sortie run`.
pub(crate) fn for_run() -> Answers {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["x.example".to_owned()]).unwrap();
    let credentials = json!({"credentials": [{"name": "API_KEY", "placeholder": "__API_KEY__"}]});
    let minted = json!({"id": "ses_1", "token": TOKEN, "expires_at": "2030-01-01T00:00:00Z"});
    vec![
        (
            "GET /v1/tenants/-/authority",
            200,
            params.self_signed(&key).unwrap().pem(),
        ),
        (
            "GET /v1/tenants/-/vaults/default/credentials",
            200,
            credentials.to_string(),
        ),
        (
            "GET /v1/tenants/-/vaults/default/services",
            200,
            json!({"services": []}).to_string(),
        ),
        (
            "POST /v1/tenants/-/sessions/ses_1:revoke",
            200,
            "{}".to_owned(),
        ),
        ("POST /v1/tenants/-/sessions", 200, minted.to_string()),
    ]
}
