//! `sortie import` on planted files: everything is found, nothing is shown, nothing is lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Control, KEY, text};

/// Where a secret is planted: file, its text around the value, and the credential's name.
const PLANTED: &[(&str, &str, &str)] = &[
    (
        "work/.env",
        "# mine\nexport OPENAI_API_KEY=\"VALUE\" # old\r\nDEBUG=true\n",
        "OPENAI_API_KEY",
    ),
    (
        "work/.env.local",
        "\nGH_TOKEN='VALUE'\nINTERNAL_TOKEN=",
        "GITHUB_TOKEN",
    ),
    (
        "work/.npmrc",
        "registry=https://registry.npmjs.org/\n//registry.npmjs.org/:_authToken=VALUE\n",
        "NPM_TOKEN",
    ),
    (
        "home/.netrc",
        "machine gitlab.com\n  login me\n  password VALUE\n",
        "GITLAB_TOKEN",
    ),
    (
        "home/.pypirc",
        "[pypi]\nusername = __token__\npassword = VALUE\n",
        "PYPI_TOKEN",
    ),
    (
        "home/.aws/credentials",
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = VALUE\n",
        "AWS_SECRET_ACCESS_KEY",
    ),
    (
        "home/.config/gh/hosts.yml",
        "ghe.example.com:\n    oauth_token: VALUE\n",
        "GHE_EXAMPLE_COM_TOKEN",
    ),
    (
        "work/.envrc",
        "dotenv_if_exists\nexport LINEAR_API_KEY='VALUE'",
        "LINEAR_API_KEY",
    ),
    (
        "home/.git-credentials",
        "https://me:VALUE@git.example.com\n",
        "GIT_EXAMPLE_COM_PASSWORD",
    ),
];

/// A home and a folder of work with secrets in them, and a control.
struct Planted {
    control: Control,
    folder: tempfile::TempDir,
    /// By the credential's name.
    values: BTreeMap<&'static str, String>,
    /// By the file's path.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Planted {
    /// Plants them. Control takes its time for each credential, so that there is a middle to be killed in.
    fn new(patience: Duration) -> Self {
        let listed = json!({"credentials": []}).to_string();
        let control = Control::start_slow(
            vec![
                ("GET", 200, listed),
                ("PUT", 200, json!({"version": 1}).to_string()),
            ],
            patience,
        );
        let folder = tempfile::tempdir().unwrap();
        let (mut values, mut files) = (BTreeMap::new(), BTreeMap::new());
        for (file, around, name) in PLANTED {
            let value = format!("planted{}", uuid::Uuid::new_v4().simple());
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, around.replace("VALUE", &value)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            files.insert(path.clone(), fs::read(&path).unwrap());
            values.insert(*name, value);
        }
        let value = format!("planted{}", uuid::Uuid::new_v4().simple());
        values.insert("GROQ_API_KEY", value);
        Self {
            control,
            folder,
            values,
            files,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sortie"));
        command
            .arg("import")
            .args(arguments)
            .env_clear()
            .env("SORTIE_API_URL", self.control.url())
            .env("SORTIE_API_KEY", KEY)
            .env("HOME", self.folder.path().join("home"))
            .env("GROQ_API_KEY", &self.values["GROQ_API_KEY"])
            .current_dir(self.folder.path().join("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, and searches what it said for every value and every part of one.
    fn import(&self, arguments: &[&str]) -> Output {
        let done = self.command(arguments).output().unwrap();
        let said = text(&done.stdout) + &text(&done.stderr);
        for (name, value) in &self.values {
            // Eight characters of 32 random ones are a part that nothing else has.
            let parts = (0..value.len() - 8).map(|at| value.get(at..at + 8).unwrap());
            for part in parts.filter(|part| !part.starts_with("planted")) {
                assert!(!said.contains(part), "a part of {name} was printed: {said}");
            }
        }
        done
    }

    /// What control was given, by name.
    fn in_vault(&self) -> BTreeMap<String, Value> {
        let puts = self
            .control
            .asked()
            .into_iter()
            .filter(|asked| asked.line.starts_with("PUT"));
        puts.map(|asked| {
            let name = asked.line.rsplit('/').next().unwrap().to_owned();
            (name, serde_json::from_str(&asked.body).unwrap())
        })
        .collect()
    }

    fn holds(&self, path: &Path, name: &str) -> bool {
        text(&fs::read(path).unwrap()).contains(&self.values[name])
    }

    fn records(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("home/.local/state/sortie/imports");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
            .collect()
    }

    fn is_as_it_was(&self) {
        for (path, before) in &self.files {
            assert_eq!(&fs::read(path).unwrap(), before, "{}", path.display());
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o640
            );
            let beside = fs::read_dir(path.parent().unwrap()).unwrap().flatten();
            let drafts: Vec<_> = beside
                .filter(|it| text(it.file_name().as_encoded_bytes()).contains("sortie"))
                .collect();
            assert!(drafts.iter().all(|it| it.path().is_dir()), "{drafts:?}");
        }
    }
}

const YES: [&str; 3] = ["--yes", "--host", "AWS_SECRET_ACCESS_KEY=sts.example.com"];

#[test]
fn every_planted_secret_is_found_and_none_is_shown() {
    let planted = Planted::new(Duration::ZERO);
    let done = planted.import(&["--dry-run", "--output", "json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let rows: Value = serde_json::from_slice(&done.stdout).unwrap();
    for (name, value) in &planted.values {
        let row = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["credential"] == *name);
        let row = row.unwrap_or_else(|| panic!("{name} was not found: {rows:#}"));
        assert_eq!(row["bytes"], value.len());
    }
    assert_eq!(rows.as_array().unwrap().len(), planted.values.len());
    assert!(text(&planted.import(&["--dry-run"]).stdout).contains("OPENAI_API_KEY"));
    planted.is_as_it_was();
    assert!(planted.control.asked().is_empty());
    assert!(planted.records().is_empty());
}

#[test]
fn values_go_to_the_vault_and_come_back_to_the_byte() {
    let planted = Planted::new(Duration::ZERO);
    let done = planted.import(&YES);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let vault = planted.in_vault();
    for (name, value) in &planted.values {
        assert_eq!(
            vault[*name]["value_base64"],
            STANDARD.encode(value),
            "{name}"
        );
        assert!(!vault[*name]["destinations"].as_array().unwrap().is_empty());
    }
    assert_eq!(vault["GITHUB_TOKEN"]["placeholder"], "ghp___GITHUB_TOKEN__");
    assert_eq!(
        vault["GHE_EXAMPLE_COM_TOKEN"]["destinations"],
        json!([{"host": "ghe.example.com"}])
    );
    for (file, around, name) in PLANTED {
        let path = planted.folder.path().join(file);
        let placeholder = vault[*name]["placeholder"].as_str().unwrap();
        assert_eq!(
            text(&fs::read(&path).unwrap()),
            around.replace("VALUE", placeholder),
            "{file}"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }
    let record = &planted.records()[0];
    assert_eq!(
        fs::metadata(record).unwrap().permissions().mode() & 0o777,
        0o600
    );

    // Nothing is left to find but the variable, which no file holds.
    let rows: Value =
        serde_json::from_slice(&planted.import(&["--dry-run", "-o", "json"]).stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");

    let done = planted.import(&["--undo"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    planted.is_as_it_was();
    let id = record.file_stem().unwrap().to_str().unwrap();
    let done = planted.import(&["--forget", id]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(planted.records().is_empty());
}

#[test]
fn what_has_no_destination_or_is_in_the_vault_is_left() {
    let planted = Planted::new(Duration::ZERO);
    let done = planted.import(&["--yes", "--only", "AWS_SECRET_ACCESS_KEY"]);
    assert!(
        text(&done.stdout).contains("left: no destination"),
        "{}",
        text(&done.stdout)
    );
    planted.is_as_it_was();
    assert!(planted.in_vault().is_empty());
}

#[test]
fn a_file_that_was_edited_since_is_not_overwritten() {
    let planted = Planted::new(Duration::ZERO);
    assert!(planted.import(&YES).status.success());
    let path = planted.folder.path().join("work/.env");
    let mut edited = fs::read(&path).unwrap();
    edited.extend_from_slice(b"NEW=1\n");
    fs::write(&path, &edited).unwrap();
    let done = planted.import(&["--undo"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stderr).contains("work/.env"),
        "{}",
        text(&done.stderr)
    );
    assert_eq!(fs::read(&path).unwrap(), edited);
    // All others are back, and the record stays for this one.
    for (other, before) in planted.files.iter().filter(|(other, _)| **other != path) {
        assert_eq!(&fs::read(other).unwrap(), before);
    }
    assert_eq!(planted.records().len(), 1);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let planted = Planted::new(Duration::ZERO);
    let done = planted.import(&[]);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
    planted.is_as_it_was();
    assert!(planted.in_vault().is_empty());
}

/// Starts an import and kills it. In the first half while control is asked, one request further each time; then while
/// the files are replaced.
fn kill_after(planted: &Planted, round: u64) {
    let mut child = planted.command(&YES).spawn().unwrap();
    let values = u64::try_from(planted.values.len()).unwrap();
    let asked = usize::try_from(round.min(values + 1)).unwrap();
    while planted.control.asked().len() < asked && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_micros(round.saturating_sub(values) * 6_000));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// At whatever moment it is killed: each value is in its file or in the record, no file is torn, and the next import
/// says how to go on, which ends it; or how to go back, which undoes it.
#[test]
fn killed_at_any_moment_nothing_is_lost() {
    let mut seen = (0, 0);
    for round in 0..22_u64 {
        let planted = Planted::new(Duration::from_millis(20));
        kill_after(&planted, round);
        let records: Vec<Value> = planted
            .records()
            .iter()
            .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
            .collect();
        let recorded = |name: &str| {
            let moved = records
                .iter()
                .flat_map(|record| record["credentials"].as_array().unwrap());
            let encoded = STANDARD.encode(&planted.values[name]);
            moved
                .into_iter()
                .any(|it| it["name"] == name && it["value"] == encoded)
        };
        for (file, _, name) in PLANTED {
            let path = planted.folder.path().join(file);
            assert!(
                planted.holds(&path, name) || recorded(name),
                "round {round}: {name} is lost"
            );
            let is_whole =
                planted.holds(&path, name) || text(&fs::read(&path).unwrap()).contains("__");
            assert!(is_whole, "round {round}: {file} is torn");
        }
        let is_marked = |path: &PathBuf| path.with_extension("state").exists();
        let is_open = planted.records().iter().any(|path| !is_marked(path));
        seen.0 += usize::from(is_open);
        seen.1 += usize::from(!is_open);
        if is_open {
            let done = planted.import(&YES);
            assert_eq!(done.status.code(), Some(1));
            assert!(
                text(&done.stderr).contains("--continue"),
                "{}",
                text(&done.stderr)
            );
            if round % 2 == 0 {
                let done = planted.import(&["--continue"]);
                assert!(done.status.success(), "{}", text(&done.stderr));
                assert_eq!(planted.in_vault().len(), planted.values.len());
                for (file, _, name) in PLANTED {
                    assert!(!planted.holds(&planted.folder.path().join(file), name));
                }
            }
            assert!(planted.import(&["--undo"]).status.success());
        } else if !records.is_empty() {
            assert!(planted.import(&["--undo"]).status.success());
        }
        planted.is_as_it_was();
    }
    assert!(seen.0 > 0, "it was never killed half-way: {seen:?}");
}
