//! What clippy cannot see: the size of files, who imports whom, who may see a secret in the clear.
//!
//! All checks read the sources as text; none needs a build. Each rule is a table below: whoever changes the shape of
//! the workspace changes a table, in the same commit, with a reason.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sortie_proto::code::Code;

/// The most lines that a file may have without its tests.
const LINES_MAX: usize = 500;

/// Names that say nothing about what a file owns.
const VAGUE: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "types", "manager", "misc",
];

/// Which of our crates a crate may import. What is not listed is refused.
const CRATES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("sys", &[]),
    ("gateway", &["proto", "sys"]),
    ("control", &["proto", "sys"]),
    ("cli", &["proto", "sys"]),
    ("loadtest", &["proto"]),
];

/// The stages of the gateway in the order of a request's path. A stage may import those before it.
const STAGES: &[&str] = &["client", "decision", "exchange", "journal"];

/// What every stage of the gateway may import besides. These import no stage.
const UNDER_STAGES: &[&str] = &[
    "clock", "error", "metrics", "p256", "pressure", "ready", "reply", "snapshot", "tasks",
];

/// Imports across that order: who, whom, why.
const STAGE_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// The layers of control, outermost first: a layer may import those behind it, never one before it.
const LAYERS: &[&str] = &["api", "command", "access", "fleet", "feed", "database"];

/// Where a secret may be seen in the clear, and why. A name that ends in `/` is a folder.
const EXPOSE: &[(&str, &str)] = &[
    ("proto/src/secret.rs", "defines it"),
    ("proto/src/sealed.rs", "seals and opens"),
    ("proto/src/token.rs", "reads the private key that signs"),
    ("proto/src/key.rs", "makes keys"),
    (
        "proto/src/environment.rs",
        "puts a session into the URL of its proxy",
    ),
    ("proto/src/wire/", "puts keys and values on the wire"),
    (
        "proto/src/credential.rs",
        "reads destinations beside the value",
    ),
    (
        "gateway/src/exchange.rs",
        "the stage that injects and masks",
    ),
    ("gateway/src/exchange/", "the stage that injects and masks"),
    ("control/src/seal.rs", "the key hierarchy"),
    ("control/src/seal/", "the key hierarchy"),
    (
        "gateway/src/snapshot/identity.rs",
        "reads the join string, and the node's key from its file",
    ),
    (
        "gateway/src/snapshot/link.rs",
        "keeps the session that control is asked for a signature with",
    ),
    (
        "gateway/src/snapshot/follow.rs",
        "shows control the session that a signature is for",
    ),
    (
        "gateway/src/snapshot/replica.rs",
        "shows control the session that a vault is for",
    ),
    (
        "gateway/src/client/accept/secure.rs",
        "hands the port's key to BoringSSL",
    ),
    (
        "gateway/src/decision/limit/lease/redis.rs",
        "hands the address, which may hold a password, to the client",
    ),
    ("gateway/src/fixture.rs", "seals what the tests inject"),
    ("gateway/src/p256.rs", "hands the node's keys to BoringSSL"),
    ("control/src/authority.rs", "signs with the cluster's key"),
    ("control/src/authority/", "signs with a tenant's key"),
    (
        "control/src/database/connect.rs",
        "dials with the password in the database's address",
    ),
    (
        "control/src/command/reveal.rs",
        "seals what came in, shows what was made, once",
    ),
    ("cli/src/client.rs", "sends the caller's own key to control"),
    (
        "cli/src/config.rs",
        "trims the caller's own key, and keeps that of a profile",
    ),
    (
        "cli/src/dev/demonstration.rs",
        "gives curl the demo session",
    ),
    (
        "cli/src/dev/layout.rs",
        "writes the key of the proxy's certificate",
    ),
    (
        "cli/src/dev/process.rs",
        "gives the gateway its join string",
    ),
    ("cli/src/dev/seed.rs", "takes the demo value's fingerprint"),
    (
        "cli/src/doctor/environment.rs",
        "reads the session out of the environment",
    ),
    (
        "cli/src/doctor/gateway/tunnel.rs",
        "shows the gateway the session",
    ),
    (
        "cli/src/import/",
        "moves what files hold, and keeps what puts it back",
    ),
    (
        "cli/src/relay/token.rs",
        "puts the session into what is sent to the gateway",
    ),
    (
        "cli/src/relay/serve.rs",
        "reads the password that an agent shows",
    ),
    (
        "cli/src/relay/listen.rs",
        "makes the relay's password, and the URL with it",
    ),
    (
        "cli/src/run/environment.rs",
        "gives the command its session",
    ),
    (
        "cli/src/run/session.rs",
        "reads what a given session says about itself",
    ),
    ("cli/src/verbs/credential.rs", "sends the value to control"),
];

/// A source file of ours.
struct Source {
    /// Relative to the workspace.
    path: String,
    text: String,
}

impl Source {
    /// The folder of its crate.
    fn member(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    /// The module path below `src`, without the extension.
    fn module(&self) -> &str {
        let below = self.path.split_once("/src/").unwrap().1;
        below.strip_suffix(".rs").unwrap()
    }

    /// The first part of the module path: a stage or a layer.
    fn part(&self) -> &str {
        self.module().split('/').next().unwrap()
    }

    fn is_test(&self) -> bool {
        self.module().split('/').any(|part| part == "tests")
    }

    /// Its numbered lines without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// What it names of its own crate: the first names behind each `crate::`, those in braces too.
    fn parts_used(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().flat_map(move |(number, line)| {
            line.match_indices("crate::").flat_map(move |(at, found)| {
                let rest = &line[at + found.len()..];
                let names = match rest.strip_prefix('{') {
                    Some(_) => self.names_in_braces(number, at + found.len()),
                    None => vec![first_name(rest)],
                };
                names.into_iter().map(move |name| (number, name))
            })
        })
    }

    /// The first names of a list in braces that opens at this place.
    fn names_in_braces(&self, number: usize, column: usize) -> Vec<&str> {
        let before: usize = self
            .text
            .split_inclusive('\n')
            .take(number - 1)
            .map(str::len)
            .sum();
        let inside = &self.text[before + column + 1..];
        let (mut names, mut depth, mut fresh) = (Vec::new(), 0, true);
        for (at, letter) in inside.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                _ if fresh && depth == 0 && !letter.is_whitespace() => {
                    names.push(first_name(&inside[at..]));
                    fresh = false;
                }
                _ => {}
            }
        }
        names
    }
}

fn first_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<_> = CRATES
        .iter()
        .map(|(name, _)| root.join(name).join("src"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn production() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| !source.is_test());
    sources
}

/// Fails once, with every place that breaks a rule.
fn none(rule: &str, broken: impl IntoIterator<Item = String>) {
    let mut list = String::new();
    for place in broken {
        write!(list, "\n  {place}").unwrap();
    }
    assert!(list.is_empty(), "{rule}:{list}");
}

#[test]
fn files_are_short() {
    let long = production().into_iter().filter_map(|source| {
        let lines = production_lines(&source.text);
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
    });
    none(
        &format!("files have at most {LINES_MAX} lines without tests"),
        long,
    );
}

/// Lines up to an inline test module.
fn production_lines(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let inline = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    inline.unwrap_or(lines.len())
}

#[test]
fn modules_open_with_what_they_own() {
    let silent = production().into_iter().filter(|source| {
        let opening = source
            .text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("//! "));
        opening.is_none_or(|sentence| sentence.trim().len() < 10)
    });
    none(
        "every module opens with `//!` and a sentence",
        silent.map(|source| source.path),
    );
}

#[test]
fn modules_are_files_beside_their_folder() {
    let found = sources()
        .into_iter()
        .filter(|source| source.path.ends_with("/mod.rs"));
    none(
        "foo.rs beside foo/, never foo/mod.rs",
        found.map(|source| source.path),
    );
}

#[test]
fn files_are_named_by_what_they_own() {
    let vague = |source: &Source| source.module().split('/').any(|part| VAGUE.contains(&part));
    let found = sources().into_iter().filter(vague);
    none(
        "a file is named by the noun or verb that it owns",
        found.map(|source| source.path),
    );
}

#[test]
fn crates_import_in_one_direction() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (at, found) in line.match_indices("sortie_") {
                let other = first_name(&line[at + found.len()..]);
                let is_path = line[at + found.len() + other.len()..].starts_with("::");
                if is_path && is_refused(source.member(), other) {
                    broken.push(format!("{}:{number}: sortie_{other}", source.path));
                }
            }
        }
    }
    none(
        "proto and sys ← gateway, control, cli; proto ← loadtest; nothing across",
        broken,
    );
}

#[test]
fn manifests_depend_in_one_direction() {
    let mut broken = Vec::new();
    for (member, _) in CRATES {
        let text = std::fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        // Tests of one crate may start another: only what ships is looked at.
        let ships = text.split("[dev-dependencies]").next().unwrap();
        for name in ships
            .lines()
            .filter_map(|line| line.strip_prefix("sortie-"))
        {
            if is_refused(member, first_name(name)) {
                broken.push(format!("{member}/Cargo.toml: sortie-{name}"));
            }
        }
    }
    none(
        "proto and sys ← gateway, control, cli; proto ← loadtest; nothing across",
        broken,
    );
}

fn is_refused(member: &str, other: &str) -> bool {
    let known = CRATES.iter().any(|(name, _)| *name == other);
    let (_, allowed) = CRATES.iter().find(|(name, _)| *name == member).unwrap();
    known && other != member && !allowed.contains(&other)
}

#[test]
fn a_stage_imports_only_what_comes_before_it() {
    let gateway = production()
        .into_iter()
        .filter(|source| source.member() == "gateway");
    let mut broken = Vec::new();
    for source in gateway {
        for (number, used) in source.parts_used() {
            if !stage_may_import(source.part(), used) {
                broken.push(format!("{}:{number}: {used}", source.path));
            }
        }
    }
    none(
        "client ← decision ← exchange ← journal, over error, metrics, snapshot",
        broken,
    );
}

fn stage_may_import(part: &str, used: &str) -> bool {
    if STAGE_EXCEPTIONS
        .iter()
        .any(|(who, whom, _)| (*who, *whom) == (part, used))
    {
        return true;
    }
    match STAGES.iter().position(|stage| *stage == part) {
        Some(at) => STAGES[..=at].contains(&used) || UNDER_STAGES.contains(&used),
        // What stands above the stages (phases, context, server) may import everything.
        None => !UNDER_STAGES.contains(&part) || UNDER_STAGES.contains(&used),
    }
}

#[test]
fn the_rule_about_stages_refuses_what_it_should() {
    for (part, used, fine) in [
        ("exchange", "decision", true),
        ("exchange", "snapshot", true),
        ("journal", "client", true),
        ("decision", "exchange", false),
        ("client", "phases", false),
        ("journal", "context", false),
        ("snapshot", "client", false),
        ("phases", "journal", true),
    ] {
        assert_eq!(stage_may_import(part, used), fine, "{part} → {used}");
    }
}

#[test]
fn names_in_braces_are_seen() {
    let text = "// crate::{ignored}\nuse crate::{\n    client::{self, leaf},\n    error::Error,\n};\nuse crate::snapshot;\n";
    let source = Source {
        path: "gateway/src/x.rs".to_owned(),
        text: text.to_owned(),
    };
    let used: Vec<_> = source.parts_used().collect();
    assert_eq!(used, [(2, "client"), (2, "error"), (6, "snapshot")]);
}

#[test]
fn a_layer_of_control_never_imports_one_above_it() {
    let control = production()
        .into_iter()
        .filter(|source| source.member() == "control");
    let mut broken = Vec::new();
    for source in control {
        let Some(at) = LAYERS.iter().position(|layer| *layer == source.part()) else {
            continue;
        };
        let above = source
            .parts_used()
            .filter(|(_, used)| LAYERS[..at].contains(used));
        broken.extend(above.map(|(number, used)| format!("{}:{number}: {used}", source.path)));
    }
    none("api → command → access → fleet → feed → database", broken);
}

#[test]
fn secrets_are_exposed_only_where_listed() {
    let covers = |entry: &str, path: &str| match entry.ends_with('/') {
        true => path.starts_with(entry),
        false => path == entry,
    };
    let mut broken = Vec::new();
    for source in production() {
        if EXPOSE.iter().any(|(entry, _)| covers(entry, &source.path)) {
            continue;
        }
        let exposed = source.code().filter(|(_, line)| line.contains(".expose("));
        broken.extend(exposed.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    none(
        "`.expose()` stands only where the table EXPOSE says",
        broken,
    );
}

#[test]
fn secrets_cannot_be_printed_cloned_or_compared() {
    let text = std::fs::read_to_string(root().join("proto/src/secret.rs")).unwrap();
    for forbidden in [
        "derive(",
        "impl fmt::Display",
        "impl Clone",
        "impl Serialize",
        "impl PartialEq",
    ] {
        assert!(
            !text.contains(forbidden),
            "proto/src/secret.rs has {forbidden}"
        );
    }
}

#[test]
fn unsafe_code_is_in_sys_and_says_why() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines: Vec<_> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let found = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"]
                .iter()
                .any(|form| code.contains(form));
            let reasoned = lines[index.saturating_sub(12)..=index]
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            if found && (source.member() != "sys" || !reasoned) {
                broken.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    none("unsafe code stands in sys, under a SAFETY note", broken);
}

#[test]
fn every_code_is_explained() {
    let text = std::fs::read_to_string(root().join("docs/errors.md"))
        .expect("docs/errors.md explains every code");
    let missing = Code::ALL
        .iter()
        .filter(|code| !text.contains(&format!("`{}`", code.name())));
    none(
        "every code stands in docs/errors.md, in backticks",
        missing.map(ToString::to_string),
    );
}
