//! Every example of every `--help`, run as a person would: by a shell, against a live cluster.
//!
//! What stands in `LINES` and what the help says must be the same: a verb that is added brings its examples here. A
//! line may need what lines before it made.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Done, Place, run, wait};

/// The lines, in an order in which they can be run.
const LINES: &[&str] = &[
    "sortie dev --detach",
    "sortie dev status",
    "sortie dev status --output json",
    "sortie dev logs",
    "sortie dev logs --component gateway --lines 20",
    "sortie dev logs -f --component control --component gateway",
    "sortie tenant create acme --key-file acme-owner.key",
    "sortie tenant update acme --limit requests=500/second:1000 --limit bytes=500GiB/day",
    "sortie tenant update acme --weight 4",
    "sortie tenant update acme --limit none",
    "sortie tenant list",
    "sortie gateway join edge-1 --valid 15m",
    "sortie gateway join edge-2 --join-file edge-2.join",
    "sortie gateway list",
    "sortie gateway list --watch",
    "sortie gateway alarms",
    "sortie gateway alarms edge-1",
    "sortie gateway alarms edge-1 --watch",
    "sortie vault create payments --staleness 30s",
    "sortie vault list",
    "sortie vault get payments",
    "sortie vault update payments --mode observe",
    "sortie vault update payments --enabled false",
    "sortie vault update payments --enabled true",
    "sortie vault update payments --limit requests=600/minute --session-limit concurrency=16",
    "sortie credential set GITHUB_TOKEN --to api.github.com",
    "sortie credential set KEY --to a.example.com --to b.example.com < key.txt",
    "sortie credential list",
    "sortie credential list --vault payments",
    "sortie service set github --host api.github.com --bearer GITHUB_TOKEN",
    "sortie service set git --host github.com --basic x-access-token:GITHUB_TOKEN",
    "sortie service set acme --host github.com --path '/acme/**' --method GET",
    "sortie service set legacy --host a.example.com --header 'X-Api-Key: {{ KEY }}'",
    "sortie service set npm --host c.example.com --bearer KEY --encoded-slash",
    "sortie service set slow --host d.example.com --bearer KEY --limit requests=5/second",
    "sortie service set search --host b.example.com --placeholder KEY --in query",
    "sortie service set github --file github.json",
    "sortie service list",
    "sortie service list --vault payments",
    "sortie service get github",
    "sortie service enable github",
    "sortie service set github --vault payments --host api.github.com",
    "sortie service disable github --vault payments",
    "sortie service delete github --yes",
    "sortie service catalog",
    "sortie service catalog github",
    "sortie service catalog pack:npm --output json",
    "sortie service delete git --yes",
    "sortie service add github",
    "sortie service add openai --credential-file openai.key --vault payments",
    "sortie service add pack:npm pack:github-read",
    "sortie service suggest",
    "sortie service suggest --vault payments --since 7d -o json",
    "sortie import --dry-run",
    "sortie import --yes",
    "sortie import --list",
    "sortie import --undo",
    "sortie import --forget last",
    "sortie import .env --yes --host INTERNAL_TOKEN=api.internal.example",
    "sortie agent create builder --key-file builder.key",
    "sortie agent update builder --limit requests=100/second",
    "sortie agent update builder --session-limit requests=60/minute:20 --session-limit bytes=1GiB/hour",
    "sortie agent update builder --limit none --session-limit none",
    "sortie agent list",
    "sortie grant set builder --vault payments --role user",
    "sortie grant set builder",
    "sortie grant set dev-agent --vault payments",
    "sortie session mint --agent builder --ttl 15m --label run=42",
    "sortie session list",
    "sortie session list --agent builder",
    "sortie session list --watch",
    "sortie session renew ses_01 --ttl 1h",
    "sortie session revoke --parent ses_01 --yes",
    "sortie session revoke --user ada@example.com --yes",
    "sortie session revoke ses_01 --wait",
    "sortie run -- curl https://api.github.com/user",
    "sortie run --vault payments --ttl 8h --label run=42 -- python3 agent.py",
    "sortie run --print -- claude",
    "sortie run --quiet -- npx -y @modelcontextprotocol/server-github",
    "sortie env --format fish --ttl 8h",
    "sortie env --format docker --folder /srv/agent/sortie",
    "sortie env --format kubernetes --name agent-7 --ttl 1d",
    "sortie audit list --since 1h --kind request --limit 20",
    "sortie audit list --vault payments --since 1h",
    "sortie audit list --watch --limit 5",
    "sortie grant delete builder --vault payments",
    "sortie agent revoke builder --wait --yes",
    "sortie agent delete builder --yes",
    "sortie vault revoke payments --wait --yes",
    "sortie vault delete payments --yes",
    "sortie credential revoke GITHUB_TOKEN --wait --yes",
    "sortie credential delete GITHUB_TOKEN --yes",
    "sortie tenant revoke --wait --yes",
    "sortie profile add prod --api-url https://sortie.example.com --vault payments",
    "sortie profile add ci --api-url https://sortie.example.com --stdin < api.key",
    "sortie profile add edge --api-url https://edge.example.com --key-file edge.key",
    "sortie profile use prod",
    "sortie profile list",
    "sortie profile remove prod --yes",
    "sortie trust status",
    "sortie trust status --output json",
    "sortie completions bash > ~/.local/share/bash-completion/completions/sortie",
    "sortie completions zsh > ~/.zfunc/_sortie",
    "sortie completions fish > ~/.config/fish/completions/sortie.fish",
    "sortie man ~/.local/share/man/man1",
    "sortie dev stop --timeout 30s",
    "sortie dev stop",
    "sortie dev",
    "sortie dev --once",
    "sortie dev --data-dir .dev --port-base 8300",
];

/// Lines that stand in no help, and that others need.
const NOT_EXAMPLES: &[&str] = &[
    "sortie service set github --vault payments --host api.github.com",
    "sortie vault update payments --enabled true",
    "sortie grant set builder",
    "sortie grant set dev-agent --vault payments",
    "sortie service delete git --yes",
];

/// Lines that are not run here: they change the machine, need another one around them, or answer for what the machine
/// has. The module of `cli/tests/cluster` that is named drives each of their words.
const ELSEWHERE: &[(&str, &[&str])] = &[
    (
        "doctor",
        &[
            "sortie doctor",
            "sortie doctor --output json",
            "sortie doctor --url https://api.github.com",
            "sortie run -- sortie doctor",
            "sortie run -- sortie doctor --sandbox",
        ],
    ),
    (
        "trust",
        &[
            "sortie trust install --store nss",
            "sortie trust install --store system --authority ca.pem --yes",
            "sortie trust remove",
            "sortie trust remove --all",
            "sortie trust remove --all --store java --yes",
        ],
    ),
    (
        "relay",
        &[
            "sortie relay --listen unix:/run/agent/relay.sock --vault payments --ttl 15m",
            "sortie relay --no-password --folder /run/sortie",
            "sortie relay --password-file /run/agent/relay.password",
            "sortie relay --session-file /var/run/sortie/session --no-password",
        ],
    ),
    (
        "redirected",
        &["sortie relay --no-password --redirected 127.0.0.1:7382 --dns 127.0.0.1:7353"],
    ),
    (
        "isolate",
        &[
            "sortie run --isolate -- python3 agent.py",
            "sortie run --isolate --redirect -- python3 agent.py",
        ],
    ),
    (
        "keyless",
        &[
            "sortie run --session token.txt --proxy https://gateway.example.com:7380 -- python3 agent.py",
            "sortie env --session token.txt",
            "sortie doctor --session token.txt",
        ],
    ),
    (
        "fleet",
        &[
            "sortie gateway lock edge-1 --yes",
            "sortie gateway unlock edge-1",
        ],
    ),
    (
        "container",
        &["sortie run --isolate=container --image python:3.13-slim -- python3 agent.py"],
    ),
];

/// What the lines find in their folder.
const FILES: &[(&str, &str)] = &[
    ("key.txt", "a-value-of-some-length\n"),
    ("openai.key", "sk-proj-of-nobody-0123456789\n"),
    (
        ".env",
        "GROQ_API_KEY=gsk_of_nobody_0123456789\nINTERNAL_TOKEN=0123456789abcdef\n",
    ),
    ("api.key", "sortie_key_of_another_cluster\n"),
    ("edge.key", "sortie_key_of_a_third\n"),
    (
        "github.json",
        r#"{"host": "api.github.com", "inject": [{"type": "bearer", "credential": "GITHUB_TOKEN"}]}"#,
    ),
    (
        "agent.py",
        "import os; assert os.environ['HTTPS_PROXY'].startswith('http://')\n",
    ),
];

#[test]
fn every_example_of_every_help_runs() {
    let place = Place::new();
    let mut told = BTreeSet::new();
    collect(&place, &[], &mut told);
    let known: BTreeSet<_> = LINES
        .iter()
        .filter(|line| !NOT_EXAMPLES.contains(line))
        .chain(ELSEWHERE.iter().flat_map(|(_, lines)| *lines))
        .map(|line| (*line).to_owned())
        .collect();
    let missing: Vec<_> = told.symmetric_difference(&known).collect();
    assert!(
        missing.is_empty(),
        "LINES is not what the help says: {missing:#?}"
    );

    let shell = Shell::new(&place);
    let mut session = String::new();
    for line in LINES {
        let line = shell.fit(line, &session);
        if line.contains("--watch") || line.contains(" -f ") || shell.stays(&line) {
            shell.until_ctrl_c(&line);
            continue;
        }
        let done = shell.to_its_end(&line);
        assert_eq!(done.code, 0, "{line}\n{}", done.seen());
        if line.contains("session mint") {
            session = done
                .err
                .split_whitespace()
                .find(|word| word.starts_with("ses_"))
                .expect("the session's id")
                .to_owned();
        }
    }
    assert!(
        place
            .home()
            .join(".zfunc/_sortie")
            .metadata()
            .unwrap()
            .len()
            > 1000
    );
    assert!(
        place
            .home()
            .join(".local/share/man/man1/sortie-dev.1")
            .exists()
    );
}

/// A line that is run elsewhere has no word that nothing there passes.
#[test]
fn what_is_said_to_run_elsewhere_does() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
    for (module, lines) in ELSEWHERE {
        let source = fs::read_to_string(folder.join(module).with_extension("rs")).unwrap();
        // As an argument, or in a script.
        let is_of_word = |c: char| c.is_alphanumeric() || c == '-';
        let said: BTreeSet<&str> = source.split(|c| !is_of_word(c)).collect();
        for line in *lines {
            let words = line.split_whitespace().skip(1);
            let passed = words.filter(|word| word.starts_with("--") && word.len() > 2);
            let verbs = line.split_whitespace().skip(1).take(2);
            let verbs = verbs.filter(|word| word.chars().all(char::is_alphabetic));
            for word in passed.chain(verbs) {
                let name = word.split('=').next().unwrap_or(word);
                assert!(
                    said.contains(name),
                    "{module}.rs passes no {word}, which `{line}` has"
                );
            }
        }
    }
}

/// The examples of a command and of those below it, as its help shows them.
fn collect(place: &Place, path: &[&str], told: &mut BTreeSet<String>) {
    let mut arguments = path.to_vec();
    arguments.push("--help");
    let help = run(place.command(&arguments).env("COLUMNS", "200")).ok();
    let block = |title: &str| {
        let lines: Vec<_> = help
            .lines()
            .skip_while(|line| *line != title)
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .map(str::trim)
            .collect();
        lines
    };
    let examples = [block("Example:"), block("Examples:")].concat();
    assert!(!examples.is_empty(), "{path:?}");
    told.extend(examples.into_iter().map(|line| {
        line.split_once("   ")
            .map_or(line, |(line, _)| line)
            .to_owned()
    }));
    for command in block("Commands:") {
        let name = command.split_whitespace().next().unwrap();
        if name != "help" {
            collect(place, &[path, &[name]].concat(), told);
        }
    }
}

/// Where the lines are typed.
struct Shell<'a> {
    place: &'a Place,
    folder: PathBuf,
    /// A folder with `sortie`, and stand-ins for programs that would fetch something.
    path: PathBuf,
}

impl<'a> Shell<'a> {
    fn new(place: &'a Place) -> Self {
        let folder = place.home().join("work");
        let path = place.home().join("bin");
        for folder in [
            &folder,
            &path,
            &place.home().join(".zfunc"),
            &place.home().join(".config/fish/completions"),
            &place
                .home()
                .join(".local/share/bash-completion/completions"),
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        for (name, text) in FILES {
            fs::write(folder.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sortie"), path.join("sortie")).unwrap();
        // What these would fetch or ask of a person is not what the examples are about.
        for name in ["claude", "npx"] {
            let program = path.join(name);
            fs::write(&program, "#!/bin/sh\nexec true\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            place,
            folder,
            path,
        }
    }

    /// What differs from a reader's machine: where the data is, which ports, what can be reached.
    fn fit(&self, line: &str, session: &str) -> String {
        let base = self.place.base.to_string();
        let data = self.place.data();
        let upstream = format!("https://api.demo.test:{}/hello", self.place.base + 90);
        let line = line
            .replace("ses_01", session)
            .replace("/srv/agent", self.folder.to_str().unwrap())
            .replace("https://api.github.com/user", &upstream);
        let Some(rest) = line.strip_prefix("sortie dev") else {
            return line;
        };
        if rest.contains("--data-dir") {
            return line.replace("8300", &base);
        }
        let verb = ["status", "logs", "stop"]
            .iter()
            .any(|verb| rest.trim_start().starts_with(verb));
        let ports = if verb {
            String::new()
        } else {
            format!(" --port-base {base}")
        };
        format!("sortie dev --data-dir {}{ports}{rest}", data.display())
    }

    /// Whether it is a cluster in the foreground.
    fn stays(&self, line: &str) -> bool {
        let base = format!("--port-base {}", self.place.base);
        line.starts_with("sortie dev") && line.ends_with(&base)
    }

    fn command(&self, line: &str) -> Command {
        let system = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec {line}")])
            .current_dir(&self.folder)
            .env("HOME", self.place.home())
            .env("PATH", format!("{}:{system}", self.path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in [
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "SORTIE_API_KEY",
            "SORTIE_PROFILE",
        ] {
            command.env_remove(name);
        }
        let of_operators = ["tenant", "gateway"]
            .iter()
            .any(|noun| line.starts_with(&format!("sortie {noun} ")));
        if of_operators && !line.contains("tenant revoke") {
            command.env(
                "SORTIE_API_KEY_FILE",
                self.place.data().join("control/operator.key"),
            );
        }
        command
    }

    /// What asks for a secret finds one on standard input.
    fn to_its_end(&self, line: &str) -> Done {
        let mut child = self.command(line).spawn().unwrap();
        drop(
            child
                .stdin
                .take()
                .unwrap()
                .write_all(b"a-secret-of-some-length\n"),
        );
        child.wait_with_output().unwrap().into()
    }

    /// Waits until it has said something, and, of a cluster, that it is up; then presses Ctrl-C.
    fn until_ctrl_c(&self, line: &str) {
        let mut child = self.command(line).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let last = if self.stays(line) { "Ctrl-C" } else { "" };
        let found = said
            .lines()
            .map_while(Result::ok)
            .any(|said| said.contains(last));
        if !found {
            let done = Done::from(child.wait_with_output().unwrap());
            panic!("{line} said nothing: {}", done.seen());
        }
        kill(
            Pid::from_raw(i32::try_from(child.id()).unwrap()),
            Signal::SIGINT,
        )
        .unwrap();
        let mut status = None;
        wait("the end", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0), "{line}");
    }
}
