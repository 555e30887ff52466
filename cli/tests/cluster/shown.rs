//! `docs/clients.md` is what happens: each of its commands is run as it stands there, with the real programs, in a
//! cluster whose vendors are stand-ins that check the credential, and must print what the page shows.

mod goods;
pub(crate) mod page;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use self::page::{Section, Step};
use super::support::{Cluster, DEADLINE, Setup, Site};

/// The stand-ins, by their kind, with the file that the page takes the credential from.
const SITES: [(&str, &str, &str); 7] = [
    ("github.com", "git", "github.token"),
    ("api.github.com", "github", "github.token"),
    ("registry.npmjs.org", "npm", "npm.token"),
    ("npm.corp.example", "npm", "npm-corp.token"),
    ("pypi.corp.example", "pypi", "pip.token"),
    ("api.openai.com", "openai", "openai.token"),
    ("api.anthropic.com", "anthropic", "anthropic.token"),
];

/// What the models' stand-ins send before they wait at the gate.
const FIRST_HALF: &str = "The key stayed in the vault, ";

/// A cluster in which vendors' names lead to the stand-ins, and somebody who follows the page.
struct Reader {
    cluster: Cluster,
    /// Outside the folder that is searched for secrets: here they are.
    secrets: tempfile::TempDir,
}

impl Reader {
    async fn start() -> Self {
        // One canary in all credentials: a search for each of them would take long.
        let canary = format!("canary-shown-{}", uuid::Uuid::new_v4().simple());
        let sites = SITES.map(|(host, kind, file)| Site {
            host,
            kind,
            credential: format!("{canary}-{}", file.trim_end_matches(".token")),
        });
        let setup = Setup {
            sites: sites.to_vec(),
            ..Setup::default()
        };
        let cluster = Cluster::start_with(setup).await;
        cluster.keep_secret(&canary);
        goods::make(&cluster).await;
        let secrets = tempfile::tempdir().unwrap();
        for (site, (_, _, file)) in sites.iter().zip(SITES) {
            std::fs::write(secrets.path().join(file), format!("{}\n", site.credential)).unwrap();
        }
        let reader = Self { cluster, secrets };
        reader.settle();
        reader
    }

    /// A profile, as `sortie dev` leaves one behind.
    fn settle(&self) {
        let config = self.home().join("config/sortie");
        std::fs::create_dir_all(&config).unwrap();
        let key = self.secrets.path().join("owner.key");
        std::fs::write(&key, self.cluster.api.owner()).unwrap();
        let profile = format!(
            "current = \"here\"\n[profiles.here]\napi_url = {:?}\nkey_file = {key:?}\nvault = \"main\"\n\
             agent = \"runner\"\nproxy = \"http://127.0.0.1:{}\"\n",
            self.cluster.api.base(),
            self.cluster.ports.proxy,
        );
        std::fs::write(config.join("config.toml"), profile).unwrap();
    }

    /// A folder for a section: the secrets' files lie there, and the packages that its programs import.
    fn folder(&self, section: &Section) -> PathBuf {
        let folder = self.cluster.path().join("work").join(&section.title);
        std::fs::create_dir_all(&folder).unwrap();
        for (_, _, file) in SITES {
            drop(symlink(self.secrets.path().join(file), folder.join(file)));
        }
        let is_module =
            |step: &Step| matches!(step, Step::File { name, .. } if name.ends_with(".mjs"));
        if section.steps.iter().any(is_module) {
            let modules = std::env::var("SORTIE_TEST_NODE_MODULES")
                .expect("`make test` says where the packages of Node.js are");
            symlink(modules, folder.join("node_modules")).unwrap();
        }
        folder
    }

    fn home(&self) -> PathBuf {
        self.cluster.path().join("home")
    }

    /// A command of the page, with nothing of this process's environment but its programs.
    fn command(&self, folder: &Path, line: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_sortie")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .env_clear()
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("HOME", self.home())
            .env("XDG_CONFIG_HOME", self.home().join("config"))
            .env("TMPDIR", self.home())
            .env("LANG", "C.UTF-8")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end, which is to be a success, and opens the gate whenever it has shown the first half of an answer.
    async fn run(&self, folder: &Path, line: &str) -> String {
        let mut child = self.command(folder, line).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let reading = async {
            let (mut printed, mut opened) = (Vec::new(), 0);
            while output.read_buf(&mut printed).await.unwrap() > 0 {
                let so_far = String::from_utf8_lossy(&printed);
                while opened < so_far.matches(FIRST_HALF).count() {
                    self.open_gate().await;
                    opened += 1;
                }
            }
            let status = child.wait().await.unwrap();
            let failed = if status.success() {
                String::new()
            } else {
                format!("[{status}]\n")
            };
            String::from_utf8(printed).unwrap() + &failed
        };
        let ended = tokio::time::timeout(DEADLINE * 2, reading).await;
        ended.unwrap_or_else(|_elapsed| panic!("`{line}` does not end"))
    }

    async fn open_gate(&self) {
        let url = format!("http://127.0.0.1:{}/gate", self.cluster.ports.http);
        let answer = reqwest::get(url).await.unwrap();
        assert!(answer.status().is_success());
    }

    /// The status with which a site answers somebody who is not behind the gateway.
    async fn ask_directly(&self, url: &str, header: &str) -> String {
        let parsed = reqwest::Url::parse(url).unwrap();
        let port = self.cluster.ports.https;
        let to = format!("{}:443:127.0.0.1:{port}", parsed.host_str().unwrap());
        let ca = self.cluster.path().join("upstream/ca.pem");
        let arguments = [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            &ca.display().to_string(),
            "--connect-to",
            &to,
            "-H",
            header,
            url,
        ];
        self.cluster.run("curl", &arguments, &[]).await.ok()
    }

    /// The stand-ins give nothing to whoever lacks the credential, or shows a placeholder.
    async fn check_stand_ins(&self) {
        let refs = "https://github.com/acme/billing.git/info/refs?service=git-upload-pack";
        let wheel =
            "https://pypi.corp.example/files/acme-ledger/acme_ledger-1.0.0-py3-none-any.whl";
        let ledger = "https://registry.npmjs.org/@acme%2fledger";
        // x-access-token:ghp___GITHUB_TOKEN__
        let basic = "Authorization: Basic eC1hY2Nlc3MtdG9rZW46Z2hwX19fR0lUSFVCX1RPS0VOX18=";
        for (url, header, expect) in [
            (refs, "", "401"),
            (refs, basic, "401"),
            ("https://api.github.com/user", "", "401"),
            (
                "https://api.github.com/user",
                "Authorization: token ghp___GITHUB_TOKEN__",
                "401",
            ),
            ("https://api.github.com/repos/acme/billing", "", "404"),
            (ledger, "", "401"),
            (ledger, "Authorization: Bearer npm___NPM_TOKEN__", "401"),
            (
                "https://registry.npmjs.org/@acme/ledger/-/ledger-1.0.0.tgz",
                "",
                "401",
            ),
            ("https://npm.corp.example/@corp%2ftools", "", "401"),
            (
                "https://pypi.corp.example/simple/acme-ledger/",
                basic,
                "401",
            ),
            (wheel, "", "401"),
            (
                "https://api.openai.com/v1/responses",
                "Authorization: Bearer sk-__OPENAI_API_KEY__",
                "401",
            ),
            (
                "https://api.anthropic.com/v1/messages",
                "x-api-key: sk-ant-__ANTHROPIC_API_KEY__",
                "401",
            ),
        ] {
            let status = self.ask_directly(url, header).await;
            assert_eq!(status, expect, "{url} {header}");
        }
    }

    /// No placeholder left the gateway, and a scope stood in a path as npm writes it.
    fn check_what_arrived(&self, before: usize) {
        let seen = self.cluster.recorded().split_off(before);
        for seen in &seen {
            assert!(!seen["headers"].to_string().contains("__"), "{seen}");
        }
        let scoped = seen
            .iter()
            .filter(|seen| seen["target"] == "/@corp%2ftools");
        assert_eq!(scoped.count(), 1);
    }
}

/// What is wrong with what a command printed, for whoever has to correct the page or the program.
fn difference(line: &str, shown: &[String], printed: &str) -> Option<String> {
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let is_same = shown.len() == lines.len()
        && shown
            .iter()
            .zip(&lines)
            .all(|(shown, printed)| page::is_shown(shown, printed));
    if is_same {
        return None;
    }
    let mut text = format!("$ {line}\n");
    for shown in shown {
        writeln!(text, "  shown    {shown}").unwrap();
    }
    for printed in lines {
        writeln!(text, "  printed  {printed}").unwrap();
    }
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_prints_what_the_page_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    let page = std::fs::read_to_string(path).unwrap();
    let reader = Box::pin(Reader::start()).await;
    reader.check_stand_ins().await;
    let before = reader.cluster.recorded().len();
    let mut differences = String::new();
    for section in page::sections(&page) {
        let folder = reader.folder(&section);
        for step in section.steps {
            match step {
                Step::File { name, text } => std::fs::write(folder.join(name), text).unwrap(),
                Step::Command { line, output } => {
                    let printed = reader.run(&folder, &line).await;
                    differences.extend(difference(&line, &output, &printed));
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "docs/clients.md is not what happens:\n{differences}"
    );
    reader.check_what_arrived(before);
    reader.cluster.finish().await;
}
